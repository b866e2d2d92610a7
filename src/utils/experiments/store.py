"""The store: a folder per trial, complete or not there at all, that any number of processes may share.

<runs_path>/<dataset>/<model>/<trial>/      a trial that ended
    settings.yaml   every setting, with its origin as a comment: usable as a configuration again
    metrics.json    validation and test metrics, every epoch, times, environment
    per_user.npz    users (U,) of the test and their values (U,) of every metric, by names such as recall@20
    topk.npz        users (U,), items (U, 50) and scores (U, 50) of the test ranking
    best.pt         weights of the best validation epoch (`torch.load(..., weights_only=True)`)
    attributes.pt   what the model kept beside them then, if its scores may depend on it: common.state.Attributes
    log.txt         what the trial had to say
    failure.json    instead of metrics and arrays: why there are none
<runs_path>/<dataset>/<model>/.<trial>/     a trial under way: its checkpoints and its log
<runs_path>/.locks/<trial>                  held by the process that runs the trial
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import yaml
from filelock import FileLock, Timeout

from common.abstract_recommender import AbstractRecommender
from utils.config.settings import FOLDERS
from utils.config.yaml_reader import read_mapping
from utils.errors import StorageError, UserError
from utils.evaluation.ranking import Lists
from utils.files import fresh_folder, write_json, write_npz

if TYPE_CHECKING:
    from utils.config import Config

FORMAT = 1
"""Of the files in a trial's folder; 0 had no per-user values and no digest of the code."""

METRICS, FAILURE, SETTINGS = "metrics.json", "failure.json", "settings.yaml"
WEIGHTS, LISTS, PER_USER, LOG = "best.pt", "topk.npz", "per_user.npz", "log.txt"
ATTRIBUTES = "attributes.pt"


class Key(NamedTuple):
    """Which trial: its place in the store."""

    dataset: str
    model: str
    trial: str


@dataclass
class TrialResult:
    """What a finished trial found; metrics are means over users, by names such as recall@20."""

    model: str
    dataset: str
    trial: str
    point: dict[str, Any]
    best_epoch: int
    valid: dict[str, float]
    test: dict[str, float]
    trainable: int
    frozen: int
    seconds: dict[str, float]
    peak_memory_mb: float
    peak_gpu_memory_mb: float | None = None
    folder: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return Key(self.dataset, self.model, self.trial)


@dataclass
class Failure:
    """Why a trial has no result."""

    model: str
    dataset: str
    trial: str
    point: dict[str, Any]
    kind: str
    """'diverged', 'pruned', 'setting', 'out of memory', 'error', or 'died' for a process that was killed."""
    message: str
    traceback: str = ""
    date: str = ""
    valid: dict[str, float] = field(default_factory=dict)
    """Of a pruned trial: its last validation metrics."""

    @property
    def key(self) -> Key:
        return Key(self.dataset, self.model, self.trial)

    @property
    def final(self) -> bool:
        """Whether the same trial would end the same way again."""
        return self.kind == "diverged"


@dataclass(frozen=True)
class _Stored:
    """A trial that has ended, by its folder in the store."""

    folder: Path

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting by name, without the model and the data set."""
        content = read_mapping(self.folder / SETTINGS, str(self.folder / SETTINGS))
        return {name: value for name, value in content.items() if name not in RUN_ITSELF}


@dataclass(frozen=True)
class StoredFailure(_Stored):
    """A trial of the store that has no result."""

    failure: Failure


@dataclass(frozen=True)
class StoredTrial(_Stored):
    """A finished trial in the store; arrays are read when asked for."""

    result: TrialResult

    def per_user(self) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
        """Test users (U,) and the values (U,) of every metric; None where they were not kept."""
        arrays = _arrays(self.folder / PER_USER)
        if arrays is None:
            return None
        return arrays.pop("users"), arrays

    def lists(self) -> Lists | None:
        """The test ranking; None where it was not kept."""
        arrays = _arrays(self.folder / LISTS)
        return None if arrays is None else Lists(arrays["users"], arrays["items"], arrays["scores"])

    def weights(self) -> dict[str, torch.Tensor]:
        """Weights of the best epoch. Raises UserError where they were not kept."""
        path = self.folder / WEIGHTS
        if not path.is_file():
            raise UserError(f"{self.folder} has no {WEIGHTS}: the trial ran with save_model=False; run it again "
                            f"with --force and save_model=True")  # fmt: skip
        return _tensors(path)

    def attributes(self) -> dict[str, Any]:
        """What the model kept beside its weights at the best epoch; {} where its scores depend on them alone.

        Raises UserError.
        """
        path = self.folder / ATTRIBUTES
        return _tensors(path) if path.is_file() else {}


RUN_ITSELF = ("model", "dataset", "valid_metric_bigger")
"""What a settings.yaml names beside settings."""


@dataclass(frozen=True)
class Saved:
    """What a finished trial leaves beside its result."""

    model: AbstractRecommender
    per_user: Mapping[str, np.ndarray]
    lists: Lists
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Store:
    """Trials below one folder. With `work_root`, what is under way is kept below another."""

    def __init__(self, root: Path, work_root: Path | None = None):
        self.root, self.work_root = root, work_root or root

    def folder(self, key: Key) -> Path:
        return self.root / key.dataset / key.model / key.trial

    def work_folder(self, key: Key) -> Path:
        """Where the trial keeps its checkpoints and its log until it has ended."""
        return self.work_root / key.dataset / key.model / f".{key.trial}"

    @contextmanager
    def claim(self, key: Key) -> Iterator[bool]:
        """Whether the trial is this process's until the block ends; False where another one has it.

        The lock goes with its process, however that ends. Raises StorageError.
        """
        lock = FileLock(self.root / ".locks" / key.trial)
        try:
            with self.writing():
                Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            self._restore(key)
            yield True
        finally:
            lock.release()

    def find(self, key: Key) -> TrialResult | Failure | None:
        """How the trial ended, if it has. Raises UserError for files of a newer version."""
        folder = self.folder(key)
        if (folder / METRICS).is_file():
            return _read_result(folder)
        if (folder / FAILURE).is_file():
            return _read_failure(folder)
        return None

    def save(self, config: Config, result: TrialResult, saved: Saved) -> TrialResult:
        """Keep a finished trial, in place of an earlier one of the same identity. Raises StorageError."""
        result.folder = str(self.folder(result.key))
        with self._ending(result.key, config) as new:
            write_json(new / METRICS, {"format": FORMAT} | asdict(result))
            write_npz(new / PER_USER, users=saved.lists.users, **saved.per_user)
            if config["save_model"]:
                torch.save({n: v.cpu() for n, v in saved.model.state_dict().items()}, new / WEIGHTS)
                if saved.attributes:
                    torch.save(saved.attributes, new / ATTRIBUTES)
            if config["save_recommended_topk"]:
                write_npz(
                    new / LISTS, users=saved.lists.users, items=saved.lists.items, scores=saved.lists.scores
                )
        return result

    def save_failure(self, config: Config, failure: Failure) -> Failure:
        """Keep why a trial has no result, unless an earlier run of it has one. Raises StorageError.

        Checkpoints stay, for whoever tries again, unless it would end the same way.
        """
        key = failure.key
        if isinstance(self.find(key), TrialResult):
            return failure
        failure.date = failure.date or time.strftime("%Y-%m-%d %H:%M:%S")
        with self._ending(key, config, clear=failure.final) as new:
            write_json(new / FAILURE, {"format": FORMAT} | asdict(failure))
        return failure

    def has_checkpoints(self, key: Key) -> bool:
        """Whether an interrupted run of the trial can go on."""
        return any(self.work_folder(key).glob("checkpoint-*"))

    def forget_progress(self, key: Key) -> None:
        """Remove what an interrupted run of the trial has left, so that it begins anew."""
        shutil.rmtree(self.work_folder(key), ignore_errors=True)

    def adopt(self, outcome: TrialResult | Failure, files: Mapping[str, bytes]) -> TrialResult | Failure:
        """Keep a trial that ended in the store of another machine, as `files` by name. Raises StorageError.

        A failure never replaces a result, and one of the settings has no files.
        """
        key = outcome.key
        if not files or (isinstance(outcome, Failure) and isinstance(self.find(key), TrialResult)):
            return outcome
        with self.writing(), fresh_folder(self.folder(key)) as new:
            for name, content in files.items():
                (new / name).write_bytes(content)
        if isinstance(outcome, TrialResult) or outcome.final:
            self.forget_progress(key)
        return self.find(key)

    def trials(
        self, datasets: Sequence[str] | None = None, models: Sequence[str] | None = None
    ) -> list[StoredTrial]:
        """Every finished trial, by data set, model and identity. Raises UserError."""
        folders = self._folders(METRICS, datasets, models)
        return [StoredTrial(folder, _read_result(folder)) for folder in folders]

    def failures(
        self, datasets: Sequence[str] | None = None, models: Sequence[str] | None = None
    ) -> list[StoredFailure]:
        """Every failed trial. Raises UserError."""
        folders = self._folders(FAILURE, datasets, models)
        return [StoredFailure(folder, _read_failure(folder)) for folder in folders]

    def _folders(self, file: str, datasets: Sequence[str] | None, models: Sequence[str] | None) -> list[Path]:
        paths = sorted(self.root.glob(f"[!.]*/[!.]*/[!.]*/{file}"))
        return [
            path.parent
            for path in paths
            if (datasets is None or path.parts[-4] in datasets)
            and (models is None or path.parts[-3] in models)
        ]

    @contextmanager
    def _ending(self, key: Key, config: Config, clear: bool = True) -> Iterator[Path]:
        """A folder to be filled that takes the place of the trial's; then what was under way is removed."""
        log = self.work_folder(key) / LOG
        with self.writing(), fresh_folder(self.folder(key)) as new:
            (new / SETTINGS).write_text(settings_yaml(config))
            if log.is_file():
                shutil.copyfile(log, new / LOG)
            yield new
        if clear:
            self.forget_progress(key)

    def _restore(self, key: Key) -> None:
        """Clear away what a process left that was killed while it wrote; a folder it had moved away comes back."""
        folder = self.folder(key)
        for path in folder.parent.glob(f".{key.trial}.*"):
            if path.name.endswith("-old") and not folder.exists():
                os.rename(path, folder)
            else:
                shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Raises StorageError for what the disk refuses."""
        try:
            yield
        except Timeout:  # of a lock: an OSError too
            raise
        except OSError as error:
            raise StorageError(
                f"cannot write results to {self.root}: {error.strerror or error}; free space there, or set "
                f"runs_path=... to a folder that can be written (what is finished is kept)"
            ) from error


def settings_yaml(config: Config) -> str:
    """All settings as YAML, a line each, the origin behind it."""
    lines = []
    for name, value in sorted(config.final_config_dict.items()):
        if name == "device":
            continue  # follows from use_gpu and the machine
        if name in FOLDERS and value is not None and not config.origin(name).endswith(".yaml"):
            value = str(config.path(name))  # it counted from the folder of then
        text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
        lines.append(f"{name}: {text.removesuffix('...' + chr(10)).strip()}  # {config.origin(name)}")
    return "\n".join(lines) + "\n"


def _read_result(folder: Path) -> TrialResult:
    content = _read_json(folder / METRICS)
    return TrialResult(**_known(TrialResult, content, folder / METRICS) | {"folder": str(folder)})


def _read_failure(folder: Path) -> Failure:
    return Failure(**_known(Failure, _read_json(folder / FAILURE), folder / FAILURE))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {path}: {error}; remove that folder, its trial can run again"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no JSON object; remove that folder, its trial can run again")
    found = content.get("format", 0)
    if not isinstance(found, int) or found > FORMAT:
        raise UserError(
            f"{path} was written by a newer version (format {found}; this one knows {FORMAT}); update this "
            f"program, or set runs_path=... to another folder"
        )
    return content


def _known(kind: type, content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The fields of a dataclass among `content`."""
    known = {one.name: content[one.name] for one in fields(kind) if one.name in content}
    optional = {f.name for f in fields(kind) if f.default is not MISSING or f.default_factory is not MISSING}
    needed = [f.name for f in fields(kind) if f.name not in {*known, *optional}]
    if needed:
        raise UserError(f"{path} has no '{needed[0]}'; remove that folder, its trial can run again")
    return known


def _tensors(path: Path) -> dict[str, Any]:
    """Tensors and plain values of a file. Raises UserError."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise UserError(f"cannot read {path}, it is damaged; run the trial again with --force") from error


def _arrays(path: Path) -> dict[str, np.ndarray] | None:
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
