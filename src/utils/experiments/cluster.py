"""Trials on a Ray cluster (extra `[ray]`). Ray schedules them and starts those of a dead node again elsewhere."""

from __future__ import annotations

import dataclasses
import re
import secrets
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from utils.config import SRC
from utils.config.settings import FOLDERS
from utils.errors import UserError
from utils.experiments.executors import Executor, died, start_remote
from utils.experiments.identity import trial_id
from utils.experiments.jobs import Datasets, Job, Outcome, run_job
from utils.experiments.store import Store

CONNECT_SECONDS = 10.0
RETRIES = 10
"""Starts of a trial after the first one whose node or process died."""


class Cluster(Executor):
    """Jobs as Ray tasks, their files brought back to the store here.

    `address` is what `ray.init` takes: host:port, 'auto' for the cluster this machine is part of, or 'local'. The
    nodes need this checkout, its requirements and the data at the same paths, as on a shared disk; a node where
    code or data differ is an error. Where they see `runs_path` too, a trial that is started again goes on after
    its last checkpoint.
    """

    def __init__(self, address: str, runs_path: Path):
        self._ray = _ray()
        _check_reachable(address)
        self._running: dict[Any, tuple[Job, ExitStack]] = {}
        self._waiting: list[tuple[Job, Outcome]] = []
        runs_path.mkdir(parents=True, exist_ok=True)
        self._marker = runs_path.resolve() / f".ray-{secrets.token_hex(8)}"
        self._marker.touch()
        try:
            self._ray.init(
                address=address,
                runtime_env={"env_vars": {"PYTHONPATH": str(SRC)}},
                log_to_driver=False,
                logging_level="error",
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            self._marker.unlink()
            raise _no_cluster(address, error) from error
        self._remote = self._ray.remote(_run_there)

    @property
    def slots(self) -> int:  # asked anew each time, since nodes come and go
        resources = self._ray.cluster_resources()
        jobs = [job for job, _ in self._running.values()] or [None]
        cpus, gpus = _needs(jobs[0])
        fits = [resources.get(name, 0) // needed for name, needed in (("CPU", cpus), ("GPU", gpus)) if needed]
        return max(1, int(min(fits, default=1)))

    def submit(self, job: Job) -> None:
        with ExitStack() as stack:
            if not stack.enter_context(job.store.claim(job.key)):
                self._waiting.append((job, None))
                return
            known = job.store.find(job.key)
            if job.is_done(known):
                self._waiting.append((job, known))
                return
            if job.force:
                job.store.forget_progress(job.key)
            cpus, gpus = _needs(job)
            task = self._remote.options(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)
            self._running[task.remote(_portable(job), self._marker)] = job, stack.pop_all()

    def next(self) -> tuple[Job, Outcome]:
        if self._waiting:
            return self._waiting.pop()
        (done,), _ = self._ray.wait(list(self._running), num_returns=1)
        job, claim = self._running.pop(done)
        with claim:
            try:
                outcome, files = self._ray.get(done)
                return job, job.store.adopt(outcome, files)
            except self._ray.exceptions.RayTaskError as error:
                raise UserError(
                    f"a node of the cluster cannot run trials: {_line(error.cause or error)}"
                ) from error
            except self._ray.exceptions.RayError as error:
                return job, died(job, f"its node or process died {RETRIES + 1} times ({_line(error)})")

    def __exit__(self, *error: object) -> None:
        for task, (_, claim) in self._running.items():
            self._ray.cancel(task, force=True)
            claim.close()
        self._ray.shutdown()
        self._marker.unlink(missing_ok=True)


def _run_there(job: Job, marker: Path) -> tuple[Outcome, dict[str, bytes]]:
    """On a node: run the job in a store of its own; its outcome, and the files of its folder by name, if any."""
    start_remote()
    datasets = Datasets()
    if trial_id(job.config, datasets.get(job.config)) != job.key.trial:
        raise UserError(
            f"its code below {SRC} or its data below {job.config['data_path']} differ from those of the machine "
            f"that started the sweep; make them the same"
        )
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), work_root=marker.parent if marker.exists() else None)
        outcome = run_job(job, datasets, store)
        return outcome, {path.name: path.read_bytes() for path in store.folder(job.key).glob("*")}


def _portable(job: Job) -> Job:
    """The job with paths that mean the same on every node."""
    config = job.config.at({})
    for name in FOLDERS - {"runs_path"}:
        if job.config[name] is not None:
            config[name] = str(job.config.path(name).resolve())
    return dataclasses.replace(job, config=config, force=False)


def _needs(job: Job | None) -> tuple[float, float]:
    return (job.config["ray_cpus"], job.config["ray_gpus"]) if job else (1.0, 0.0)


def _check_reachable(address: str) -> None:
    """Raises UserError where nothing listens; Ray itself would try for minutes."""
    match = re.fullmatch(r"(?:ray://)?(.+):([0-9]+)", address)
    if match:
        try:
            socket.create_connection((match[1], int(match[2])), CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> UserError:
    return UserError(
        f"no Ray cluster at {address}: {_line(error)}; start one with `ray start --head`, or give --ray host:port, "
        f"auto or local"
    )


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _ray():
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "--ray needs the package ray, which is not installed; pip install 'ray>=2.40' (extra [ray])"
        ) from error
    return ray
