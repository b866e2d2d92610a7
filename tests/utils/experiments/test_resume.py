"""Whatever ends a run, the same command goes on, and what comes out is what an undisturbed run gives, bit for bit."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import killing
import numpy as np
import pytest

from common.registry import list_models
from utils.experiments.store import Store
from utils.experiments.sweep import How, run_all

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = {
    "epochs": 30, "embedding_size": 8, "train_batch_size": 32, "topk": [5, 20], "learning_rate": 0.01,
    "learning_rate_scheduler": [0.9, 3], "stopping_step": 40, "threads": 1, "checkpoint_share": 1.0,
}  # fmt: skip
KILLS = 3  # of each model


@pytest.mark.parametrize(
    ("model", "zero_grad"), [*((model, "none") for model in list_models()), ("LATTICE", "zeros")]
)
def test_killed_at_random_points(model, zero_grad, places, tmp_path):
    settings = SETTINGS | places | {"zero_grad": zero_grad}
    killing.start(
        ["BPR"], settings | {"epochs": 1, "runs_path": str(tmp_path / "first")}
    ).join()  # starts the server
    started = time.monotonic()
    killing.start([model], settings | {"runs_path": str(tmp_path / "whole")}).join()
    took = time.monotonic() - started
    rng = np.random.default_rng()
    killed = 0
    disturbed = settings | {"runs_path": str(tmp_path / "killed")}
    for _ in range(10 * KILLS):
        if killed == KILLS:
            break
        if killing.kill_after(killing.start([model], disturbed), rng.uniform(0.02, 0.4 * took)):
            killed += 1
        else:  # it was done before: once more from the beginning
            killed = 0
            shutil.rmtree(tmp_path / "killed")
    assert killed == KILLS
    assert killing.start([model], disturbed).join() is None
    whole, disturbed = killing.content(tmp_path / "whole"), killing.content(tmp_path / "killed")
    assert len(whole) == 4 and disturbed == whole
    assert not list((tmp_path / "killed" / "tiny" / model).glob(".*")), "something is left under way"


def test_stopped_after_the_last_epoch(places, tmp_path, monkeypatch):
    """The test set is still to be ranked: nothing is trained again."""
    settings = SETTINGS | places | {"runs_path": str(tmp_path)}
    from utils.evaluation.ranking import Evaluator

    whole = run_all(["LATTICE"], ["tiny"], settings | {"runs_path": str(tmp_path / "whole")})
    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "test", lambda *arguments: sys.exit("killed"))
        with pytest.raises(SystemExit):
            run_all(["LATTICE"], ["tiny"], settings)
    calls = []
    validate = Evaluator.validate
    monkeypatch.setattr(Evaluator, "validate", lambda *a: calls.append(1) or validate(*a))
    assert run_all(["LATTICE"], ["tiny"], settings)[0].trials[0].test == whole[0].trials[0].test
    assert not calls


def test_a_file_that_cannot_be_read_for_a_while_costs_no_epoch(places, tmp_path, monkeypatch):
    from utils.data.modalities import Modality
    from utils.errors import UserError
    from utils.evaluation.ranking import Evaluator

    settings = SETTINGS | places | {"runs_path": str(tmp_path), "epochs": 6}
    calls, validate = [], Evaluator.validate
    with monkeypatch.context() as patch:
        patch.setattr(
            Evaluator,
            "validate",
            lambda *a: calls.append(1) or (sys.exit() if len(calls) == 4 else validate(*a)),
        )
        with pytest.raises(SystemExit):
            run_all(["VBPR"], ["tiny"], settings)
    with monkeypatch.context() as patch:
        patch.setattr(
            Modality, "features", lambda *a, **k: (_ for _ in ()).throw(UserError("the disk is away"))
        )
        with pytest.raises(UserError, match="the disk is away"):
            run_all(["VBPR"], ["tiny"], settings)
    calls.clear()
    monkeypatch.setattr(Evaluator, "validate", lambda *a: calls.append(1) or validate(*a))
    assert len(run_all(["VBPR"], ["tiny"], settings)[0].trials) == 1 and len(calls) == 3


@pytest.mark.parametrize("step", [4, None])
def test_checkpoints_may_be_rare_or_none(places, tmp_path, step):
    settings = SETTINGS | places | {"runs_path": str(tmp_path), "checkpoint_step": step, "epochs": 6}
    from utils.experiments.checkpoints import CheckpointFolder

    saved = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointFolder, "save", lambda self, epoch, state: saved.append(epoch))
        run_all(["BPR"], ["tiny"], settings)
    assert saved == ([4, 6] if step else [])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_program_is_told_to_stop(places, tmp_path, number, status):
    settings = SETTINGS | places | {"runs_path": str(tmp_path / "runs"), "epochs": 100_000}
    words = [f"{name}={value}" for name, value in (settings | {"stopping_step": 100_000}).items()]
    command = [sys.executable, str(ROOT / "main.py"), "-m", "BPR", "-d", "tiny", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("epoch    3"):
            break
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == status and errors.endswith("the same command goes on from here\n")
    assert errors.count("\n") == 1
    assert list((tmp_path / "runs").glob("tiny/BPR/.*/checkpoint-*.pt"))


def _group(leader: int) -> list[int]:
    """Processes of a group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):
            found += [int(folder.name)] * (os.getpgid(int(folder.name)) == leader)
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_told_to_stop_while_its_workers_start(places, tmp_path):
    """A terminal tells all processes of a command; the workers are importing torch then."""
    settings = SETTINGS | places | {"runs_path": str(tmp_path / "runs"), "epochs": 100_000, "seed": [1, 2]}
    words = [f"{name}={value}" for name, value in settings.items()]
    command = [sys.executable, str(ROOT / "main.py"), "-m", "BPR", "-d", "tiny", "--workers", "2", *words]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while len(_group(process.pid)) < 4:  # the program, its resource tracker and two workers
        time.sleep(0.05)
        assert process.poll() is None
    time.sleep(0.7)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors == "stopped; the same command goes on from here\n"


def test_a_full_disk_keeps_what_is_finished(places, tmp_path):
    """A real limit of the system: files may not grow beyond some kilobytes."""
    settings = SETTINGS | places | {"runs_path": str(tmp_path / "runs"), "epochs": 2}
    (finished,) = run_all(["BPR"], ["tiny"], settings)[0].trials
    words = [f"{name}={value}" for name, value in (settings | {"seed": [999, 5]}).items()]

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    command = [sys.executable, str(ROOT / "main.py"), "-m", "BPR", "-d", "tiny", *words]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "cannot write a checkpoint to" in done.stderr and "free space there" in done.stderr
    assert Store(tmp_path / "runs").find(finished.key).test == finished.test
    assert len(run_all(["BPR"], ["tiny"], settings | {"seed": [999, 5]})[0].trials) == 2


def test_a_folder_that_was_being_replaced_comes_back(places, tmp_path):
    settings = SETTINGS | places | {"runs_path": str(tmp_path), "epochs": 2}
    (trial,) = run_all(["BPR"], ["tiny"], settings)[0].trials
    store, folder = Store(tmp_path), Path(trial.folder)
    os.rename(folder, folder.with_name(f".{trial.trial}.abc.tmp-old"))
    (folder.with_name(f".{trial.trial}.def.tmp")).mkdir()
    with store.claim(trial.key) as claimed:
        assert claimed and store.find(trial.key).test == trial.test
    assert [path.name for path in folder.parent.iterdir()] == [trial.trial]


def test_force_runs_a_finished_trial_again(places, tmp_path, logged):
    settings = SETTINGS | places | {"runs_path": str(tmp_path), "epochs": 2}
    first = run_all(["BPR"], ["tiny"], settings)[0].trials[0]
    again = run_all(["BPR"], ["tiny"], settings)[0].trials[0]
    assert again.environment == first.environment and any("is finished already" in line for line in logged)
    del logged[:]
    forced = run_all(["BPR"], ["tiny"], settings, how=How(force=True))[0].trials[0]
    assert forced.test == first.test and any(line.startswith("epoch    1") for line in logged)
