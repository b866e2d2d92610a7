"""One trial: a model under one setting of everything, trained, selected on validation, tested once, kept."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import random
import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from common.abstract_recommender import AbstractRecommender
from common.registry import check_pairing, get_model
from common.trainer import Epoch, Fit, Trainer
from utils.data.batches import TrainDataLoader
from utils.errors import UserError
from utils.evaluation.ranking import Evaluator
from utils.experiments import report
from utils.experiments.store import save_trial

if TYPE_CHECKING:
    from utils.config import Config
    from utils.data.dataset import Dataset

log = logging.getLogger("benchmark")

# Settings that say where things are and how fast they go, and change no result.
NOT_IDENTITY = {
    "cache_path", "data_path", "device", "eval_batch_size", "gpu_id", "runs_path", "save_model",
    "save_recommended_topk", "use_gpu",
}  # fmt: skip
LIST_LENGTH = 50  # items of a stored ranking list, as MMRec's


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
    folder: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


def seed_everything(seed: int) -> None:
    """The global generators, for initialisation and for models that draw from them."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def trial_id(config: Config, dataset: Dataset) -> str:
    """12 hex digits of the settings that can change a result and of the data's content."""
    settings = {k: v for k, v in config.final_config_dict.items() if k not in NOT_IDENTITY}
    text = json.dumps([settings, dataset.digest()], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def build(config: Config, dataset: Dataset) -> tuple[AbstractRecommender, TrainDataLoader]:
    """The seeded model on its device, and its training batches."""
    check_pairing(config["model"], config, dataset)
    seed_everything(config["seed"])
    batches = TrainDataLoader(config, dataset)
    try:
        model = get_model(config["model"])(config, batches)
    except ValueError as error:  # a model file cannot know UserError, for it has to run in MMRec too
        raise UserError(f"{config['model']} on {dataset.name}: {error}") from error
    return model.to(config["device"]), batches


def run_trial(config: Config, dataset: Dataset, point: dict[str, Any] | None = None) -> TrialResult:
    """Train and validate, then test the weights of the best validation epoch, once.

    `point` names the grid settings that the reports show. Raises Diverged, UserError.
    """
    started = time.perf_counter()
    model, batches = build(config, dataset)
    for line in report.first_block(config, dataset, model):
        log.info(line)
    built = time.perf_counter()
    evaluator = Evaluator(config, dataset)
    fit = Trainer(config, model).fit(
        batches, lambda: means(evaluator.validate(model)), _reporter(config), _progress(len(batches))
    )
    trained = time.perf_counter()
    per_user, lists = evaluator.test(model, LIST_LENGTH)
    tested = time.perf_counter()
    trainable, frozen = model.parameter_counts()
    result = TrialResult(
        model=config["model"],
        dataset=dataset.name,
        trial=trial_id(config, dataset),
        point=dict(point or {}),
        best_epoch=fit.best.epoch,
        valid=fit.best.valid,
        test=means(per_user),
        trainable=trainable,
        frozen=frozen,
        seconds=_seconds(fit, build=built - started, training=trained - built, test=tested - trained),
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (1024 if sys.platform != "darwin" else 2**20),
        history=[asdict(epoch) for epoch in fit.epochs],
    )
    result.folder = str(save_trial(config, result, environment(dataset), model, lists))
    for line in report.last_block(config, result):
        log.info(line)
    return result


def means(per_user: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean over users of every metric, in full precision."""
    return {name: float(values.mean()) for name, values in per_user.items()}


def environment(dataset: Dataset) -> dict[str, str]:
    """What a figure depends on beside the settings: data content, versions, machine."""
    return {
        "data": dataset.digest(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "torch_threads": str(torch.get_num_threads()),
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _seconds(fit: Fit, **phases: float) -> dict[str, float]:
    return phases | {
        "train_epoch": float(np.mean([e.train_seconds for e in fit.epochs])),
        "valid_epoch": float(np.mean([e.valid_seconds for e in fit.epochs if e.valid])),
    }


def _reporter(config: Config) -> Callable[[Epoch], None]:
    return lambda epoch: log.info(report.epoch_line(epoch, config["valid_metric"].lower()))


def _progress(n_batches: int) -> Callable[[Iterable[Tensor], int], Iterable[Tensor]]:
    """A bar per epoch on a terminal, nothing elsewhere."""

    def wrap(batches: Iterable[Tensor], epoch: int) -> Iterable[Tensor]:
        return tqdm(
            batches, f"epoch {epoch}", n_batches, leave=False, disable=not sys.stderr.isatty(), unit="batch"
        )

    return wrap
