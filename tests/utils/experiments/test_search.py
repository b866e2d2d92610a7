"""Search: points of the grid, none twice, the journal kept, hopeless trials pruned by validation."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from models.bpr import BPR
from utils.cli import main
from utils.errors import UserError
from utils.evaluation.ranking import Evaluator
from utils.experiments import search
from utils.experiments.jobs import Datasets, run_job
from utils.experiments.store import Store
from utils.experiments.sweep import How, make_plan, make_sources, run_all

pytest.importorskip("optuna", reason="the extra [search] is not installed")

GRID = {"learning_rate": [0.1, 0.01, 0.001], "reg_weight": [0.0, 0.1], "learner": ["adam", "sgd"]}
QUICK = {"epochs": 2, "embedding_size": 8, "train_batch_size": 128, "topk": [5, 20]}


@pytest.fixture
def settings(places, tmp_path):
    return QUICK | places | GRID | {"runs_path": str(tmp_path)}


def points(sweep) -> list[str]:
    return [repr(trial.point) for trial in sweep.trials]


@pytest.mark.parametrize("sampler", search.SAMPLERS)
def test_points_of_the_grid_none_twice(settings, sampler):
    (sweep,) = run_all(["BPR"], ["tiny"], settings, how=How(search=sampler, trials=8))
    assert len(set(points(sweep))) == 8
    for trial in sweep.trials:
        assert all(trial.point[name] in values for name, values in GRID.items())


@pytest.mark.parametrize("sampler", search.SAMPLERS)
def test_more_trials_than_points_are_the_whole_grid(settings, sampler):
    (sweep,) = run_all(["BPR"], ["tiny"], settings, how=How(search=sampler, trials=100))
    assert len(set(points(sweep))) == 12 == len(sweep.trials)


@pytest.mark.parametrize("sampler", search.SAMPLERS)
def test_an_interrupted_search_goes_on(settings, tmp_path, monkeypatch, sampler):
    calls = []
    original = Evaluator.test

    def stop_at_the_third(*arguments):
        calls.append(1)
        return sys.exit("killed") if len(calls) == 3 else original(*arguments)

    monkeypatch.setattr(Evaluator, "test", stop_at_the_third)
    how = How(search=sampler, trials=6)
    with pytest.raises(SystemExit):
        run_all(["BPR"], ["tiny"], settings, how=how)
    first = {trial.result.trial for trial in Store(tmp_path).trials()}
    assert len(first) == 2
    run_all(["BPR"], ["tiny"], settings, how=how)
    trials = {trial.result.trial for trial in Store(tmp_path).trials()}
    assert len(trials) == 6 and first < trials and len(calls) == 7
    (sweep,) = run_all(["BPR"], ["tiny"], settings, how=how)
    assert len(calls) == 7, "a finished search runs nothing"
    assert {trial.trial for trial in sweep.trials} == trials


def test_a_random_search_does_not_depend_on_the_number_of_workers(settings, tmp_path):
    found = []
    for workers in (1, 2):
        where = {"runs_path": str(tmp_path / str(workers))}
        (sweep,) = run_all(["BPR"], ["tiny"], settings | where, how=How(workers, search="random", trials=4))
        found.append([(t.trial, t.test) for t in sweep.trials])
    assert found[0] == found[1] and len(found[0]) == 4


def test_seeds_are_repetitions_of_a_point(settings, tmp_path):
    (sweep,) = run_all(["BPR"], ["tiny"], settings | {"seed": [1, 2]}, how=How(search="tpe", trials=3))
    assert len(sweep.trials) == 6 and [len(group) for group in sweep.groups()] == [2, 2, 2]
    (journal,) = tmp_path.glob("tiny/BPR/.search-*.log")
    study = search._open_study(journal, journal.stem.removeprefix(".search-"))
    means = [sum(t.valid["recall@20"] for t in group) / 2 for group in sweep.groups()]
    assert sorted(trial.value for trial in study.trials if trial.value is not None) == pytest.approx(
        sorted(means)
    )


def test_hopeless_trials_are_pruned_by_validation_and_reported(settings, tmp_path, monkeypatch, logged):
    monkeypatch.setattr(search, "FIRST_UNPRUNED", 2)
    monkeypatch.setattr(search, "FIRST_EPOCHS", 3)
    monkeypatch.setattr(search, "PATIENCE", 1)
    original = Evaluator.validate
    falling, rising = [0.2, 0.1, 0.1, 0.1, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.9]
    curves = iter([[0.5] * 6, [0.6] * 6, falling, rising])

    def known(self, model):
        if not hasattr(model, "told"):
            model.told = iter(next(curves))
        told = next(model.told)
        return {name: value * 0 + told for name, value in original(self, model).items()}

    monkeypatch.setattr(Evaluator, "validate", known)
    quick = settings | {"epochs": 6, "valid_metric_decimals": None}
    (sweep,) = run_all(["BPR"], ["tiny"], quick, how=How(search="random", trials=4))
    (failure,) = sweep.failed
    assert failure.kind == "pruned" and failure.valid["recall@20"] == pytest.approx(0.1)
    assert "after epoch 3" in failure.message and len(sweep.trials) == 3
    assert max(t.valid["recall@20"] for t in sweep.trials) == pytest.approx(0.9), "it was behind, and rose"
    assert any(line.startswith("BPR pruned at") for line in logged)
    assert not any("Traceback" in line for line in logged)

    (again,) = run_all(["BPR"], ["tiny"], quick, how=How(search="random", trials=4))
    assert len(again.trials) == 3 and again.failed == sweep.failed

    monkeypatch.setattr(Evaluator, "validate", original)
    where = quick | {name: [value] for name, value in failure.point.items()}
    assert run_all(["BPR"], ["tiny"], where)[0].trials, "a grid runs it to its end"


def test_no_pruning(settings, monkeypatch):
    monkeypatch.setattr(search, "FIRST_UNPRUNED", 1)
    monkeypatch.setattr(search, "FIRST_EPOCHS", 0)
    (sweep,) = run_all(["BPR"], ["tiny"], settings, how=How(search="random", trials=6, prune=False))
    assert len(sweep.trials) == 6 and not sweep.failed


def test_a_trial_that_fails_is_told_to_the_study_and_others_go_on(settings, monkeypatch):
    original = BPR.calculate_loss
    monkeypatch.setattr(
        BPR,
        "calculate_loss",
        lambda self, batch: original(self, batch) * (1 if self.reg_weight else float("nan")),
    )
    (sweep,) = run_all(["BPR"], ["tiny"], settings, how=How(search="random", trials=12))
    assert len(sweep.trials) == 6 and {failure.kind for failure in sweep.failed} == {"diverged"}


def test_a_search_without_a_space_is_an_error(places, capsys):
    words = [f"{name}={value}" for name, value in (QUICK | places).items()]
    assert main(["-m", "BPR", "-d", "tiny", "--search", "tpe", "--trials", "3", *words]) == 2
    assert "add --grid" in capsys.readouterr().err


def test_a_search_is_taken_until_its_last_trial_has_ended(settings):
    """With several workers all points are asked for before the last ones end."""
    loaded, how = Datasets(), How(search="random", trials=2)
    first, second = (
        make_sources(make_plan(["BPR"], ["tiny"], settings, False, "test"), loaded, how)[0] for _ in range(2)
    )
    jobs = list(first)
    outcomes = [run_job(job, loaded) for job in jobs]
    first.done(jobs[0], outcomes[0])
    with pytest.raises(UserError, match="another process runs this search"):
        next(iter(second))
    first.done(jobs[1], outcomes[1])
    assert len(list(second)) == 2


def test_fewer_trials_than_a_search_has_had(settings):
    run_all(["BPR"], ["tiny"], settings, how=How(search="random", trials=4))
    (sweep,) = run_all(["BPR"], ["tiny"], settings, how=How(search="random", trials=2))
    assert len(sweep.trials) == 2


def test_two_processes_at_one_search(settings, tmp_path):
    run_all(["BPR"], ["tiny"], settings, how=How(search="random", trials=1))
    (lock,) = Path(tmp_path).glob("tiny/BPR/.search-*.lock")
    from filelock import FileLock

    with FileLock(lock), pytest.raises(UserError, match="another process runs this search"):
        run_all(["BPR"], ["tiny"], settings, how=How(search="random", trials=1))
