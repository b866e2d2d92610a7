"""From a store to a leaderboard: per data set a row per model, its settings chosen on validation alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.registry import get_model
from utils.config import PROJECT, Config
from utils.config.settings import studied
from utils.errors import UserError, did_you_mean
from utils.evaluation.metrics import parse_metric
from utils.experiments.choosing import choose
from utils.experiments.store import Store, StoredFailure
from utils.leaderboard.board import (
    Board,
    PerUser,
    Row,
    Run,
    Stat,
    Tried,
    canonical,
    choices,
    ranked,
)
from utils.leaderboard.fairness import unfair
from utils.leaderboard.words import count, join

MODALITIES = ("modalities", "vision_feature_file", "text_feature_file")
"""Settings by which the files of a data set that a trial reads may rightly be others."""

PROTOCOL = ("mask_validation_at_test", "filter_out_cod_start_users")
"""Settings that say how is measured, of which validation cannot choose."""


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
        boards.append(_board(dataset, runs, [f for f in failures if f.failure.dataset == dataset], metric))
    return boards


def _board(dataset: str, runs: list[Run], failures: list[StoredFailure], metric: str) -> Board:
    current, warnings = _current(runs, dataset)
    others, rows = set(runs) - set(current), []
    for name in dict.fromkeys(run.name for run in current):
        of_row = [run for run in current if run.name == name]
        model = of_row[0].result.model
        since = max((run.environment("date") for run in others if run.result.model == model), default="")
        as_measured = _settings_text(PROTOCOL)(of_row[0].settings)
        recent = [
            one
            for one in failures
            if one.failure.model == model
            and studied(model, one.settings) == name
            and one.failure.date >= since
            and _settings_text(PROTOCOL)(one.settings) == as_measured
        ]
        row, said = _row(of_row, recent)
        rows.append(row)
        warnings += said
    measured = list(dict.fromkeys(name for row in rows for name in row.test))
    if metric not in measured:
        hint = did_you_mean(metric, measured)
        raise UserError(f"{metric} was not measured on {dataset}; there are {', '.join(measured)}{hint}")
    warnings += [f"{row.model} was run without {metric}" for row in rows if metric not in row.test]
    for model in sorted({one.failure.model for one in failures} - set(_models(runs))):
        kinds = [one.failure.kind for one in failures if one.failure.model == model]
        warnings.append(f"{model} has no finished trial: {join(sorted(set(kinds)))}, {len(kinds)} in all")
    return Board(dataset, metric, ranked(rows, metric), [*warnings, *unfair(rows)])


def _current(runs: list[Run], dataset: str) -> tuple[list[Run], list[str]]:
    """The runs on the latest content of the data and by the latest code of each model, and what of the others."""
    modalities, protocol = _settings_text(MODALITIES), _settings_text(PROTOCOL)
    kept, others = _latest(runs, lambda run: run.environment("data"), lambda run: modalities(run.settings))
    warnings = [
        f"{count(len(others), 'trial')} on {dataset} left out ({join(_models(others))}): run on other "
        f"content of the data than the latest"
    ] * bool(others)
    rules = {
        "run by other code than the latest": lambda run: run.environment("code"),
        f"{join(PROTOCOL)} are not as in the latest": lambda run: protocol(run.settings),
    }
    for why, content in rules.items():
        kept, others = _latest(kept, content, lambda run: run.result.model)
        for model in _models(others):
            mine = [run for run in others if run.result.model == model]
            warnings.append(f"{count(len(mine), 'trial')} of {model} left out: {why}")
    gone = set(_models(runs)) - set(_models(kept))
    return kept, warnings + [f"{model} has no trial on the latest data" for model in sorted(gone)]


def _latest(
    runs: list[Run], content: Callable[[Run], str], group: Callable[[Run], str]
) -> tuple[list[Run], list[Run]]:
    """The runs whose content is that of the latest run of their group; and the others."""
    latest = {group(run): content(run) for run in sorted(runs, key=lambda run: run.environment("date"))}
    fits = [content(run) == latest[group(run)] for run in runs]
    return tuple([run for run, fit in zip(runs, fits, strict=True) if fit is kept] for kept in (True, False))


def _settings_text(names: Sequence[str]) -> Callable[[Mapping[str, Any]], str]:
    return lambda settings: canonical([settings.get(name) for name in names])


def _models(runs: Iterable[Run]) -> list[str]:
    return sorted({run.result.model for run in runs})


def _row(runs: list[Run], failures: list[StoredFailure]) -> tuple[Row, list[str]]:
    """The row of a model, from its runs on a data set, and warnings."""
    result, tried = runs[0].result, _tried(runs)
    metric = max(runs, key=lambda run: run.environment("date")).settings["valid_metric"].lower()
    measured = [one for one in tried if one.valid(metric)]
    winner = measured[choose([[run.result.valid[metric] for run in one.runs] for one in measured])]
    warnings = []
    most = max(len(one.runs) for one in tried)
    if len(winner.runs) < most:
        warnings.append(
            f"{result.model}: the settings that validation chose have {len(winner.runs)} of {most} seeds; "
            f"run the others too"
        )
    ahead = [one for one in measured if one.valid(metric).mean > winner.valid(metric).mean]
    if ahead:
        best = max(one.valid(metric).mean for one in ahead)
        warnings.append(
            f"{result.model}: {count(len(ahead), 'setting')} of fewer seeds had a better validation {metric}, up to "
            f"{best:.4f} for {winner.valid(metric).mean:.4f}, but within the luck of a seed; run the other seeds too"
        )
    if len({one.settings["valid_metric"].lower() for one in tried}) > 1:
        warnings.append(f"{result.model} was run with several valid_metric; {metric}, the latest, chose")
    varied = _varied(tried)
    chosen, unknown = _chosen(winner.runs[0], varied)
    row = Row(
        dataset=result.dataset,
        model=runs[0].name,
        test=_stats([run.result.test for run in winner.runs]),
        valid=_stats([run.result.valid for run in winner.runs]),
        valid_metric=metric,
        winner=winner,
        tried=tried,
        varied=varied,
        chosen=chosen,
        failures=failures,
        read_per_user=lambda: _per_user(winner.runs),
        read_lists=winner.runs[0].trial.lists,
    )
    return row, warnings + unknown


def _tried(runs: list[Run]) -> list[Tried]:
    """Runs that differ in their seed, in places and in speed alone, together."""
    groups: dict[str, dict[int, Run]] = {}
    for run in sorted(runs, key=lambda run: (run.environment("date"), run.result.trial)):
        groups.setdefault(canonical(choices(run.settings)), {})[run.settings["seed"]] = run
    return [Tried([by_seed[seed] for seed in sorted(by_seed)]) for by_seed in groups.values()]


def _varied(tried: Sequence[Tried]) -> list[str]:
    """Names of the settings that differ, in the order of the sweep, others behind."""
    settings = [choices(one.settings) for one in tried]
    differ = sorted(
        n for n in {n for s in settings for n in s} if len({canonical(s.get(n)) for s in settings}) > 1
    )
    in_order = [name for one in tried for name in one.runs[0].result.point if name in differ]
    return list(dict.fromkeys([*in_order, *differ]))


def _chosen(run: Run, varied: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The settings of a winner that are worth naming: varied, or not the defaults of today; and a warning."""
    settings, result = choices(run.settings), run.result
    chosen = {name: settings[name] for name in varied if name in settings}
    places = {
        name: str(PROJECT / Path(value).expanduser())
        for name in ("data_path", "models_dir")
        if (value := run.settings.get(name))
    }
    try:
        # Of others' models the YAML alone is read: nobody asked for their code here.
        schema = None if "models_dir" in places else get_model(result.model).settings
        defaults = Config(result.model, result.dataset, places, model_settings=schema).final_config_dict
    except UserError as error:  # the model or the data set is gone
        return chosen, [f"{result.model}: which settings are not the defaults is unknown: {error}"]
    return chosen | {n: v for n, v in sorted(settings.items()) if n in defaults and v != defaults[n]}, []


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


def _in(name: str, names: Sequence[str] | None) -> bool:
    return names is None or name in names


def _check_names(kind: str, names: Sequence[str] | None, known: set[str], store: Store) -> None:
    for name in names or ():
        if name not in known:
            raise UserError(
                f"no finished trial of the {kind} '{name}' in {store.root}; there are "
                f"{', '.join(sorted(known))}{did_you_mean(name, known)}"
            )
