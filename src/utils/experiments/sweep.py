"""Sweeps: every model on every data set at every point of its grid; the winner is chosen on validation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from common.memory import keep_freed_memory
from common.registry import check_pairing, get_model
from utils.config import Config
from utils.data.dataset import Dataset
from utils.errors import Diverged
from utils.evaluation.ranking import check_cutoffs
from utils.experiments import report
from utils.experiments.trial import TrialResult, run_trial

log = logging.getLogger("benchmark")

# The settings that decide what Dataset.load reads.
DATA_SETTINGS = (
    "dataset", "inter_file_name", "USER_ID_FIELD", "ITEM_ID_FIELD", "inter_splitting_label", "field_separator",
    "filter_out_cod_start_users", "vision_feature_file", "text_feature_file", "modalities",
)  # fmt: skip


@dataclass
class Sweep:
    """All trials of one model on one data set."""

    model: str
    dataset: str
    valid_metric: str
    trials: list[TrialResult] = field(default_factory=list)
    failed: list[tuple[dict[str, Any], str]] = field(default_factory=list)

    def groups(self) -> list[list[TrialResult]]:
        """The trials that differ in their seed alone, together."""
        groups: dict[str, list[TrialResult]] = {}
        for trial in self.trials:
            point = {name: value for name, value in trial.point.items() if name != "seed"}
            groups.setdefault(repr(point), []).append(trial)
        return list(groups.values())

    @property
    def best(self) -> list[TrialResult]:
        """The trials, one per seed, of the setting with the best mean validation metric; the test has no say."""
        return max(
            self.groups(), key=lambda group: fmean(t.valid[self.valid_metric] for t in group), default=[]
        )


def run_all(
    models: Sequence[str],
    datasets: Sequence[str],
    overrides: Mapping[str, Any] | None = None,
    use_grid: bool = False,
    origin: str = "command line",
) -> list[Sweep]:
    """Run every pair, checked before any training starts; a trial that diverges is reported and the sweep goes on.

    Raises UserError for what is wrong with the settings, the data or a pairing.
    """
    report.log_to_terminal()
    keep_freed_memory()
    plan = [
        Config(
            model,
            dataset,
            dict(overrides or {}),
            origin,
            model_settings=get_model(model).settings,
            use_grid=use_grid,
        )
        for dataset in datasets
        for model in models
    ]
    loaded: dict[str, Dataset] = {}
    for config in plan:
        for point in config.points():
            _check(config.at(point), loaded)
    sweeps = [_sweep(config, loaded) for config in plan]
    if sum(len(sweep.trials) for sweep in sweeps) > 1:
        for line in report.tables(sweeps):
            log.info(line)
    return sweeps


def _sweep(config: Config, loaded: dict[str, Dataset]) -> Sweep:
    sweep = Sweep(config["model"], config["dataset"], config["valid_metric"].lower())
    points = config.points()
    for number, point in enumerate(points, start=1):
        trial_config = config.at(point)
        log.info(report.trial_line(trial_config, point, number, len(points)))
        try:
            sweep.trials.append(run_trial(trial_config, _load(trial_config, loaded), point))
        except Diverged as error:
            log.error(f"failed: {error}")
            sweep.failed.append((point, str(error)))
    return sweep


def _load(config: Config, loaded: dict[str, Dataset]) -> Dataset:
    """The data set of a configuration, read once per run for the same settings of the data."""
    key = repr(
        [config[name] for name in DATA_SETTINGS] + [config.path("data_path"), config.path("cache_path")]
    )
    if key not in loaded:
        loaded[key] = Dataset.load(config)
    return loaded[key]


def _check(config: Config, loaded: dict[str, Dataset]) -> None:
    """Raises UserError for whatever would fail after training has begun."""
    dataset = _load(config, loaded)
    check_cutoffs(config["topk"], dataset.n_items)
    check_pairing(config["model"], config, dataset)
