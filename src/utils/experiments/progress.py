"""What a sweep tells of itself: a line as each trial ends, and a bar at the bottom of a terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Collection
from contextlib import AbstractContextManager

from tqdm import tqdm

from utils.experiments import report
from utils.experiments.executors import Executor, InProcess
from utils.experiments.jobs import Job, Outcome
from utils.experiments.store import FAILURE, Key, TrialResult

log = logging.getLogger("benchmark")


class Progress(AbstractContextManager):
    """Of `total` trials: how many have ended, the best validation so far, the time left.

    Trials that run in this process print their own lines, so that here only a headline and a line follow each.
    """

    def __init__(self, total: int, executor: Executor):
        self.total, self._here = total, isinstance(executor, InProcess)
        self._started = time.monotonic()
        self._ended = self._new = 0
        self._best: dict[tuple[str, str], float] = {}
        self._told_waiting = False
        self._announced: set[Key] = set()
        if not self._here:
            at_once = min(executor.slots, total)
            trials = "1 trial" if total == 1 else f"{total} trials"
            log.info(f"{trials}, {at_once} at a time; their logs: log.txt in each trial's folder")
        show = not self._here and sys.stderr.isatty()
        self._bar = tqdm(total=total, unit="trial", leave=False, disable=not show)

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def begins(self, job: Job) -> None:
        """A trial is about to run; one that another process has is tried again and again, and told of once."""
        if self._here and job.key not in self._announced:
            log.info(report.trial_line(job.config, job.point, self._ended + 1, self.total))
        self._announced.add(job.key)

    def waits(self, jobs: Collection[Job]) -> None:
        """Nothing is left but what other processes run."""
        if not self._told_waiting:
            self._told_waiting = True
            log.info(f"waiting for {len(jobs)} trials that another process runs on this store")

    def ends(self, job: Job, outcome: Outcome, new: bool) -> None:
        """A trial has ended; `new` if it has run now."""
        self._ended += 1
        self._new += new
        if self.total == 1:
            self._end_of_a_single_one(job, outcome, new)
            return
        log.info(
            f"{self._place()} {report.outcome_line(job, outcome, new, self._is_best(job, outcome))}{self._left()}"
        )
        self._bar.set_postfix_str(self._best_so_far(), refresh=False)
        self._bar.update()

    def _end_of_a_single_one(self, job: Job, outcome: Outcome, new: bool) -> None:
        folder = job.store.folder(job.key)
        if not isinstance(outcome, TrialResult):
            log.error(f"failed: {outcome.message}")
            if outcome.traceback:
                log.error(f"traceback  {folder / FAILURE}")
            return
        if not new:
            log.info(
                f"{job.config['model']} on {job.config['dataset']} is finished already; --force runs it again"
            )
        if not (new and self._here):  # which printed it as it ended
            for line in report.last_block(job.config, outcome, folder):
                log.info(line)

    def _place(self) -> str:
        return f"[{self._ended:{len(str(self.total))}}/{self.total}]"

    def _is_best(self, job: Job, outcome: Outcome) -> bool:
        """Whether its validation is the best so far of its model and data set; remembered."""
        if not isinstance(outcome, TrialResult):
            return False
        owner = job.key[:2]
        value = outcome.valid[job.config["valid_metric"].lower()]
        better = value > self._best.get(owner, float("-inf"))
        if better:
            self._best[owner] = value
        return better

    def _best_so_far(self) -> str:
        """Of every model and data set, for the bar."""
        return ", ".join(f"{model} on {data} {best:.4f}" for (data, model), best in self._best.items())

    def _left(self) -> str:
        left = self.total - self._ended
        if not (left and self._new):
            return ""
        seconds = (time.monotonic() - self._started) / self._new * left
        return f"; {left} left, about {report.duration(seconds)}"
