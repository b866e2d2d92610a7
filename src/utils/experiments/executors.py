"""Where jobs are run: in this process, or side by side in processes of this machine. A cluster: cluster.py."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from abc import abstractmethod
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager

from pebble import ProcessExpired, ProcessPool

from common.memory import keep_freed_memory
from utils.experiments.jobs import Datasets, Job, Outcome, run_job
from utils.experiments.store import Failure

log = logging.getLogger("benchmark")

PARENT_CHECK_SECONDS = 1.0


class Executor(AbstractContextManager):
    """Takes jobs and gives them back with their outcomes, in the order in which they end; stops them on leaving."""

    slots: int = 1
    """Jobs that run at the same time."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Take a job; returns at once."""

    @abstractmethod
    def next(self) -> tuple[Job, Outcome]:
        """Wait for one of the submitted jobs to end. Raises StorageError."""


class InProcess(Executor):
    """One job after the other, here."""

    def __init__(self, datasets: Datasets):
        self._datasets, self._waiting = datasets, deque[Job]()

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def next(self) -> tuple[Job, Outcome]:
        job = self._waiting.popleft()
        return job, run_job(job, self._datasets)

    def __exit__(self, *error: object) -> None:
        """Nothing runs here but within `next`."""


class Workers(Executor):
    """`slots` processes on this machine. One that is killed costs its job alone, and another takes its place."""

    def __init__(self, slots: int):
        self.slots = slots
        self._running: dict[Future, Job] = {}
        self._pool = ProcessPool(
            max_workers=slots,
            initializer=start_worker,
            initargs=(os.getpid(),),
            context=multiprocessing.get_context("spawn"),  # a fork would share torch's threads and locks
        )

    def submit(self, job: Job) -> None:
        self._running[self._pool.schedule(_work, args=(job,))] = job

    def next(self) -> tuple[Job, Outcome]:
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        future = done.pop()
        job = self._running.pop(future)
        try:
            return job, future.result()
        except ProcessExpired as error:
            return job, died(job, f"the process ended with exit code {error.exitcode}")

    def __exit__(self, kind: type | None, *error: object) -> None:
        if kind is None:
            self._pool.close()
        else:
            self._pool.stop()
        self._pool.join()


def died(job: Job, how: str) -> Failure:
    """Record a trial whose process is gone without a word."""
    message = f"{how}, as when the system kills it for want of memory; the same command tries it again"
    return job.store.save_failure(job.config, Failure(*_names(job), job.point, "died", message))


def _names(job: Job) -> tuple[str, str, str]:
    return job.key.model, job.key.dataset, job.key.trial


def start_worker(parent: int) -> None:
    """Prepare a worker process: it does not outlive the process that started it."""
    start_remote()
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def start_remote() -> None:
    """Prepare a process that runs trials for another one: its log goes to their files alone."""
    logging.getLogger("benchmark").setLevel(logging.INFO)
    logging.getLogger("benchmark").propagate = False
    keep_freed_memory()


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)


_datasets = Datasets()


def _work(job: Job) -> Outcome:
    return run_job(job, _datasets)
