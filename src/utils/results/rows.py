"""docs/results.json: what every recipe gave, as means over its seeds, and whether new runs agree with it."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.registry import get_model
from utils.config import SRC, Config
from utils.experiments.report import PHASES
from utils.experiments.store import TrialResult
from utils.results.recipes import Recipe

FILE = SRC.parent / "docs" / "results.json"
METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
DEVIATIONS, SHARE = 3.0, 0.01
"""Runs agree within so many standard deviations of a seed, and this share of the mean for another machine's sums."""
ONE_SEED = 0.014
"""Standard deviation as a share of the mean where one seed tells none: the median of the rows that have several."""

Row = dict[str, Any]


class Difference(NamedTuple):
    """A metric of new runs beside that of the row."""

    metric: str
    measured: float
    expected: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        return abs(self.measured - self.expected) <= self.tolerance


def read_rows(path: Path = FILE) -> list[Row]:
    """The rows of the file; none where it is not there."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def make_row(
    recipe: Recipe, trials: Sequence[TrialResult], commit: str, places: Mapping[str, Any] | None = None
) -> Row:
    """What the recipe's trials, one per seed, gave: test means and sample standard deviations, and validation means.

    places: settings that say where the data are.
    """
    trials = sorted(trials, key=lambda trial: recipe.seeds.index(_seed(recipe, trial)))
    tests = {name: [trial.test[name] for trial in trials] for name in METRICS}
    return {
        "recipe": recipe.name,
        "dataset": recipe.dataset,
        "model": recipe.model,
        "features": recipe.features,
        "settings": settings_of(recipe, places),
        "seeds": [_seed(recipe, trial) for trial in trials],
        "metrics": {name: round(statistics.fmean(values), 6) for name, values in tests.items()},
        "sd": {name: _deviation(values) for name, values in tests.items()},
        "valid": {
            name: round(statistics.fmean(trial.valid[name] for trial in trials), 6) for name in METRICS
        },
        "best_epochs": [trial.best_epoch for trial in trials],
        "minutes_per_seed": round(statistics.fmean(_seconds(trial) for trial in trials) / 60, 1),
        "device": ", ".join(sorted({trial.environment["device"] for trial in trials})),
        "data": trials[0].environment["data"],
        "date": max(trial.environment["date"] for trial in trials)[:10],
        "commit": commit,
    }


def settings_of(recipe: Recipe, places: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The model's own settings under the recipe, with its learning rate, and whatever else the recipe sets."""
    own = {name: value for name, value in recipe.settings.items() if name != "seed"}
    schema = get_model(recipe.model).settings or {}
    config = Config(recipe.model, recipe.dataset, {**own, **(places or {})}, model_settings=schema)
    named = [*schema, "learning_rate", "learning_rate_scheduler", *own]
    return {name: config[name] for name in sorted(set(named))}


def _seconds(trial: TrialResult) -> float:
    return sum(trial.seconds[phase] for phase in PHASES)


def _seed(recipe: Recipe, trial: TrialResult) -> int:
    return trial.point.get("seed", recipe.seeds[0])


def _deviation(values: Sequence[float]) -> float | None:
    return round(statistics.stdev(values), 6) if len(values) > 1 else None


def differences(row: Row, trials: Sequence[TrialResult]) -> Iterator[Difference]:
    """Means of new trials, of some of the row's seeds, beside those of the row."""
    for name, expected in row["metrics"].items():
        deviation = ONE_SEED * expected if row["sd"][name] is None else row["sd"][name]
        spread = deviation * math.sqrt(1 / len(trials) + 1 / len(row["seeds"]))
        measured = statistics.fmean(trial.test[name] for trial in trials)
        yield Difference(name, measured, expected, DEVIATIONS * spread + SHARE * expected)
