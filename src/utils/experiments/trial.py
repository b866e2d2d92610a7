"""One trial: a model under one setting of everything, trained, selected on validation, tested once, kept."""

from __future__ import annotations

import logging
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from common.memory import forget_peak, gpu_peak_mb, peak_mb
from common.trainer import Epoch, Fit, Trainer
from utils.evaluation.ranking import Evaluator
from utils.experiments import report
from utils.experiments.building import build, seed_everything
from utils.experiments.checkpoints import CheckpointFolder
from utils.experiments.identity import code_digest
from utils.experiments.store import LOG, Key, Saved, Store, TrialResult

if TYPE_CHECKING:
    from utils.config import Config
    from utils.data.dataset import Dataset

log = logging.getLogger("benchmark")

LIST_LENGTH = 50  # items of a stored ranking list, as MMRec's


def prefer_determinism(config: Config) -> None:
    """On a GPU, the same bits each time if `deterministic` says so; on a CPU they are the same anyway."""
    if config["device"].type == "cuda":
        os.environ.setdefault(
            "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
        )  # what cuBLAS needs for it, read when it starts
        torch.use_deterministic_algorithms(config["deterministic"])


def run_trial(
    config: Config,
    dataset: Dataset,
    store: Store,
    key: Key,
    point: dict[str, Any] | None = None,
    watch: Callable[[Epoch], None] = lambda epoch: None,
) -> TrialResult:
    """Train and validate, then test the weights of the best validation epoch, once, and keep everything.

    Goes on after the last checkpoint where there is one. `point` names the grid settings that the reports
    show; `watch` is told of every new epoch and may end the trial by an exception. The caller has claimed
    `key`, the trial's place in the store. Raises Diverged, UserError.
    """
    with threads(config["threads"]), _logged_to(store, key):
        forget_peak(config["device"])
        prefer_determinism(config)
        started = time.perf_counter()
        model, batches = build(config, dataset)
        for line in report.first_block(config, dataset, model):
            log.info(line)
        built = time.perf_counter()
        evaluator = Evaluator(config, dataset)
        fit = Trainer(config, model).fit(
            batches,
            lambda: means(evaluator.validate(model)),
            _reporter(config, watch),
            _progress(len(batches)),
            _checkpoints(config, store, key),
        )
        trained = time.perf_counter()
        seed_everything(
            config["seed"]
        )  # a model that draws while it scores draws this when it is loaded again
        per_user, lists = evaluator.test(model, LIST_LENGTH)
        trainable, frozen = model.parameter_counts()
        result = TrialResult(
            model=config["model"],
            dataset=dataset.name,
            trial=key.trial,
            point=dict(point or {}),
            best_epoch=fit.best.epoch,
            valid=fit.best.valid,
            test=means(per_user),
            trainable=trainable,
            frozen=frozen,
            seconds=_seconds(fit, build=built - started, test=time.perf_counter() - trained),
            peak_memory_mb=peak_mb(),
            peak_gpu_memory_mb=gpu_peak_mb(config["device"]),
            history=[asdict(epoch) for epoch in fit.epochs],
            environment=environment(config, dataset),
        )
        for line in report.last_block(config, result, store.folder(key)):
            log.info(line)
    return store.save(config, result, Saved(model, per_user, lists, fit.attributes))


def means(per_user: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean over users of every metric, in full precision."""
    return {name: float(values.mean()) for name, values in per_user.items()}


def environment(config: Config, dataset: Dataset) -> dict[str, str]:
    """What a figure depends on beside the settings: data content, code, versions, machine."""
    return {
        "data": dataset.digest(),
        "code": code_digest(config["model"], config.models_dir),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "device": str(config["device"]),
        "torch_threads": str(torch.get_num_threads()),
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """`number` torch threads inside; as many as there are for None."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _logged_to(store: Store, key: Key) -> Iterator[None]:
    """Whatever is logged inside goes to the log of the trial too, below what an earlier attempt wrote there."""
    path = store.work_folder(key) / LOG
    with store.writing():
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    handler.handleError = lambda record: None  # a full disk is told of by what must be written
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


def _checkpoints(config: Config, store: Store, key: Key) -> CheckpointFolder | None:
    if config["checkpoint_step"] is None or not config["req_training"]:
        return None
    return CheckpointFolder(store.work_folder(key), log.info)


def _seconds(fit: Fit, **phases: float) -> dict[str, float]:
    """Of the phases; training is the sum of its epochs, however often it was interrupted."""
    train, valid = ([getattr(e, f"{part}_seconds") for e in fit.epochs] for part in ("train", "valid"))
    return phases | {
        "training": sum(train) + sum(valid),
        "train_epoch": float(np.mean(train)),
        "valid_epoch": float(np.mean([s for s, e in zip(valid, fit.epochs, strict=True) if e.valid])),
    }


def _reporter(config: Config, watch: Callable[[Epoch], None]) -> Callable[[Epoch], None]:
    def tell(epoch: Epoch) -> None:
        log.info(report.epoch_line(epoch, config["valid_metric"].lower()))
        watch(epoch)

    return tell


def _progress(n_batches: int) -> Callable[[Iterable[Tensor], int], Iterable[Tensor]]:
    """A bar per epoch on a terminal, nothing elsewhere and in a process that runs beside others."""
    shown = sys.stderr.isatty() and multiprocessing.parent_process() is None

    def wrap(batches: Iterable[Tensor], epoch: int) -> Iterable[Tensor]:
        if not shown:
            return batches
        return tqdm(batches, f"epoch {epoch}", n_batches, leave=False, unit="batch")

    return wrap
