"""The whole of it on `demo`: two workers, interrupted, resumed, a leaderboard at the end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import killing

from utils.cli import main
from utils.experiments.store import Store

ROOT = Path(__file__).resolve().parents[3]


def test_three_models_two_seeds_two_points_interrupted_and_resumed(tmp_path, capsys):
    places = [f"{name}_path={tmp_path / name}" for name in ("data", "runs", "cache")]
    command = [
        sys.executable, str(ROOT / "main.py"), "-m", "BPR", "LightGCN", "TMFUN", "-d", "demo", "--workers", "2",
        "seed=[1,2]", "learning_rate=[0.01,0.001]", "epochs=4", "embedding_size=16", *places,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("[ 3/12]"):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped; the same command goes on from here" in errors, errors
    assert "Traceback" not in errors
    store = Store(tmp_path / "runs")
    finished = {trial.result.trial for trial in store.trials()}
    assert 3 <= len(finished) < 12 and not store.failures()

    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.count("finished before") == len(finished)
    assert len(store.trials()) == 12
    whole = [word.replace(str(tmp_path / "runs"), str(tmp_path / "whole")) for word in command]
    subprocess.run(whole, check=True, capture_output=True)
    assert killing.content(tmp_path / "runs") == killing.content(tmp_path / "whole")

    assert main(["leaderboard", "-d", "demo", *places[:2], "--html", str(tmp_path / "page.html")]) == 0
    table = capsys.readouterr().out
    for model in ("BPR", "LightGCN", "TMFUN"):
        assert re.search(rf"^{model} .*±", table, re.MULTILINE), table
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
