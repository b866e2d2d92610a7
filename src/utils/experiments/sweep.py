"""Sweeps: every model on every data set at every point of its grid; the winner is chosen on validation."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol

from common.memory import keep_freed_memory
from common.registry import check_pairing, get_model, label
from utils.config import Config
from utils.config.config import find_models_dir
from utils.config.layers import Layer
from utils.config.settings import studied, study_in
from utils.errors import UserError
from utils.evaluation.ranking import check_cutoffs
from utils.experiments import report
from utils.experiments.choosing import choose
from utils.experiments.executors import Executor, InProcess, Workers
from utils.experiments.identity import trial_id
from utils.experiments.jobs import Datasets, Job, Outcome
from utils.experiments.progress import Progress
from utils.experiments.store import Failure, Key, TrialResult

log = logging.getLogger("benchmark")

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class How:
    """How trials are run; no result depends on it."""

    workers: int = 1
    ray: str | None = None
    """Address of a Ray cluster to run on."""
    force: bool = False
    """Run finished trials again."""
    search: str | None = None
    """'random' or 'tpe': `trials` points of the grid instead of all."""
    trials: int | None = None
    prune: bool = True


@dataclass
class Sweep:
    """All trials of one model on one data set."""

    model: str
    dataset: str
    valid_metric: str
    trials: list[TrialResult] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    def groups(self) -> list[list[TrialResult]]:
        """The trials that differ in their seed alone, together."""
        groups: dict[str, list[TrialResult]] = {}
        for trial in self.trials:
            point = {name: value for name, value in trial.point.items() if name != "seed"}
            groups.setdefault(repr(point), []).append(trial)
        return list(groups.values())

    @property
    def best(self) -> list[TrialResult]:
        """The trials, one per seed, of the setting that validation chooses; the test has no say.

        Those on the content as it is, if there are any: how it is changed is no choice. None where all failed.
        """
        groups = self.groups()
        groups = [group for group in groups if not study_in(group[0].point)] or groups
        return (
            groups[choose([[t.valid[self.valid_metric] for t in group] for group in groups])]
            if groups
            else []
        )

    def by_study(self) -> list[Sweep]:
        """One for each way in which the content was changed, named after it."""
        parts: dict[str, Sweep] = {}
        for one in [*self.trials, *self.failed]:
            name = studied(self.model, one.point)
            part = parts.setdefault(name, Sweep(name, self.dataset, self.valid_metric))
            (part.trials if isinstance(one, TrialResult) else part.failed).append(one)
        return list(parts.values()) or [self]


class Source(Protocol):
    """Jobs of one model on one data set, in their order, that is told how they end."""

    total: int
    left: int
    """Of them those that it has not asked for, by what is known of earlier runs."""

    def __iter__(self) -> Iterator[Job]: ...

    def done(self, job: Job, outcome: Outcome) -> None: ...


class Grid:
    """Every point of a configuration."""

    def __init__(self, jobs: Sequence[Job]):
        self.jobs = jobs
        self.total = self.left = len(jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    def done(self, job: Job, outcome: Outcome) -> None:
        """Nothing depends on it."""


def run_all(
    models: Sequence[str],
    datasets: Sequence[str],
    overrides: Mapping[str, Any] | None = None,
    use_grid: bool = False,
    origin: str = "command line",
    how: How | None = None,
    recipe: Layer | None = None,
) -> list[Sweep]:
    """Run every pair, checked before any training starts; what is finished is not run again.

    `overrides` come from `origin` and go before the settings of a `recipe`.

    A trial that fails is recorded and the sweep goes on; a single trial's fault is raised. Raises UserError for
    what is wrong with the settings, the data or a pairing, StorageError where results cannot be kept.
    """
    how = how or How()
    report.log_to_terminal()
    keep_freed_memory()
    loaded = Datasets()
    plan = make_plan(models, datasets, overrides, use_grid, origin, recipe)
    check(plan, loaded)
    sources = make_sources(plan, loaded, how)
    sweeps = [Sweep(c["model"], c["dataset"], c["valid_metric"].lower()) for c in plan]
    total = sum(source.total for source in sources)
    with _executor(how, loaded, plan) as executor, Progress(total, executor) as progress:
        if not isinstance(executor, InProcess):  # where each trial says so
            for line in _warnings(plan, loaded):
                log.info(line)
        _run(sources, sweeps, executor, progress)
    if total > 1:
        for line in report.tables(sweeps):
            log.info(line)
    elif sweeps[0].failed and sweeps[0].failed[0].kind == "setting":
        raise UserError(sweeps[0].failed[0].message)
    return sweeps


def _warnings(plan: Sequence[Config], loaded: Datasets) -> list[str]:
    """What is known of the settings and the data before a trial begins, each once."""
    said = [
        f"{config['dataset']}: warning: {warning}"
        for config in plan
        for at_point in map(config.at, config.points())
        for warning in [*config.warnings, *loaded.get(at_point).warnings]
    ]
    return list(dict.fromkeys(said))


def make_plan(
    models: Sequence[str],
    datasets: Sequence[str],
    overrides: Mapping[str, Any] | None,
    use_grid: bool,
    origin: str,
    recipe: Layer | None = None,
) -> list[Config]:
    """The configuration of every pair. Raises UserError."""
    plan = []
    for dataset in datasets:
        models_dir = find_models_dir(dataset, overrides or {}, origin, recipe)
        for model in models:
            settings = get_model(model, models_dir).settings
            plan.append(
                Config(
                    label(model, models_dir),
                    dataset,
                    overrides,
                    origin,
                    model_settings=settings,
                    use_grid=use_grid,
                    recipe=recipe,
                )
            )
    return plan


def check(plan: Sequence[Config], loaded: Datasets) -> None:
    """Raises UserError for whatever would fail after training has begun."""
    for config in plan:
        for point in config.points():
            at_point = config.at(point)
            dataset = loaded.get(at_point)
            check_cutoffs(at_point["topk"], dataset.n_items)
            check_pairing(at_point["model"], at_point, dataset)


def make_sources(plan: Sequence[Config], loaded: Datasets, how: How) -> list[Source]:
    """The jobs of every configuration."""
    several = how.search or sum(len(config.points()) for config in plan) > 1
    for config in plan:
        if several and config["threads"] is None:
            config["threads"] = 1  # the same bits however many trials run side by side
    return [_source(config, loaded, how) for config in plan]


def _source(config: Config, loaded: Datasets, how: How) -> Source:
    def job(point: dict[str, Any]) -> Job:
        at_point = config.at(point)
        key = Key(config["dataset"], config["model"], trial_id(at_point, loaded.get(at_point)))
        return Job(at_point, point, key, how.force)

    if how.search is None:
        return Grid([job(point) for point in config.points()])
    from utils.experiments.search import Search  # with optuna, an extra

    return Search(config, how.search, how.trials, job, how.prune)


def _executor(how: How, loaded: Datasets, plan: Sequence[Config]) -> Executor:
    if how.ray is not None:
        from utils.experiments.cluster import Cluster  # with ray, an extra

        return Cluster(how.ray, plan[0].path("runs_path"))
    return Workers(how.workers) if how.workers > 1 else InProcess(loaded)


def _run(sources: Sequence[Source], sweeps: Sequence[Sweep], executor: Executor, progress: Progress) -> None:
    """Keep the executor busy until every job has ended, here or in another process."""
    owners: dict[Key, tuple[Source, Sweep]] = {}
    queue = _jobs(sources, sweeps, owners)
    elsewhere: deque[Job] = deque()
    running = 0
    while True:
        while running < executor.slots and (job := next(queue, None)):
            known = job.store.find(job.key)
            if job.is_done(known):
                _finish(job, known, owners, progress, new=False)
            else:
                progress.begins(job)
                executor.submit(job)
                running += 1
        if running:
            job, outcome = executor.next()
            running -= 1
            if outcome is None:
                elsewhere.append(job)
            else:
                _finish(job, outcome, owners, progress)
        elif elsewhere:
            progress.waits(elsewhere)
            time.sleep(POLL_SECONDS)
            queue = chain(list(elsewhere), queue)
            elsewhere.clear()
        else:
            break
    order = {key: place for place, key in enumerate(owners)}
    for sweep in sweeps:  # as planned, not as they ended
        sweep.trials.sort(key=lambda trial: order[trial.key])
        sweep.failed.sort(key=lambda failure: order[failure.key])


def _jobs(
    sources: Sequence[Source], sweeps: Sequence[Sweep], owners: dict[Key, tuple[Source, Sweep]]
) -> Iterator[Job]:
    for source, sweep in zip(sources, sweeps, strict=True):
        for job in source:
            owners[job.key] = source, sweep
            yield job


def _finish(
    job: Job,
    outcome: Outcome,
    owners: Mapping[Key, tuple[Source, Sweep]],
    progress: Progress,
    new: bool = True,
) -> None:
    source, sweep = owners[job.key]
    if isinstance(outcome, TrialResult):
        outcome.point = job.point  # the same trial may have been a point of another sweep
        sweep.trials.append(outcome)
    else:
        sweep.failed.append(outcome)
    source.done(job, outcome)
    progress.ends(job, outcome, new)
