"""From a store to a leaderboard: per data set a row per model, its settings chosen on validation alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np
import pandas as pd

from common.registry import get_model
from utils.config import PROJECT, Config
from utils.data.dataset import Dataset
from utils.errors import UserError, did_you_mean
from utils.evaluation.beyond_accuracy import beyond_accuracy
from utils.evaluation.groups import by_item_group, by_user_group
from utils.evaluation.metrics import evaluate, parse_metric
from utils.evaluation.ranking import Evaluator, Lists, hit_matrix
from utils.evaluation.significance import Comparison, compare, in_words
from utils.experiments.identity import NOT_IDENTITY
from utils.experiments.published import PublishedFigure, comparable, published
from utils.experiments.store import SETTINGS, Failure, Store, StoredTrial, TrialResult
from utils.experiments.trial import LIST_LENGTH

MODALITIES = ("modalities", "vision_feature_file", "text_feature_file")
"""Settings by which the files of a data set that a trial reads may rightly be others."""

PROTOCOL = ("mask_validation_at_test", "filter_out_cod_start_users")
"""Settings that say how is measured, of which validation cannot choose."""

FAIR = {
    "mask_validation_at_test": "the test ranks other items",
    "filter_out_cod_start_users": "the test has other users",
    "valid_metric": "epochs and settings are chosen by other measures",
    "epochs": "some may train longer than others",
    "stopping_step": "some have more patience than others",
    "eval_step": "some are validated more often than others",
    "train_batch_size": "some take more steps per epoch than others",
    "embedding_size": "some have more room than others",
}
"""Settings that models should share unless they are tuned, and what is unfair otherwise."""


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
    failures: Sequence[Failure] = ()

    @cached_property
    def per_user(self) -> PerUser | None:
        """Means over seeds; None where they were not kept."""
        return self.read_per_user()

    @cached_property
    def lists(self) -> Lists | None:
        """Of the first seed; None where they were not kept."""
        return self.read_lists()

    @property
    def runs(self) -> list[Run]:
        return self.winner.runs

    @property
    def settings(self) -> dict[str, Any]:
        return self.winner.settings if self.runs else {}

    @property
    def n_settings(self) -> int:
        """Combinations of settings of which validation could choose; pruned ones had their chance."""
        pruned = {_text(_without_seed(one.point)) for one in self.failures if one.kind == "pruned"}
        finished = {_text(_without_seed(run.result.point)) for one in self.tried for run in one.runs}
        return len(self.tried) + len(pruned - finished)

    @property
    def n_runs(self) -> int:
        """Finished, pruned and failed ones."""
        return sum(len(tried.runs) for tried in self.tried) + len(self.failures)

    @property
    def n_failed(self) -> int:
        return sum(failure.kind != "pruned" for failure in self.failures)

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
        if not _has(first, self.metric):
            return [], [f"no significance tests: {first.model} has no values per user"]
        values, notes = {first.model: first.per_user.values[self.metric]}, []
        for row in others:
            if not _has(row, self.metric):
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
            self.dataset, self.metric, _ranked([*self.rows, row], self.metric), [*self.warnings, *warnings]
        )


def leaderboard(
    store: Store,
    datasets: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    metric: str = "recall@20",
) -> list[Board]:
    """A board per data set. Raises UserError for an empty store and for what is not in it."""
    metric = "{}@{}".format(*parse_metric(metric))
    trials = store.trials()
    if not trials:
        raise UserError(
            f"no finished trial in {store.root}; run one, such as python main.py -m BPR -d demo, or set "
            f"runs_path=... to where they are"
        )
    found = {(trial.result.dataset, trial.result.model) for trial in trials}
    _check_names("data set", datasets, {dataset for dataset, _ in found}, store)
    _check_names("model", models, {model for dataset, model in found if _in(dataset, datasets)}, store)
    wanted = [t for t in trials if _in(t.result.dataset, datasets) and _in(t.result.model, models)]
    failures = store.failures(datasets, models)
    boards = []
    for dataset in datasets or sorted({trial.result.dataset for trial in wanted}):
        of_dataset = [trial for trial in wanted if trial.result.dataset == dataset]
        if not of_dataset:
            raise UserError(f"no finished trial of {join(models)} on {dataset} in {store.root}")
        runs = [Run(trial, trial.settings) for trial in of_dataset]
        boards.append(_board(dataset, runs, [f for f in failures if f.dataset == dataset], metric))
    return boards


def _board(dataset: str, runs: list[Run], failures: list[Failure], metric: str) -> Board:
    current, warnings = _current(runs, dataset)
    others, rows = set(runs) - set(current), []
    for model in dict.fromkeys(run.result.model for run in current):
        since = max((run.environment("date") for run in others if run.result.model == model), default="")
        recent = [failure for failure in failures if failure.model == model and failure.date >= since]
        row, said = _row([run for run in current if run.result.model == model], recent)
        rows.append(row)
        warnings += said
    measured = list(dict.fromkeys(name for row in rows for name in row.test))
    if metric not in measured:
        hint = did_you_mean(metric, measured)
        raise UserError(f"{metric} was not measured on {dataset}; there are {', '.join(measured)}{hint}")
    warnings += [f"{row.model} was run without {metric}" for row in rows if metric not in row.test]
    for model in sorted({failure.model for failure in failures} - set(_models(runs))):
        kinds = [failure.kind for failure in failures if failure.model == model]
        warnings.append(f"{model} has no finished trial: {join(sorted(set(kinds)))}, {len(kinds)} in all")
    return Board(dataset, metric, _ranked(rows, metric), [*warnings, *unfair(rows)])


def _ranked(rows: list[Row], metric: str) -> list[Row]:
    return sorted(rows, key=lambda row: -row.test[metric].mean if metric in row.test else np.inf)


def _current(runs: list[Run], dataset: str) -> tuple[list[Run], list[str]]:
    """The runs on the latest content of the data and by the latest code of each model, and what of the others."""
    kept, others = _latest(runs, lambda run: run.environment("data"), _settings_text(MODALITIES))
    warnings = [
        f"{_count(len(others), 'trial')} on {dataset} left out ({join(_models(others))}): run on other "
        f"content of the data than the latest"
    ] * bool(others)
    rules = {
        "run by other code than the latest": lambda run: run.environment("code"),
        f"{join(PROTOCOL)} are not as in the latest": _settings_text(PROTOCOL),
    }
    for why, content in rules.items():
        kept, others = _latest(kept, content, lambda run: run.result.model)
        for model in _models(others):
            mine = [run for run in others if run.result.model == model]
            warnings.append(f"{_count(len(mine), 'trial')} of {model} left out: {why}")
    gone = set(_models(runs)) - set(_models(kept))
    return kept, warnings + [f"{model} has no trial on the latest data" for model in sorted(gone)]


def _latest(
    runs: list[Run], content: Callable[[Run], str], group: Callable[[Run], str]
) -> tuple[list[Run], list[Run]]:
    """The runs whose content is that of the latest run of their group; and the others."""
    latest = {group(run): content(run) for run in sorted(runs, key=lambda run: run.environment("date"))}
    fits = [content(run) == latest[group(run)] for run in runs]
    return tuple([run for run, fit in zip(runs, fits, strict=True) if fit is kept] for kept in (True, False))


def _settings_text(names: Sequence[str]) -> Callable[[Run], str]:
    return lambda run: _text([run.settings.get(name) for name in names])


def _models(runs: Iterable[Run]) -> list[str]:
    return sorted({run.result.model for run in runs})


def _row(runs: list[Run], failures: list[Failure]) -> tuple[Row, list[str]]:
    """The row of a model, from its runs on a data set, and warnings."""
    result, tried = runs[0].result, _tried(runs)
    metric = max(runs, key=lambda run: run.environment("date")).settings["valid_metric"].lower()
    measured = [one for one in tried if one.valid(metric)]
    winner = max(measured, key=lambda one: (one.valid(metric).mean, len(one.runs)))
    warnings = []
    most = max(len(one.runs) for one in tried)
    if len(winner.runs) < most:
        warnings.append(
            f"{result.model}: the settings that validation chose have {len(winner.runs)} of {most} seeds; "
            f"run the others too"
        )
    if len({one.settings["valid_metric"].lower() for one in tried}) > 1:
        warnings.append(f"{result.model} was run with several valid_metric; {metric}, the latest, chose")
    varied = _varied(tried)
    row = Row(
        dataset=result.dataset,
        model=result.model,
        test=_stats([run.result.test for run in winner.runs]),
        valid=_stats([run.result.valid for run in winner.runs]),
        valid_metric=metric,
        winner=winner,
        tried=tried,
        varied=varied,
        chosen=_chosen(winner.runs[0], varied),
        failures=failures,
        read_per_user=lambda: _per_user(winner.runs),
        read_lists=winner.runs[0].trial.lists,
    )
    return row, warnings


def _tried(runs: list[Run]) -> list[Tried]:
    """Runs that differ in their seed, in places and in speed alone, together."""
    groups: dict[str, dict[int, Run]] = {}
    for run in sorted(runs, key=lambda run: (run.environment("date"), run.result.trial)):
        groups.setdefault(_text(_choices(run.settings)), {})[run.settings["seed"]] = run
    return [Tried([by_seed[seed] for seed in sorted(by_seed)]) for by_seed in groups.values()]


def _choices(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that can change a result."""
    return {name: value for name, value in _without_seed(settings).items() if name not in NOT_IDENTITY}


def _varied(tried: Sequence[Tried]) -> list[str]:
    """Names of the settings that differ, in the order of the sweep, others behind."""
    settings = [_choices(one.settings) for one in tried]
    differ = sorted(
        n for n in {n for s in settings for n in s} if len({_text(s.get(n)) for s in settings}) > 1
    )
    in_order = [name for one in tried for name in one.runs[0].result.point if name in differ]
    return list(dict.fromkeys([*in_order, *differ]))


def _chosen(run: Run, varied: Sequence[str]) -> dict[str, Any]:
    """The settings of a winner that are worth naming: varied, or not the defaults of today."""
    settings = _choices(run.settings)
    chosen = {name: settings[name] for name in varied if name in settings}
    try:
        schema = get_model(run.result.model).settings
        place = {"data_path": str(PROJECT / Path(run.settings["data_path"]).expanduser())}
        defaults = Config(
            run.result.model, run.result.dataset, place, model_settings=schema
        ).final_config_dict
    except UserError:  # the model or the data set is gone
        return chosen
    return chosen | {n: v for n, v in sorted(settings.items()) if n in defaults and v != defaults[n]}


def _stats(metrics: Sequence[Mapping[str, float]]) -> dict[str, Stat]:
    """Over the runs, of the metrics that all of them have."""
    return {
        name: Stat.of([m[name] for m in metrics]) for name in metrics[0] if all(name in m for m in metrics)
    }


def _per_user(runs: Sequence[Run]) -> PerUser | None:
    """Means over the runs; None where a run kept none or had other users."""
    kept = [run.trial.per_user() for run in runs]
    if None in kept:
        return None
    orders = [np.argsort(users) for users, _ in kept]
    users = kept[0][0][orders[0]]
    if any(not np.array_equal(u[order], users) for (u, _), order in zip(kept, orders, strict=True)):
        return None
    names = [name for name in kept[0][1] if all(name in values for _, values in kept)]
    means = {
        name: np.mean([values[name][order] for (_, values), order in zip(kept, orders, strict=True)], axis=0)
        for name in names
    }
    return PerUser(users, means)


def unfair(rows: Sequence[Row]) -> list[str]:
    """A sentence for everything that makes a comparison of the rows unfair."""
    rows = [row for row in rows if row.runs]
    tuned = {name for row in rows for name in row.varied}
    counts = {
        "settings tried": {row.model: f"{row.n_settings:,}" for row in rows},
        "seeds": {row.model: f"{len(row.runs)}" for row in rows},
    }
    found = [f"unequal {what}: {said}" for what, of in counts.items() for said in _unequal(of)]
    for name, why in FAIR.items():
        values = {row.model: f"{row.settings.get(name)}" for row in rows}
        if name not in tuned:
            found += [f"{name} is {said}: {why}" for said in _unequal(values)]
    files = {row.model: row.runs[0].environment("data") for row in rows}
    found += [f"the files of the data differ: {said}" for said in _unequal(_numbered(files))]
    machines = {row.model: _machine(row.runs[0]) for row in rows}
    found += [f"times do not compare: {said}" for said in _unequal(machines)]
    return found


def _unequal(values: Mapping[str, str]) -> list[str]:
    """In words, who has which value, unless all have the same; most frequent first.

    >>> _unequal({"BPR": "1", "TMFUN": "3", "VBPR": "3"})
    ['3 for TMFUN and VBPR, 1 for BPR']
    """
    if len(set(values.values())) < 2:
        return []
    groups: dict[str, list[str]] = {}
    for model, value in values.items():
        groups.setdefault(value, []).append(model)
    by_size = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [", ".join(f"{value} for {join(models)}" for value, models in by_size)]


def _numbered(values: Mapping[str, str]) -> dict[str, str]:
    """Digests as 'content 1', 'content 2', which read better."""
    numbers = {digest: f"content {i}" for i, digest in enumerate(dict.fromkeys(values.values()), start=1)}
    return {model: numbers[digest] for model, digest in values.items()}


def _machine(run: Run) -> str:
    device, threads = run.environment("device"), run.environment("torch_threads")
    return f"{device} with {_count(int(threads), 'thread')}" if threads else device or "unknown"


# What needs the data set itself.


@dataclass(frozen=True, eq=False)
class Insights:
    """By model: measures beyond accuracy, and means and sizes by group of users and of items."""

    beyond: dict[str, dict[str, float]] = field(default_factory=dict)
    users: dict[str, dict[str, tuple[float, int]]] = field(default_factory=dict)
    items: dict[str, dict[str, tuple[float, int]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Data:
    """A data set with its evaluator, and what is counted and read there."""

    dataset: Dataset
    evaluator: Evaluator

    @cached_property
    def popularity(self) -> np.ndarray:
        return np.bincount(self.dataset.train.items, minlength=self.dataset.n_items)

    @cached_property
    def n_train(self) -> np.ndarray:
        return np.bincount(self.dataset.train.users, minlength=self.dataset.n_users)

    @cached_property
    def features(self) -> dict[str, np.ndarray]:
        modalities = self.dataset.modalities.items()
        return {name: one.features().numpy() for name, one in modalities if one.has_features}


def _load(run: Run, places: Mapping[str, Any]) -> tuple[Config, _Data]:
    """The data of a run: in `places` (data_path, cache_path) or where it was. Raises UserError.

    A relative path in `places` counts from the current folder, one of the run's from the project's.
    """
    here = {name: str(Path.cwd() / Path(path).expanduser()) for name, path in places.items()}
    model, name, origin = run.result.model, run.result.dataset, str(run.trial.folder / SETTINGS)
    config = Config(model, name, run.settings | here, origin, model_settings=get_model(model).settings)
    dataset = Dataset.load(config)
    if dataset.digest() != run.environment("data"):
        raise UserError(
            f"the files of {name} in {config.path('data_path')} are not those the trials ran on; set "
            f"data_path=... to those"
        )
    return config, _Data(dataset, Evaluator(config, dataset))


def insights(board: Board, places: Mapping[str, Any] | None = None) -> Insights:
    """What the lists and the values per user say, as far as they were kept and the data is still there."""
    found = Insights()
    loaded: dict[str, _Data | UserError] = {}
    reasons: dict[str, list[str]] = {}
    first = _first_run(board)
    for row in board.rows:
        run = row.runs[0] if row.runs else first
        key = run.environment("data") + repr(run.settings["filter_out_cod_start_users"])
        if key not in loaded:
            loaded[key] = _load_or_why(run, places or {})
        try:
            _look_into(row, board.metric, loaded[key], found)
        except UserError as error:
            reasons.setdefault(str(error), []).append(row.model)
    found.notes.extend(f"No analysis of the lists of {join(who)}: {why}" for why, who in reasons.items())
    return found


def _load_or_why(run: Run, places: Mapping[str, Any]) -> _Data | UserError:
    try:
        return _load(run, places)[1]
    except UserError as error:
        return error


def _look_into(row: Row, metric: str, data: _Data | UserError, found: Insights) -> None:
    """Add what is known of a row. Raises UserError."""
    if isinstance(data, UserError):
        raise data
    k = int(metric.partition("@")[2])
    lists, truth = row.lists, data.evaluator.test_truth
    if _has(row, metric):
        per_user = row.per_user
        found.users[row.model] = by_user_group(per_user.values[metric], data.n_train[per_user.users])
    if lists is None or not np.array_equal(lists.users, truth.users):
        raise UserError("they were not kept, or are of other users")
    found.items[row.model] = by_item_group(lists.items, truth, data.popularity, k)
    found.beyond[row.model] = beyond_accuracy(
        lists.items, data.popularity, data.dataset.n_users, k, data.features
    )


def add_foreign(board: Board, name: str, path: Path, places: Mapping[str, Any] | None = None) -> Board:
    """The board with lists of another system, scored under the protocol of the best of ours. Raises UserError.

    `path` is a table of tabs or commas with a header, columns of user and item as the data set names them, and a
    column 'rank' or 'score', else best first. What the protocol would not rank is left out with a warning.
    """
    if name in [row.model for row in board.rows]:
        raise UserError(f"--add {name}: there is a row of that name already; choose another")
    config, data = _load(_first_run(board), places or {})
    users, items = read_ranking(path, config["USER_ID_FIELD"], config["ITEM_ID_FIELD"])
    users, items, warnings = _rankable(users, items, data)
    evaluator, truth = data.evaluator, data.evaluator.test_truth
    length = min(max(LIST_LENGTH, *evaluator.topk), data.dataset.n_items)
    lists = _as_lists(users, items, truth.users, length)
    lengths = (lists.items >= 0).sum(axis=1)
    if not lengths.any():
        raise UserError(
            f"{path} ranks nothing for any of the {len(truth.users)} test users; are the ids ours?"
        )
    missing, short = (lengths == 0).sum(), ((lengths > 0) & (lengths < max(evaluator.topk))).sum()
    if missing:
        warnings.append(f"{missing:,} of {len(truth.users):,} test users have no list, and count as 0")
    if short:
        warnings.append(
            f"{short:,} lists hold fewer than {max(evaluator.topk)} items, which lowers the metrics"
        )
    hits = hit_matrix(lists.items, truth, data.dataset.n_items)
    values = evaluate(hits, truth.n_relevant, evaluator.metrics, evaluator.topk)
    order = np.argsort(truth.users)
    per_user = PerUser(truth.users[order], {metric: value[order] for metric, value in values.items()})
    test = {metric: Stat(float(value.mean())) for metric, value in values.items()}
    row = Row(board.dataset, name, test, lambda: per_user, lambda: lists)
    return board.with_row(row, [f"{name}: {warning}" for warning in warnings])


def read_ranking(path: Path, user_field: str, item_field: str) -> tuple[np.ndarray, np.ndarray]:
    """Users and items (n,) int64 of a ranking file, each user's best first. Raises UserError."""
    try:
        with open(path, encoding="utf-8-sig") as file, catch_warnings():
            separator = "\t" if "\t" in file.readline() else ","
            simplefilter("error", pd.errors.ParserWarning)  # of a line with too many values
            table = pd.read_csv(
                path, sep=separator, encoding="utf-8-sig", index_col=False, skipinitialspace=True
            )
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the name of the file") from error
    except (ValueError, pd.errors.ParserWarning) as error:  # of pandas, and for what is no UTF-8
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is no table of tabs or commas with a header: {reason}") from error
    if table.empty:
        raise UserError(f"{path} holds no ranking; expected a header and a line for each user and item")
    for name in (user_field, item_field):
        if name not in table:
            found, hint = ", ".join(map(str, table)), did_you_mean(name, map(str, table))
            raise UserError(f"{path} has no column '{name}'; its header names {found}{hint}")
        _check_numbers(path, table[name], np.int64, "a whole number, the id that the data set uses")
    order = next((name for name in ("rank", "score") if name in table), None)
    if order:
        _check_numbers(path, table[order], np.number, "a number")
        keys = table[order] if order == "rank" else -table[order]
        table = table.iloc[np.lexsort([table[item_field], keys])]
    return table[user_field].to_numpy(), table[item_field].to_numpy()


def _check_numbers(path: Path, column: pd.Series, kind: type, expected: str) -> None:
    """Raises UserError with the line of the first value that is not as expected."""
    if np.issubdtype(column.to_numpy().dtype, kind) and not column.isna().any():
        return
    numbers = pd.to_numeric(column, errors="coerce")
    bad = np.flatnonzero(numbers.isna() | ((numbers % 1 != 0) if kind is np.int64 else False))
    row = bad[0] if len(bad) else 0
    raise UserError(f"{path}, line {row + 2}: {column.name} is '{column.iloc[row]}'; expected {expected}")


def _rankable(users: np.ndarray, items: np.ndarray, data: _Data) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The pairs (n,) that the protocol ranks, and warnings about the others."""
    dataset, seen = data.dataset, data.evaluator.seen_at_test
    warnings = []

    def keep(kept: np.ndarray, what: str) -> None:
        nonlocal users, items
        if not kept.all():
            warnings.append(f"{_count((~kept).sum(), 'line')} left out: {what}")
        users, items = users[kept], items[kept]

    known = (users >= 0) & (users < dataset.n_users) & (items >= 0) & (items < dataset.n_items)
    keep(known, f"{dataset.name} has no such user or item")
    pairs = users * dataset.n_items + items
    first = np.zeros(len(pairs), dtype=bool)
    first[np.unique(pairs, return_index=True)[1]] = True
    keep(first, "the item is in the user's list already")
    masked = np.repeat(np.arange(dataset.n_users), np.diff(seen.indptr)) * dataset.n_items + seen.items
    keep(
        ~np.isin(users * dataset.n_items + items, masked),
        "items that the user has already, masked in the test",
    )
    return users, items, warnings


def _as_lists(users: np.ndarray, items: np.ndarray, of_users: np.ndarray, length: int) -> Lists:
    """Lists of the users (U,) from pairs (n,), each user's best first; those of other users are passed over."""
    row_of = np.full(max(users.max(initial=0), of_users.max()) + 1, -1)
    row_of[of_users] = np.arange(len(of_users))
    rows = row_of[users]
    order = np.argsort(rows, kind="stable")
    order = order[rows[order] >= 0]
    rows, items = rows[order], items[order]
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = places < length
    lists = Lists(
        of_users, np.full((len(of_users), length), -1), np.zeros((len(of_users), length), "float32")
    )
    lists.items[rows[kept], places[kept]] = items[kept]
    lists.scores[rows[kept], places[kept]] = -places[kept]
    return lists


def _first_run(board: Board) -> Run:
    """Of the best row that was run here."""
    return next(row.runs[0] for row in board.rows if row.runs)


def _has(row: Row, metric: str) -> bool:
    return row.per_user is not None and metric in row.per_user.values


def _in(name: str, names: Sequence[str] | None) -> bool:
    return names is None or name in names


def _check_names(kind: str, names: Sequence[str] | None, known: set[str], store: Store) -> None:
    for name in names or ():
        if name not in known:
            raise UserError(
                f"no finished trial of the {kind} '{name}' in {store.root}; there are "
                f"{', '.join(sorted(known))}{did_you_mean(name, known)}"
            )


def _without_seed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "seed"}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _sort_key(value: Any) -> tuple:
    """Numbers by size, before everything else by its text."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, value, "") if number else (1, 0, _text(value))


def _sum(seconds: Mapping[str, float | None], *names: str) -> float | None:
    values = [seconds.get(name) for name in names]
    return None if None in values else sum(values)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def join(names: Sequence[str]) -> str:
    """
    >>> join(["A", "B", "C"])
    'A, B and C'
    """
    return " and ".join([*filter(None, [", ".join(names[:-1])]), *names[-1:]])
