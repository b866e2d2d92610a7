"""A Ray cluster of several nodes on this machine, of which one is killed in mid-sweep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import killing
import pytest

from utils.experiments.store import Store
from utils.experiments.sweep import run_all

pytest.importorskip("ray", reason="the extra [ray] is not installed")

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = {"embedding_size": 8, "train_batch_size": 64, "topk": [5, 20], "epochs": 40, "stopping_step": 100}


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs and two nodes that run one trial each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_health_check_initial_delay_ms", "500")
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("RAY_health_check_failure_threshold", "20")  # a busy machine is no dead node
        head = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        nodes = [head.add_node(num_cpus=1) for _ in range(2)]
        yield head, nodes
        head.shutdown()


def program(address: str, settings: dict[str, object]) -> subprocess.Popen:
    words = [f"{name}={value}" for name, value in settings.items()]
    command = [sys.executable, str(ROOT / "main.py"), "-m", "BPR", "LightGCN", "-d", "tiny", "--ray", address]
    return subprocess.Popen(command + words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_node_is_killed_in_mid_sweep_and_every_trial_ends_once(cluster, places, tmp_path):
    head, nodes = cluster
    settings = SETTINGS | places | {"runs_path": str(tmp_path / "ray"), "seed": [1, 2, 3]}
    process = program(head.address, settings)
    store = Store(tmp_path / "ray")
    end = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < end and not store.trials():
        time.sleep(0.1)
    assert process.poll() is None, process.communicate()
    head.remove_node(nodes[0], allow_graceful=False)
    head.add_node(num_cpus=1)
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 0, out + errors
    assert len(store.trials()) == 6 and not store.failures()
    assert sum(" in " in line and line.startswith("[") for line in out.splitlines()) == 6
    assert not [path for path in (tmp_path / "ray").glob(".ray-*")]

    run_all(["BPR", "LightGCN"], ["tiny"], settings | {"runs_path": str(tmp_path / "here")})
    assert killing.content(tmp_path / "ray") == killing.content(tmp_path / "here")


def test_no_cluster_at_the_address(places, tmp_path):
    process = program("127.0.0.1:1", SETTINGS | places | {"runs_path": str(tmp_path), "seed": 1})
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2 and errors.count("\n") == 1, errors
    assert "no Ray cluster at 127.0.0.1:1" in errors and "ray start --head" in errors


def test_a_trial_that_kills_its_process_is_recorded(cluster, places, tmp_path, monkeypatch):
    """As the system does where memory runs out: tried again, then recorded as dead."""
    from utils.config import Config
    from utils.experiments import cluster as module
    from utils.experiments.jobs import Job
    from utils.experiments.store import Key

    def kill_itself(job, marker):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(module, "RETRIES", 1)
    monkeypatch.setattr(module, "_run_there", kill_itself)
    config = Config("BPR", "tiny", SETTINGS | places | {"runs_path": str(tmp_path)})
    with module.Cluster(cluster[0].address, tmp_path) as executor:
        executor.submit(Job(config, {}, Key("tiny", "BPR", "abc")))
        job, failure = executor.next()
    assert failure.kind == "died" and Store(tmp_path).find(job.key) == failure


def test_settings_that_cannot_work_fail_there_and_the_others_go_on(cluster, places, tmp_path):
    from utils.experiments.sweep import How

    settings = SETTINGS | places | {"runs_path": str(tmp_path), "epochs": 2, "n_heads": [3, 2]}
    (sweep,) = run_all(["TMFUN"], ["tiny"], settings, how=How(ray=cluster[0].address))
    assert len(sweep.trials) == 1 and "n_heads 3 does not divide" in sweep.failed[0].message
    assert not Store(tmp_path).failures()
