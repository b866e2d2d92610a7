"""Which trial is the best one, and loading it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from trained import QUICK, best, edit_metrics, load

from utils.experiments.store import Store
from utils.experiments.sweep import run_all
from utils.recommending.loading import best_trial


def test_validation_chooses_the_settings_by_their_mean_and_the_seed_by_itself(places):
    values = {(0.1, 1): 0.5, (0.1, 2): 0.4, (0.01, 1): 0.7, (0.01, 2): 0.1}
    for stored in Store(Path(places["runs_path"])).trials(None, ["BPR"]):
        value = values[stored.settings["reg_weight"], stored.settings["seed"]]
        edit_metrics(stored, valid={"recall@20": value}, test={"recall@20": 1 - value})
    chosen = best(places, "BPR").settings
    assert (chosen["reg_weight"], chosen["seed"]) == (0.1, 1)


def test_how_content_is_changed_is_no_choice(data_path, tmp_path, fails):
    """Of trials that all changed it none is the model's; the test set would have to say which."""
    places = {"data_path": data_path, "runs_path": str(tmp_path), "cache_path": str(tmp_path / "cache")}
    run_all(["TMFUN"], ["tiny"], QUICK | places | {"modality_ablation": ["image", "text"]})
    fails(best, "changed the content of its items (TMFUN (modality_ablation=image), TMFUN", places, "TMFUN")


@pytest.mark.parametrize("what", ["code", "data"])
def test_trials_of_older_code_or_other_data_are_not_chosen(places, what):
    older, *_ = Store(Path(places["runs_path"])).trials(None, ["BPR"])
    edit_metrics(older, valid={"recall@20": 1.0}, environment={what: "0", "date": "2001-01-01 00:00:00"})
    assert best(places, "BPR").folder != older.folder


def test_an_empty_store_and_a_missing_trial_say_what_there_is(places, tmp_path, fails):
    train = "train one with: python main.py -m TMFUN -d tiny"
    fails(best, "has none; " + train, places | {"runs_path": str(tmp_path / "nothing")})
    store = Store(Path(places["runs_path"]))
    fails(best_trial, "no finished trial of VBPR on tiny", store, "tiny", "VBPR")
    fails(best_trial, "which has BPR on tiny, TMFUN on tiny; train one with", store, "tiny", "VBPR")
    fails(best_trial, "did you mean 'tiny'?", store, "tinny", "TMFUN")


def test_what_the_trial_fixes_cannot_be_overridden(trained, fails):
    fails(load, "embedding_size is fixed by the trial in", trained, embedding_size=16)
    fails(load, "did you mean 'data_path'?", trained, datapath="x")


def test_the_data_may_lie_elsewhere_if_it_is_the_same(trained, tmp_path, monkeypatch, fails):
    shutil.copytree(Path(trained["data_path"]) / "tiny", tmp_path / "elsewhere" / "tiny")
    monkeypatch.chdir(tmp_path)
    assert load(trained, data_path="elsewhere").config.path("data_path") == tmp_path / "elsewhere"
    with open(tmp_path / "elsewhere" / "tiny" / "tiny.inter", "a") as file:
        file.write("0\t39\t0\n")
    fails(load, "are not those that", trained, data_path="elsewhere")
