"""Search of a grid's space by Optuna (extra `[search]`): at random or by TPE, hopeless trials pruned.

Every setting is an axis of the grid; the seed is none, for seeds are repetitions: a point runs with each of
them and counts as the mean of their best validation metrics. The journal of the search lies in the store, so
the same command goes on where it was stopped.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from math import prod
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from common.trainer import Epoch
from utils.config import Config
from utils.errors import UserError
from utils.experiments.jobs import Job, Outcome, Pruned
from utils.experiments.store import TrialResult

SAMPLERS = ("random", "tpe")
TRIES = 20
"""Suggestions of TPE that are known already before a new point is drawn at random."""

FIRST_UNPRUNED, FIRST_EPOCHS, PATIENCE = 5, 10, 5
"""Trials that run to their end, and epochs of each that pass, before any is pruned; and validations after a trial's
best in which it may be, for what starts slowly is behind the others while it rises (`benchmarks/pruning.py`)."""


@dataclass(frozen=True)
class Reporter:
    """Tells a search's journal of every validation, from whatever process the trial runs in, and prunes."""

    journal: Path
    study: str
    number: int
    metric: str

    def __call__(self, epoch: Epoch) -> None:
        """Raises Pruned where this trial rises no more and the earlier ones' median at this epoch is above its best."""
        if not epoch.valid or not self.journal.is_file():  # on a node that does not see it nothing is pruned
            return
        study = _open_study(self.journal, self.study)
        trial = _trial(study, study.get_trials(deepcopy=False)[self.number])
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # a trial that begins anew reports an epoch again: the first counts
            trial.report(epoch.valid[self.metric], epoch.epoch)
        if trial.should_prune():
            message = f"after epoch {epoch.epoch} it rises no more and the median of earlier trials is ahead"
            raise Pruned(message, epoch.valid)


@dataclass
class _Open:
    """A point under way: its trial of the study, whether that has ended before, and what its seeds have given."""

    trial: Any
    ended: bool
    missing: int
    values: list[float] = field(default_factory=list)


class Search:
    """The jobs of a search, each asked for when there is room for it, and their outcomes told to the study."""

    def __init__(
        self,
        config: Config,
        sampler: str,
        trials: int,
        make_job: Callable[[dict[str, Any]], Job],
        prune: bool = True,
    ):
        self._optuna = import_optuna()
        self._states = self._optuna.trial.TrialState
        self.make_job, self._prune = make_job, prune
        self._metric = config["valid_metric"].lower()
        self._seeds = config.axes.get("seed", [config["seed"]])
        self._axes = {name: _ordered(values) for name, values in config.axes.items() if name != "seed"}
        if not self._axes:
            raise UserError(
                f"--search needs settings with several values, and {config['model']} has none here; add --grid "
                f"for those of its YAML, or lists such as learning_rate=[0.001,0.0005]"
            )
        self.size = prod(map(len, self._axes.values()))
        self.trials = min(trials, self.size)
        self._sampler, self._seed = sampler, config["seed"]
        first = make_job(self._point({name: 0 for name in self._axes}, self._seeds[0]))
        self._name = self._identity(first)
        self._journal = first.store.folder(first.key).parent / f".search-{self._name}.log"
        self._lock = FileLock(self._journal.with_suffix(".lock"))
        self._anew = first.force
        self._open: dict[tuple, _Open] = {}
        self._handed_out = False

    @property
    def total(self) -> int:
        """Trials that it will ask for, a point's seeds counted each."""
        return self.trials * len(self._seeds)

    @property
    def left(self) -> int:
        """Of them those whose points no earlier run of this search has ended with."""
        if self._anew or not self._journal.is_file():
            return self.total
        trials = _open_study(self._journal, self._name).get_trials(deepcopy=False)
        ended = {
            self._indices(t.params)
            for t in trials
            if t.state.is_finished() and len(t.params) == len(self._axes)
        }
        return max(0, self.trials - len(ended)) * len(self._seeds)

    def __iter__(self) -> Iterator[Job]:
        """Raises UserError where another process is at the same search."""
        try:
            self._journal.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                f"another process runs this search ({self._journal}); wait for it, or search with another seed"
            ) from error
        if self._anew:
            self._journal.unlink(missing_ok=True)
        try:
            self._study = self._load()
            for trial in islice(self._earlier(), self.trials):
                yield from self._jobs(trial)
            while len(self._known()) < self.trials:
                yield from self._jobs(self._new_trial())
            self._handed_out = True
        finally:
            if not (self._handed_out and self._open):  # else the last of them to end releases it
                self._lock.release()

    def done(self, job: Job, outcome: Outcome) -> None:
        """Tell the study how a job ended."""
        key = self._point_key(job.point)
        point = self._open[key]
        point.missing -= 1
        if isinstance(outcome, TrialResult):
            point.values.append(outcome.valid[self._metric])
        if point.missing:
            return
        del self._open[key]
        if not point.ended:
            self._tell(point, outcome)
        if self._handed_out and not self._open:
            self._lock.release()

    def _tell(self, point: _Open, outcome: Outcome) -> None:
        if len(point.values) == len(self._seeds):
            self._study.tell(point.trial, fmean(point.values))
        else:
            pruned = not isinstance(outcome, TrialResult) and outcome.kind == "pruned"
            self._study.tell(point.trial, state=self._states.PRUNED if pruned else self._states.FAIL)

    def _earlier(self) -> Iterator[Any]:
        """The trials that earlier runs of this search left, each point once; the store knows how most of them ended."""
        seen = set()
        for trial in self._study.get_trials(deepcopy=False):
            if len(trial.params) == len(self._axes) and self._indices(trial.params) not in seen:
                seen.add(self._indices(trial.params))
                yield _trial(self._study, trial)

    def _jobs(self, trial: Any) -> Iterator[Job]:
        """A job for each seed at the point of a trial of the study."""
        jobs = [self.make_job(self._point(trial.params, seed)) for seed in self._seeds]
        frozen = self._study.get_trials(deepcopy=False)[trial.number]
        self._open[self._point_key(jobs[0].point)] = _Open(trial, frozen.state.is_finished(), len(jobs))
        for number, job in enumerate(jobs):
            prune = self._prune and number == 0 and len(self._seeds) == 1
            watch = Reporter(self._journal, self._name, trial.number, self._metric) if prune else None
            yield Job(job.config, job.point, job.key, job.force, watch)

    def _new_trial(self) -> Any:
        """A trial of the study at a point that none of its trials had."""
        known = self._known()
        for _ in range(TRIES if self._sampler == "tpe" else 0):
            trial = self._study.ask(self._distributions())
            if self._indices(trial.params) not in known:
                return trial
            self._study.tell(trial, state=self._states.FAIL)
        unseen = next(indices for indices in self._shuffled() if indices not in known)
        self._study.enqueue_trial(dict(zip(self._axes, unseen, strict=True)))
        return self._study.ask(self._distributions())

    def _known(self) -> set[tuple[int, ...]]:
        """The points that the study has, ended or under way."""
        trials = self._study.get_trials(deepcopy=False)
        return {self._indices(t.params) for t in trials if len(t.params) == len(self._axes)}

    def _shuffled(self) -> Iterator[tuple[int, ...]]:
        """Every point once, in an order that the seed decides."""
        shape = [len(values) for values in self._axes.values()]
        for flat in np.random.default_rng(self._seed).permutation(self.size):
            yield tuple(int(i) for i in np.unravel_index(flat, shape))

    def _distributions(self) -> dict[str, Any]:
        """Places on the axes: numbers by size, so that TPE may learn from neighbours; others without an order."""
        kinds = self._optuna.distributions
        return {
            name: kinds.IntDistribution(0, len(values) - 1)
            if _numbers(values)
            else kinds.CategoricalDistribution(list(range(len(values))))
            for name, values in self._axes.items()
        }

    def _indices(self, params: dict[str, int]) -> tuple[int, ...]:
        return tuple(params[name] for name in self._axes)

    def _point(self, indices: dict[str, int], seed: int) -> dict[str, Any]:
        point = {name: values[indices[name]] for name, values in self._axes.items()}
        return ({"seed": seed} if len(self._seeds) > 1 else {}) | point

    def _point_key(self, point: dict[str, Any]) -> tuple:
        return tuple(repr(point[name]) for name in self._axes)

    def _load(self) -> Any:
        """The study, as an earlier run of the same search has left it."""
        study = _open_study(self._journal, self._name)
        n_trials = len(study.get_trials(deepcopy=False))
        study.sampler = self._optuna.samplers.TPESampler(seed=self._seed + n_trials, constant_liar=True)
        return study

    def _identity(self, job: Job) -> str:
        """Of the search: the sampler, its space, its seeds, and all that makes a trial what it is."""
        parts = [self._sampler, self._prune, self._axes, self._seeds, job.key]
        return hashlib.blake2b(json.dumps(parts, default=str).encode(), digest_size=6).hexdigest()


def _ordered(values: list[Any]) -> list[Any]:
    return sorted(values) if _numbers(values) else values


def _numbers(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


@cache
def _open_study(journal: Path, name: str) -> Any:
    """The study of a search, made where there is none; one per process, as reading its journal takes time."""
    optuna = import_optuna()
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name=name,
        direction="maximize",
        pruner=make_pruner(),
        load_if_exists=True,
    )


def make_pruner() -> Any:
    """Ends a trial that has not risen for a while and whose best is below the median of the earlier ones by then."""
    optuna = import_optuna()
    median = optuna.pruners.MedianPruner(n_startup_trials=FIRST_UNPRUNED, n_warmup_steps=FIRST_EPOCHS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.pruners.PatientPruner(median, patience=PATIENCE)


def _trial(study: Any, frozen: Any) -> Any:
    """A trial of the study that can be told of values."""
    return import_optuna().trial.Trial(study, frozen._trial_id)


def import_optuna() -> Any:
    """Raises UserError where the extra is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            "--search needs the package optuna, which is not installed; pip install 'optuna>=4' (extra [search])"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
