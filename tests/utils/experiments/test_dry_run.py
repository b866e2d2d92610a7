"""What a dry run says: every trial and its state, an estimate, and that nothing has been written."""

from __future__ import annotations

import pytest

from utils.cli import main
from utils.experiments.dry_run import dry_run
from utils.experiments.sweep import How, run_all

QUICK = {"epochs": 4, "embedding_size": 8, "train_batch_size": 64, "topk": [5, 20]}


def lines(places, models=("BPR",), how=None, **settings) -> list[str]:
    return dry_run(list(models), ["tiny"], QUICK | places | settings, False, "command line", how or How())


def test_states_and_an_estimate_from_measured_batches(places, tmp_path):
    places = places | {"runs_path": str(tmp_path / "runs")}
    run_all(["BPR"], ["tiny"], QUICK | places | {"seed": 1})
    found = lines(places, seed=[1, 2, 3])
    assert "BPR on tiny: 3 trials, 1 finished, 2 to do" in found
    assert [line.split()[0] for line in found if "seed=" in line] == ["finished", "to", "to"]
    (estimate,) = [line for line in found if line.startswith("  estimate")]
    assert "2 to run" in estimate and "4 epochs (mean of the finished ones)" in estimate and "MB" in estimate
    assert found[-1].startswith("in all about") and "with 1 worker on" in found[-1]


def test_nothing_is_written_and_nothing_left_is_said(places, tmp_path):
    places = places | {"runs_path": str(tmp_path / "runs")}
    lines(places, models=("BPR", "TMFUN"), seed=[1, 2])
    assert not (tmp_path / "runs").exists()
    run_all(["BPR"], ["tiny"], QUICK | places)
    assert lines(places)[-1] == "nothing is left to run"


def test_an_epoch_takes_about_what_it_takes(places, tmp_path):
    """A model whose every batch sleeps: the estimate is the number of batches times that."""
    from utils.config import Config
    from utils.experiments import dry_run as module

    config = Config("LATTICE", "tiny", QUICK | places)
    with pytest.MonkeyPatch.context() as patch:
        import time

        from models.lattice import LATTICE

        original = LATTICE.calculate_loss
        patch.setattr(LATTICE, "calculate_loss", lambda *a: time.sleep(0.05) or original(*a))
        cost = module._measure(config)
    assert 6 * 0.05 < cost.epoch < 6 * 0.05 + 0.5 and cost.memory_mb > 100


def test_a_search_is_announced_as_such(places):
    pytest.importorskip("optuna", reason="the extra [search] is not installed")
    found = lines(
        places, how=How(search="random", trials=3), learning_rate=[0.1, 0.01], reg_weight=[0.0, 0.1, 0.2]
    )
    assert "BPR on tiny: a search of 3 among 6 trials, 6 to do" in found
    assert any("3 to run" in line for line in found)


def test_a_trial_that_cannot_be_built_has_no_estimate(places):
    found = lines(places, models=("TMFUN",), n_heads=[3, 5])
    assert any("no estimate: TMFUN on tiny: n_heads 3 does not divide" in line for line in found)
    assert found[-1] == "2 to run, of which no cost is known"
    found = lines(places, models=("TMFUN",), n_heads=[3, 2])
    assert any("2 to run" in line for line in found) and found[-1].startswith("in all about")


def test_what_force_and_a_finished_search_leave_to_do(places, tmp_path):
    pytest.importorskip("optuna", reason="the extra [search] is not installed")
    places = places | {"runs_path": str(tmp_path / "runs")}
    grid, how = {"learning_rate": [0.1, 0.01], "reg_weight": [0.0, 0.1]}, How(search="random", trials=2)
    run_all(["BPR"], ["tiny"], QUICK | places | grid, how=how)
    found = lines(places, how=how, **grid)
    assert (
        "  the search has run as many as it was asked for" in found and found[-1] == "nothing is left to run"
    )
    more = lines(places, how=How(search="random", trials=3), **grid)
    assert any("1 to run" in line for line in more)
    forced = lines(places, how=How(force=True), learning_rate=[0.1, 0.01], reg_weight=[0.0, 0.1])
    assert "BPR on tiny: 4 trials, 4 to do" in forced


def test_on_the_command_line(places, capsys):
    words = [f"{name}={value}" for name, value in (QUICK | places).items()]
    assert main(["-m", "BPR", "-d", "tiny", "--dry-run", "--workers", "2", *words]) == 0
    assert "with 2 workers" in capsys.readouterr().out
