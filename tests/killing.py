"""Runs that are killed: in processes forked from a clean server, so that each starts within milliseconds."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["utils.experiments.sweep", "killing", "torch._dynamo"]
)  # the last for optimisers


def run(models: list[str], settings: dict[str, Any], how: dict[str, Any] | None = None) -> None:
    """In a process of its own: `run_all` on the data set tiny, its lines to nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    torch.set_num_threads(1)
    from utils.experiments.sweep import How, run_all

    run_all(models, ["tiny"], settings, how=How(**(how or {})))


def start(models: list[str], settings: dict[str, Any], **how: Any) -> Any:
    start_server()
    process = SERVER.Process(target=run, args=(models, settings, how))
    process.start()
    return process


@cache
def start_server() -> None:
    """Python up to 3.12 does not hand its path on to the server, and the server then preloads nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()


def kill_after(process: Any, seconds: float) -> bool:
    """Whether the process was still at work and is now dead."""
    process.join(seconds)
    if process.exitcode is None:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def content(root: Path) -> dict[str, Any]:
    """Everything that a store's finished trials found, as bytes and numbers, without times."""
    found: dict[str, Any] = {}
    for path in sorted(root.glob("[!.]*/[!.]*/[!.]*/*")):
        name = str(path.relative_to(root))
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                found[name] = {key: arrays[key].tobytes() for key in arrays.files}
        elif path.suffix == ".pt":
            found[name] = _as_bytes(torch.load(path, weights_only=True))
        elif path.name == "metrics.json":
            metrics = json.loads(path.read_text())
            epochs = [(e["epoch"], e["loss"], e["valid"], e["best"]) for e in metrics["history"]]
            found[name] = [metrics[key] for key in ("best_epoch", "valid", "test", "point")] + epochs
    return found


def _as_bytes(value: Any) -> Any:
    """Whatever a file of tensors holds, to be compared."""
    if isinstance(value, torch.Tensor):
        return value.to_dense().numpy().tobytes()
    if isinstance(value, dict):
        return {key: _as_bytes(one) for key, one in value.items()}
    return [_as_bytes(one) for one in value] if isinstance(value, list) else value
