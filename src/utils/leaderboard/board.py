"""A leaderboard as data: runs, the settings tried, a row per model, and a board per data set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np

from utils.config.settings import studied
from utils.evaluation.ranking import Lists
from utils.evaluation.significance import Comparison, compare, in_words
from utils.experiments.identity import NOT_IDENTITY
from utils.experiments.store import StoredFailure, StoredTrial, TrialResult
from utils.leaderboard.published import PublishedFigure, comparable, published


class Stat(NamedTuple):
    """Over seeds: the mean, and the sample standard deviation, which a single seed does not have."""

    mean: float
    sd: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> Stat:
        return cls(fmean(values), stdev(values) if len(values) > 1 else None)


class PerUser(NamedTuple):
    """Test users (U,), ascending, and the values (U,) of every metric."""

    users: np.ndarray
    values: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Run:
    """A finished trial with its settings, read once."""

    trial: StoredTrial
    settings: dict[str, Any]

    @property
    def result(self) -> TrialResult:
        return self.trial.result

    @property
    def name(self) -> str:
        """Of the row that it belongs to: the model, and how its content was changed."""
        return studied(self.result.model, self.settings)

    def environment(self, name: str) -> str:
        return self.result.environment.get(name, "")


@dataclass(frozen=True, eq=False)
class Tried:
    """One combination of settings, and its runs: one per seed, by seed."""

    runs: list[Run]

    @property
    def settings(self) -> dict[str, Any]:
        return self.runs[0].settings

    def valid(self, metric: str) -> Stat | None:
        """Validation of all its runs; None where one did not measure it."""
        values = [run.result.valid.get(metric) for run in self.runs]
        return None if None in values else Stat.of(values)


@dataclass(frozen=True, eq=False)
class Row:
    """A model on a data set; what a foreign list does not have is empty or None."""

    dataset: str
    model: str
    test: dict[str, Stat]
    read_per_user: Callable[[], PerUser | None]
    read_lists: Callable[[], Lists | None]
    valid: dict[str, Stat] = field(default_factory=dict)
    valid_metric: str | None = None
    winner: Tried = Tried([])
    tried: Sequence[Tried] = ()
    varied: Sequence[str] = ()
    """The settings that differ between those tried, of which validation chose."""
    chosen: dict[str, Any] = field(default_factory=dict)
    """Of the winner's settings, those varied and those that are not the model's defaults."""
    failures: Sequence[StoredFailure] = ()

    @cached_property
    def per_user(self) -> PerUser | None:
        """Means over seeds; None where they were not kept."""
        return self.read_per_user()

    @cached_property
    def lists(self) -> Lists | None:
        """Of the first seed; None where they were not kept."""
        return self.read_lists()

    def has_per_user(self, metric: str) -> bool:
        return self.per_user is not None and metric in self.per_user.values

    @property
    def runs(self) -> list[Run]:
        return self.winner.runs

    @property
    def settings(self) -> dict[str, Any]:
        return self.winner.settings if self.runs else {}

    @property
    def n_settings(self) -> int:
        """Combinations of settings of which validation could choose; pruned ones had their chance."""
        pruned = {canonical(choices(one.settings)) for one in self.failures if one.failure.kind == "pruned"}
        finished = {canonical(choices(one.settings)) for one in self.tried}
        return len(self.tried) + len(pruned - finished)

    @property
    def n_runs(self) -> int:
        """Finished, pruned and failed ones."""
        return sum(len(tried.runs) for tried in self.tried) + len(self.failures)

    @property
    def n_failed(self) -> int:
        return sum(one.failure.kind != "pruned" for one in self.failures)

    def mean(self, value: Callable[[TrialResult], float | None]) -> float | None:
        """Of a value over the winner's seeds."""
        values = [value(run.result) for run in self.runs]
        return fmean(values) if values and None not in values else None

    @property
    def trainable(self) -> int | None:
        return self.runs[0].result.trainable if self.runs else None

    @property
    def seconds_per_epoch(self) -> float | None:
        """Of training and validation."""
        return self.mean(lambda result: _sum(result.seconds, "train_epoch", "valid_epoch"))

    @property
    def seconds_training(self) -> float | None:
        """Of a whole run."""
        return self.mean(lambda result: result.seconds.get("training"))

    @property
    def peak_memory_mb(self) -> float | None:
        return self.mean(lambda result: result.peak_memory_mb)

    @property
    def best_epochs(self) -> list[int]:
        return [run.result.best_epoch for run in self.runs]

    def sensitivity(self) -> dict[str, list[tuple[Any, Stat]]]:
        """Validation at each value of a varied setting, the others being the winner's; two values at least."""
        curves = {}
        for name in self.varied:
            others = [other for other in self.varied if other != name]
            curve = [
                (tried.settings.get(name), stat)
                for tried in self.tried
                if all(tried.settings.get(other) == self.settings.get(other) for other in others)
                and (stat := tried.valid(self.valid_metric))
            ]
            if len(curve) > 1:
                curves[name] = sorted(curve, key=lambda point: _sort_key(point[0]))
        return curves


@dataclass(frozen=True, eq=False)
class Board:
    """The rows of a data set, the best test value of `metric` first."""

    dataset: str
    metric: str
    rows: list[Row]
    warnings: list[str]

    @property
    def names(self) -> list[str]:
        """Metrics that some row has, in the order of the settings."""
        return list(dict.fromkeys(name for row in self.rows for name in row.test))

    @property
    def first_run(self) -> Run:
        """Of the best row that was run here."""
        return next(row.runs[0] for row in self.rows if row.runs)

    @cached_property
    def published(self) -> list[PublishedFigure]:
        """Figures of its models by others, where these models were run under the same protocol."""
        models = [row.model for row in self.rows if row.runs and comparable(row.settings)]
        return sorted(published(self.dataset, models), key=lambda figure: models.index(figure.model))

    @cached_property
    def compared(self) -> tuple[list[Comparison], list[str]]:
        """The first row against every other, user by user, and why some are left out."""
        first, *others = self.rows
        if not others:
            return [], []
        if not first.has_per_user(self.metric):
            return [], [f"no significance tests: {first.model} has no values per user"]
        values, notes = {first.model: first.per_user.values[self.metric]}, []
        for row in others:
            if not row.has_per_user(self.metric):
                notes.append(f"{row.model} is left out of the tests: it has no values per user")
            elif not np.array_equal(row.per_user.users, first.per_user.users):
                notes.append(
                    f"{row.model} is left out of the tests: its users are not those of {first.model}"
                )
            else:
                values[row.model] = row.per_user.values[self.metric]
        return compare(values, first.model), notes

    def sentences(self) -> list[str]:
        """What the tests say, and of whom they say nothing."""
        comparisons, notes = self.compared
        return [*(in_words(one, self.metric, self.rows[0].model) for one in comparisons), *notes]

    def with_row(self, row: Row, warnings: Iterable[str] = ()) -> Board:
        return Board(
            self.dataset, self.metric, ranked([*self.rows, row], self.metric), [*self.warnings, *warnings]
        )


def ranked(rows: Iterable[Row], metric: str) -> list[Row]:
    """The best test value first, rows without one last."""
    return sorted(rows, key=lambda row: -row.test[metric].mean if metric in row.test else np.inf)


def choices(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that can change a result, without the seed."""
    return {name: value for name, value in settings.items() if name not in NOT_IDENTITY and name != "seed"}


def canonical(value: Any) -> str:
    """The same text for equal settings."""
    return json.dumps(value, sort_keys=True, default=str)


def _sort_key(value: Any) -> tuple:
    """Numbers by size, before everything else by its text."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, value, "") if number else (1, 0, canonical(value))


def _sum(seconds: Mapping[str, float | None], *names: str) -> float | None:
    values = [seconds.get(name) for name in names]
    return None if None in values else sum(values)
