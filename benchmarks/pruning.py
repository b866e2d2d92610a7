"""What ending trials early would have cost: `python benchmarks/pruning.py RUNS_PATH [--orders N]`.

Of every model and data set whose grid lies whole in a store, one seed, the trials' curves are told to a search again in
random orders, with rules that end trials: how many of the epochs are run, how often the grid's best point
survives, and how much of the validation metric is lost where it does not.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator
from itertools import groupby
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import numpy as np  # noqa: E402

from utils.experiments.search import (  # noqa: E402
    FIRST_EPOCHS,
    FIRST_UNPRUNED,
    import_optuna,
    make_pruner,
)
from utils.experiments.store import Store, TrialResult  # noqa: E402

METRIC = "recall@20"
FEWEST = FIRST_UNPRUNED + 2
"""Points of a grid that is worth a replay: of fewer, next to none could be pruned."""


class Replay(NamedTuple):
    """Share of the grid's epochs that were run, and what the best survivor lacks of the grid's best metric."""

    epochs: float
    lost: float


def rules() -> dict[str, Callable[[], Any]]:
    """Optuna's pruners by what the table calls them; the last is the project's."""
    pruners = import_optuna().pruners
    return {
        "successive halving": lambda: pruners.SuccessiveHalvingPruner(min_resource=FIRST_EPOCHS),
        f"below the median, from epoch {FIRST_EPOCHS}": lambda: pruners.MedianPruner(
            FIRST_UNPRUNED, FIRST_EPOCHS
        ),
        "below the median, from epoch 50": lambda: pruners.MedianPruner(FIRST_UNPRUNED, 50),
        "below the median and no longer rising": make_pruner,
    }


def grids(runs: Path) -> Iterator[tuple[str, list[TrialResult]]]:
    """Trials of one seed by data set, model, code and the names of what varies, where none is missing."""

    def of(trial: TrialResult) -> tuple[str, ...]:
        return (
            trial.dataset,
            trial.model,
            trial.environment["data"],
            trial.environment["code"],
            *sorted(trial.point),
        )

    results = sorted((stored.result for stored in Store(runs).trials()), key=of)
    for (dataset, model, _, _, *axes), trials in groupby(results, of):
        found = list(trials)
        values = [{repr(trial.point[axis]) for trial in found} for axis in axes]
        if len(found) == prod(map(len, values)) >= FEWEST and "seed" not in axes:
            yield f"{model}, {dataset}, {len(found)} points", found


def curve(trial: TrialResult) -> list[tuple[int, float]]:
    """Epochs that were validated, and the metric there."""
    return [(epoch["epoch"], epoch["valid"][METRIC]) for epoch in trial.history if epoch["valid"]]


def replay(curves: list[list[tuple[int, float]]], pruner: Any) -> Replay:
    """One after the other, as a search would have met them."""
    optuna = import_optuna()
    study = optuna.create_study(direction="maximize", pruner=pruner)
    run, best = 0, 0.0
    for points in curves:
        trial = study.ask()
        state, epoch = optuna.trial.TrialState.COMPLETE, 0
        for epoch, value in points:
            trial.report(value, epoch)
            if trial.should_prune():
                state = optuna.trial.TrialState.PRUNED
                break
        run += epoch
        reached = max(value for _, value in points)
        if state == optuna.trial.TrialState.COMPLETE:
            best = max(best, reached)
            study.tell(trial, reached)
        else:
            study.tell(trial, state=state)
    whole = sum(points[-1][0] for points in curves)
    return Replay(run / whole, max(value for points in curves for _, value in points) - best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", type=Path, help="a store (runs_path) with whole grids")
    parser.add_argument("--orders", type=int, default=20, help="random orders of each grid")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", import_optuna().exceptions.ExperimentalWarning)
    print(f"| grid | rule | epochs run | best point kept | {METRIC} lost: mean | worst |")
    print("|---|---|---|---|---|---|")
    for name, trials in grids(arguments.runs):
        curves = [curve(trial) for trial in trials]
        for rule, make in rules().items():
            draw = np.random.default_rng(0)
            found = []
            for _ in range(arguments.orders):
                found.append(replay([curves[i] for i in draw.permutation(len(curves))], make()))
            lost = [one.lost for one in found]
            kept = sum(value == 0 for value in lost) / len(lost)
            cells = [f"{statistics.fmean(one.epochs for one in found):.0%}", f"{kept:.0%}"]
            cells += [f"{statistics.fmean(lost):.4f}", f"{max(lost):.4f}"]
            print(f"| {name} | {rule} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
