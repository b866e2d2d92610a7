"""The store of a command line, and the data of a finished trial."""

from __future__ import annotations

import pytest
from boards import Lab, board

from utils.config import PROJECT
from utils.experiments.reopening import open_store, reopen


@pytest.fixture
def run(tmp_path):
    lab = Lab(tmp_path)
    lab.data_set("tiny")
    lab.trial("BPR")
    return board(lab).first_run


def test_a_store_given_counts_from_here_and_the_default_from_the_project(tmp_path, monkeypatch, fails):
    monkeypatch.chdir(tmp_path)
    assert open_store({"runs_path": "there"}).root == tmp_path / "there"
    assert open_store({}).root == PROJECT / "runs"
    fails(open_store, "runs_path expects a text, got 5 (command line)", {"runs_path": 5})


def test_a_trial_has_its_settings_and_its_data(run):
    config, dataset = reopen(run.trial, {})
    assert config["embedding_size"] == run.settings["embedding_size"] and dataset.name == "tiny"
    assert reopen(run.trial, {"eval_batch_size": 7})[0]["eval_batch_size"] == 7


def test_other_data_or_no_folder_is_an_error(run, tmp_path, fails):
    fails(reopen, "data_path expects a text, got 5 (command line)", run.trial, {"data_path": 5})
    fails(reopen, str(tmp_path / "none"), run.trial, {"data_path": tmp_path / "none"})
    other = Lab(tmp_path / "other")
    other.data_set("tiny", seed=9)
    fails(reopen, f"are not those that {run.trial.folder} ran on", run.trial, {"data_path": other.data})
