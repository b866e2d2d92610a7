"""Sweeps: several processes, several commands on one store, trials that fail in every way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import killing
import pytest
import torch

from models.bpr import BPR
from utils.cli import main
from utils.errors import UserError
from utils.experiments.store import FAILURE, Failure, Key, Store, TrialResult
from utils.experiments.sweep import How, run_all
from utils.quick_start import quick_start

ROOT = Path(__file__).resolve().parents[3]
QUICK = {"epochs": 3, "embedding_size": 8, "train_batch_size": 128, "topk": [5, 20]}


def words(settings) -> list[str]:
    return [f"{name}={value}".replace("'", "") for name, value in settings.items()]


def program(*arguments: str, **settings) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "main.py"), *arguments, *words(settings)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_one_worker_and_several_give_the_same_bits(places, tmp_path):
    """Threads are the default: a sweep gives each trial one, whatever the number of workers."""
    settings = QUICK | places | {"seed": [1, 2], "learning_rate": [0.01, 0.001]}
    torch.set_num_threads(2)
    try:
        for workers in (1, 2):
            sweeps = run_all(
                ["TMFUN", "BM3"],
                ["tiny"],
                settings | {"runs_path": str(tmp_path / str(workers))},
                how=How(workers),
            )
            assert [len(sweep.trials) for sweep in sweeps] == [4, 4]
            assert [t.point["seed"] for t in sweeps[0].trials] == [1, 1, 2, 2], "in the order of the plan"
            assert {t.environment["torch_threads"] for sweep in sweeps for t in sweep.trials} == {"1"}
    finally:
        torch.set_num_threads(1)
    one, two = killing.content(tmp_path / "1"), killing.content(tmp_path / "2")
    assert len(one) == 8 * 4 and one == two


def test_a_sweep_that_grows_runs_only_what_is_new(places, tmp_path, logged):
    settings = QUICK | places | {"runs_path": str(tmp_path)}
    run_all(["BPR"], ["tiny"], settings | {"seed": [1, 2]})
    del logged[:]
    (sweep,) = run_all(["BPR"], ["tiny"], settings | {"seed": [1, 2, 3]})
    assert len(sweep.trials) == 3
    assert sum("finished before" in line for line in logged) == 2
    assert sum(line.startswith("epoch    1") for line in logged) == 1


def test_two_commands_on_one_store_run_no_trial_twice(places, tmp_path):
    settings = QUICK | places | {"runs_path": str(tmp_path), "epochs": 60, "seed": "[1,2,3,4]"}
    both = [program("-m", "BPR", "LightGCN", "-d", "tiny", **settings) for _ in range(2)]
    ends = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    logs = [path.read_text() for path in tmp_path.glob("tiny/*/*/log.txt")]
    assert len(logs) == 8
    assert all(log.count("epoch    1 ") == 1 for log in logs)
    tables = [out[out.index("tiny: test metrics") :].splitlines() for out, _ in ends]
    assert [line.split()[:4] for line in tables[0]] == [line.split()[:4] for line in tables[1]]


def wait_for(condition, seconds: float = 60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]


@pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="finds the worker processes through Linux's /proc"
)
def test_a_worker_that_is_killed_costs_its_trial_alone_and_the_next_command_ends_it(places, tmp_path):
    settings = QUICK | places | {"runs_path": str(tmp_path / "runs"), "epochs": 150, "stopping_step": 200}
    settings["seed"] = "[1,2,3,4]"
    process = program("-m", "BPR", "-d", "tiny", "--workers", "2", **settings)
    wait_for(lambda: list((tmp_path / "runs").glob("tiny/BPR/.*/checkpoint-*")))
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    store = Store(tmp_path / "runs")
    failure = store.failures()[0].failure
    assert len(store.failures()) == 1
    assert failure.kind == "died" and "the same command tries it again" in failure.message
    assert len(store.trials()) == 3 and out.count("BPR failed at seed=") == 1
    (sweep,) = run_all(["BPR"], ["tiny"], settings | {"seed": [1, 2, 3, 4]})
    assert len(sweep.trials) == 4 and not store.failures()
    whole = settings | {"seed": [1, 2, 3, 4], "runs_path": str(tmp_path / "whole")}
    run_all(["BPR"], ["tiny"], whole)
    assert killing.content(tmp_path / "runs") == killing.content(tmp_path / "whole")


@pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="finds the worker processes through Linux's /proc"
)
def test_workers_do_not_outlive_a_program_that_is_killed(places, tmp_path):
    settings = QUICK | places | {"runs_path": str(tmp_path), "epochs": 100_000, "stopping_step": 100_000}
    process = program("-m", "BPR", "-d", "tiny", "--workers", "2", seed="[1,2]", **settings)
    wait_for(lambda: list(tmp_path.glob("tiny/BPR/.*/checkpoint-*")))
    workers = workers_of(process.pid)
    process.kill()
    process.communicate()
    assert workers
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 20)


FAULTS = {
    "out of memory": lambda: MemoryError("no room for the graph"),
    "error": lambda: KeyError("weights"),
    "diverged": None,
}


@pytest.mark.parametrize("kind", [*FAULTS, "torch out of memory"])
def test_whatever_a_trial_raises_is_recorded_and_the_sweep_goes_on(places, tmp_path, monkeypatch, kind):
    original = BPR.calculate_loss

    def fail_for_seed_1(self, interaction):
        if self.generator.initial_seed() != 1:
            return original(self, interaction)
        if kind == "diverged":
            return original(self, interaction) * float("nan")
        if kind == "torch out of memory":
            return torch.empty(2**60)
        raise FAULTS[kind]()

    monkeypatch.setattr(BPR, "calculate_loss", fail_for_seed_1)
    settings = QUICK | places | {"runs_path": str(tmp_path), "seed": [1, 2]}
    (sweep,) = run_all(["BPR"], ["tiny"], settings)
    (failure,) = sweep.failed
    assert len(sweep.trials) == 1 and failure.kind == kind.removeprefix("torch ")
    folder = Store(tmp_path).folder(failure.key)
    assert sorted(path.name for path in folder.iterdir()) == [FAILURE, "log.txt", "settings.yaml"]
    assert Store(tmp_path).find(failure.key) == failure
    assert ("Traceback" in failure.traceback) == (kind != "diverged")

    monkeypatch.setattr(BPR, "calculate_loss", original)
    (sweep,) = run_all(["BPR"], ["tiny"], settings)
    if kind == "diverged":
        assert len(sweep.trials) == 1, "it would diverge again"
    else:
        assert len(sweep.trials) == 2 and not Store(tmp_path).failures()


def test_settings_that_cannot_work_fail_in_a_sweep_and_are_an_error_alone(places, tmp_path):
    settings = QUICK | places | {"runs_path": str(tmp_path)}
    (sweep,) = run_all(["TMFUN"], ["tiny"], settings | {"n_heads": [2, 3]})
    assert len(sweep.trials) == 1 and "n_heads 3 does not divide" in sweep.failed[0].message
    with pytest.raises(UserError, match="n_heads 3 does not divide"):
        run_all(["TMFUN"], ["tiny"], settings | {"n_heads": 3})
    assert not Store(tmp_path).failures()
    assert not list(tmp_path.glob("tiny/TMFUN/.*"))


def test_no_optuna_and_no_ray_say_what_to_install(places, monkeypatch, capsys):
    for module, option in (("optuna", ["--search", "tpe", "--trials", "2"]), ("ray", ["--ray", "auto"])):
        monkeypatch.setitem(sys.modules, module, None)
        assert main(["-m", "BPR", "-d", "tiny", "--grid", *option, *words(QUICK | places)]) == 2
        error = capsys.readouterr().err
        assert (
            error.count("\n") == 1
            and f"package {module}" in error
            and f"[{'search' if module == 'optuna' else 'ray'}]" in error
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--search tpe", "belong together"),
        ("--trials 3", "belong together"),
        ("--no-pruning", "belongs to --search"),
        ("--workers 0", "'0' is no number from 1"),
        ("--workers 2 --ray auto", "keep one"),
        ("--search best --trials 2", "invalid choice: 'best'"),
    ],
)
def test_options_that_do_not_go_together(places, tmp_path, capsys, options, message):
    line = [
        "-m",
        "BPR",
        "-d",
        "tiny",
        *options.split(),
        *words(QUICK | places | {"runs_path": tmp_path / "r"}),
    ]
    assert main(line) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error and not (tmp_path / "r").exists()


def test_a_store_of_a_newer_version_is_left_alone(places, tmp_path, capsys):
    settings = QUICK | places | {"runs_path": str(tmp_path)}
    (trial,) = run_all(["BPR"], ["tiny"], settings)[0].trials
    path = Path(trial.folder) / "metrics.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    before = path.read_bytes()
    for command in (["-m", "BPR", "-d", "tiny"], ["leaderboard"]):
        extra = words(settings if command[0] == "-m" else {"runs_path": tmp_path})
        assert main([*command, *extra]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "newer version (format 99" in error and path.read_bytes() == before


def test_finding_reads_what_saving_wrote(tmp_path, places):
    (trial,) = run_all(["BPR"], ["tiny"], QUICK | places | {"runs_path": str(tmp_path)})[0].trials
    store = Store(tmp_path)
    assert store.find(trial.key) == trial and isinstance(trial, TrialResult)
    assert store.find(Key("tiny", "BPR", "none")) is None
    (stored,) = store.trials(["tiny"], ["BPR"])
    users, values = stored.per_user()
    assert {name: float(v.mean()) for name, v in values.items()} == trial.test
    assert (users == stored.lists().users).all() and stored.settings["epochs"] == 3
    assert store.trials(["other"]) == [] and store.trials(None, ["TMFUN"]) == []


def test_quick_start_takes_workers(places, tmp_path):
    settings = QUICK | places | {"runs_path": str(tmp_path), "seed": [1, 2]}
    assert len(quick_start("BPR", "tiny", settings, workers=2).trials) == 2


def test_a_failure_never_replaces_a_result(tmp_path, places):
    settings = QUICK | places | {"runs_path": str(tmp_path)}
    (trial,) = run_all(["BPR"], ["tiny"], settings)[0].trials
    failure = Failure("BPR", "tiny", trial.trial, {}, "error", "later")
    Store(tmp_path).save_failure(None, failure)
    Store(tmp_path).adopt(failure, {FAILURE: b"{}"})
    assert Store(tmp_path).find(trial.key) == trial
