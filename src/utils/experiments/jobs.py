"""A trial as a piece of work: claimed in the store, run once, its end recorded whatever it is."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from common.trainer import Epoch
from utils.config import SRC, Config
from utils.data.dataset import Dataset
from utils.data.study import Study
from utils.errors import Diverged, StorageError, UserError
from utils.experiments.store import Failure, Key, Store, TrialResult
from utils.experiments.trial import run_trial

log = logging.getLogger("benchmark")

# The settings that decide what Dataset.load reads.
DATA_SETTINGS = (
    "dataset", "inter_file_name", "USER_ID_FIELD", "ITEM_ID_FIELD", "inter_splitting_label", "field_separator",
    "filter_out_cod_start_users", "vision_feature_file", "text_feature_file", "modalities", "faiss_above",
)  # fmt: skip


class Pruned(Exception):
    """A search has seen enough of a trial; `valid` are its last validation metrics."""

    def __init__(self, message: str, valid: dict[str, float]):
        super().__init__(message)
        self.valid = valid


@dataclass(frozen=True)
class Job:
    """A trial to be run: its configuration, its place in the sweep and in the store."""

    config: Config
    point: dict[str, Any]
    key: Key
    force: bool = False
    watch: Callable[[Epoch], None] | None = None

    @property
    def store(self) -> Store:
        return Store(self.config.path("runs_path"))

    def is_done(self, outcome: Outcome) -> bool:
        """Whether it need not be run again: it is finished, would fail the same way, or was pruned in a search."""
        if self.force or outcome is None:
            return False
        return (
            isinstance(outcome, TrialResult)
            or outcome.final
            or (outcome.kind == "pruned" and bool(self.watch))
        )


Outcome = TrialResult | Failure | None
"""How a job ended; None where another process has it."""


class Datasets:
    """Data sets of this process, read once for the same settings of the data."""

    def __init__(self) -> None:
        self._loaded: dict[str, Dataset] = {}

    def get(self, config: Config) -> Dataset:
        """Raises UserError for what is missing or wrong in its files."""
        places = [config.path("data_path"), config.path("cache_path")]
        key = repr([config[name] for name in DATA_SETTINGS] + [*places, Study.of(config)])
        if key not in self._loaded:
            self._loaded[key] = Dataset.load(config)
        return self._loaded[key]


def run_job(job: Job, datasets: Datasets, store: Store | None = None) -> Outcome:
    """Run a trial unless it is finished or another process has it; what it raises becomes a recorded failure.

    Raises StorageError, and what is no fault of the trial: KeyboardInterrupt, SystemExit.
    """
    store = store or job.store
    with store.claim(job.key) as claimed:
        if not claimed:
            return None
        known = store.find(job.key)
        if job.is_done(known):
            return known
        if job.force:
            store.forget_progress(job.key)
        try:
            watch = job.watch or (lambda epoch: None)
            return run_trial(job.config, datasets.get(job.config), store, job.key, job.point, watch)
        except StorageError:
            raise
        except Exception as error:
            failure = failure_of(job, error)
        if failure.kind == "setting":  # what is wrong with the files or the settings, and may be mended
            if not store.has_checkpoints(job.key):  # said at once and again, so there is nothing to keep
                store.forget_progress(job.key)
            return failure
        return store.save_failure(job.config, failure)


def failure_of(job: Job, error: Exception) -> Failure:
    """What is kept of an exception that ended a trial."""
    kind = next((kind for kind, classes in KINDS.items() if isinstance(error, classes)), "error")
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
        kind = "out of memory"  # torch has no class of its own for it on the CPU
    message = " ".join(str(error).split()) or type(error).__name__
    if kind == "error":
        message = f"{type(error).__name__}: {message}{_place(error, job.config.models_dir)}"
    text = "" if kind in ("diverged", "setting", "pruned") else "".join(traceback.format_exception(error))
    valid = getattr(error, "valid", {})
    return Failure(job.key.model, job.key.dataset, job.key.trial, job.point, kind, message, text, valid=valid)


def _place(error: Exception, models_dir: Path | None) -> str:
    """The innermost statement that it went through of the project's or of the models' folder, in brackets."""
    ours = [folder for folder in (SRC, models_dir) if folder is not None]
    frames = traceback.extract_tb(error.__traceback__)
    inner = [f for f in frames if any(Path(f.filename).is_relative_to(folder) for folder in ours)]
    return f" ({inner[-1].filename}, line {inner[-1].lineno})" if inner else ""


KINDS = {
    "diverged": (Diverged,),
    "pruned": (Pruned,),
    "out of memory": (MemoryError, torch.OutOfMemoryError),
    "setting": (UserError,),
}
