"""What a command would run: every trial and its state, and an estimate of time and memory. Trains nothing."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean
from typing import Any

from pebble import ProcessExpired, ProcessPool

from common.memory import peak_mb
from common.trainer import Trainer
from utils.config import Config
from utils.config.layers import Layer
from utils.evaluation.ranking import Evaluator
from utils.experiments import report
from utils.experiments.building import build
from utils.experiments.executors import start_worker
from utils.experiments.jobs import Datasets, Job
from utils.experiments.store import Failure, TrialResult
from utils.experiments.sweep import Grid, How, Source, check, make_plan, make_sources
from utils.experiments.trial import threads

WARM_UP, MEASURED = 2, 5  # batches
TRIED = 4
"""Points of a model that are tried until one can be built."""
ASSUMED_EPOCHS = 100
"""Of a trial whose like has never run; early stopping decides."""


@dataclass(frozen=True)
class Cost:
    """Of one trial, as measured: seconds to build and per epoch with its validation, and peak memory."""

    build: float
    epoch: float
    memory_mb: float


def dry_run(
    models: Sequence[str],
    datasets: Sequence[str],
    overrides: Mapping[str, Any] | None,
    use_grid: bool,
    origin: str,
    how: How,
    recipe: Layer | None = None,
) -> list[str]:
    """The lines to be printed. Nothing is written but demo data and kNN graphs. Raises UserError."""
    loaded = Datasets()
    plan = make_plan(models, datasets, overrides, use_grid, origin, recipe)
    check(plan, loaded)
    lines: list[str] = []
    seconds = 0.0
    unknown = 0
    memory: list[float] = []
    for config, source in zip(plan, make_sources(plan, loaded, how), strict=True):
        jobs = _jobs(config, source)
        states = {job.key: _state(job) for job in jobs}
        states |= {job.key: "to do" for job in jobs if how.force}
        lines += ["", _headline(config, source, Counter(states.values()))]
        lines += [f"  {states[job.key]:10} {report.assignments(job.point) or 'its settings'}" for job in jobs]
        left = [job for job in jobs if states[job.key] not in ("finished", "failed")]
        if not left:
            continue
        n_left = min(len(left), source.left)
        if not n_left:
            lines.append("  the search has run as many as it was asked for")
            continue
        cost = _measure_one(left)
        if isinstance(cost, str):
            unknown += n_left
            lines.append(f"  no estimate: {cost}")
            continue
        epochs, why = _epochs(left[0])
        seconds += n_left * (cost.build + epochs * cost.epoch)
        memory.append(cost.memory_mb)
        lines.append(
            f"  estimate   {n_left} to run: build {cost.build:.1f} s, {cost.epoch:.2f} s per epoch with validation, "
            f"{epochs:.0f} epochs ({why}), {report.duration(cost.build + epochs * cost.epoch)} each; "
            f"peak memory {cost.memory_mb:,.0f} MB"
        )
    return [*lines, "", _total(seconds, memory, unknown, how)]


def _measure_one(jobs: Sequence[Job]) -> Cost | str:
    """The cost of the first of the jobs that can be built, of a few; why the first cannot where none can."""
    costs: list[Cost | str] = []
    for job in jobs[:TRIED]:
        costs.append(measure(job.config))
        if isinstance(costs[-1], Cost):
            return costs[-1]
    return costs[0]


def measure(config: Config) -> Cost | str:
    """The cost of a trial, from a few batches in a process of its own; a text where it could not be measured."""
    context = multiprocessing.get_context("spawn")
    with ProcessPool(1, initializer=start_worker, initargs=(os.getpid(),), context=context) as pool:
        try:
            return pool.schedule(_measure, args=(config,)).result()
        except ProcessExpired as error:
            return f"the process ended with exit code {error.exitcode}, as when memory runs out"
        except Exception as error:  # whatever would end the trial too
            return " ".join(str(error).split())


def _measure(config: Config) -> Cost:
    with threads(config["threads"]):
        dataset = Datasets().get(config)
        started = time.perf_counter()
        model, batches = build(config, dataset)
        evaluator, trainer = Evaluator(config, dataset), Trainer(config, model)
        built = time.perf_counter() - started

        def begin_epoch(n_batches: int) -> None:
            model.pre_epoch_processing()
            model.train()
            trainer.train_on(islice(iter(batches), n_batches), 1)

        begin_epoch(WARM_UP)
        first = _time(lambda: begin_epoch(1))  # drawing the epoch's batches and graphs is part of it
        more = _time(lambda: begin_epoch(1 + MEASURED)) - first
        validation = _time(lambda: evaluator.validate(model))
        return Cost(built, first + (len(batches) - 1) * max(more, 0) / MEASURED + validation, peak_mb())


def _time(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _jobs(config: Config, source: Source) -> list[Job]:
    """All jobs of a grid, or those that a search might choose from."""
    return list(source) if isinstance(source, Grid) else [source.make_job(point) for point in config.points()]


def _state(job: Job) -> str:
    """In a word or two."""
    known = job.store.find(job.key)
    if isinstance(known, TrialResult):
        return "finished"
    if isinstance(known, Failure):
        return "failed" if known.final else known.kind
    return "under way" if job.store.has_checkpoints(job.key) else "to do"


def _headline(config: Config, source: Source, states: Counter[str]) -> str:
    counts = ", ".join(f"{number} {state}" for state, number in states.items())
    search = "" if isinstance(source, Grid) else f"a search of {source.total} among "
    return f"{config['model']} on {config['dataset']}: {search}{sum(states.values())} trials, {counts}"


def _epochs(job: Job) -> tuple[float, str]:
    """How many epochs a trial like this takes, and where that is known from."""
    known = job.store.trials([job.key.dataset], [job.key.model])
    if known:
        return fmean(len(trial.result.history) for trial in known), "mean of the finished ones"
    most = job.config["epochs"]
    return min(
        ASSUMED_EPOCHS, most
    ), "assumed; early stopping decides" if most > ASSUMED_EPOCHS else "at most"


def _total(seconds: float, memory: Sequence[float], unknown: int, how: How) -> str:
    if not memory:
        return f"{unknown} to run, of which no cost is known" if unknown else "nothing is left to run"
    each = f"{max(memory):,.0f} MB"
    if how.ray is not None:
        return f"in all about {report.duration(seconds)} of one trial after the other, {each} for each"
    workers = f"{how.workers} workers" if how.workers > 1 else "1 worker"
    return (
        f"in all about {report.duration(seconds / how.workers)} with {workers} on {os.cpu_count()} cores, "
        f"up to {how.workers * max(memory):,.0f} MB"
    )
