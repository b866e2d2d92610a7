"""Models of others, from a run to what is done with its results: the contract of MMRec's model files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killing import SERVER, content, start_server

from common.registry import describe_models, get_model, list_models
from utils.cli import main
from utils.errors import UserError
from utils.evaluation.ranking import Evaluator
from utils.experiments import identity
from utils.experiments.building import build
from utils.experiments.dry_run import _measure, dry_run
from utils.experiments.identity import code_digest
from utils.experiments.jobs import Datasets, run_job
from utils.experiments.store import Store
from utils.experiments.sweep import How, make_plan, make_sources, run_all
from utils.leaderboard.selection import leaderboard
from utils.recommending.loading import best_trial, load_trial

MODELS_DIR = Path(__file__).parent / "models_dir"


def module(name: str) -> dict[str, Any]:
    """The names of a model's file as it was imported."""
    return get_model(name, MODELS_DIR).__mro__[1].calculate_loss.__globals__


def run(name: str, settings: dict[str, Any], **more: Any):
    return run_all([name], ["tiny"], settings | more)[0]


def test_every_corner_of_the_contract(settings):
    data = Path(settings["data_path"]) / "tiny"
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    sweep = run("Everything", settings)
    assert [trial.point for trial in sweep.trials] == [{"reg": 1e-5}, {"reg": 1e-2}], sweep.failed
    assert [e["note"] for e in sweep.trials[0].history] == ["epoch 1 of theirs", "epoch 2 of theirs"]
    assert sweep.trials[0].history[0]["loss"] > sweep.trials[0].history[1]["loss"]
    assert {path.name: path.read_bytes() for path in data.iterdir()} == before
    folders = [Path(folder) for folder in module("Everything")["SEEN"][-2:]]
    assert len(set(folders)) == 2 and not any(folder.parent.exists() for folder in folders)


@pytest.mark.parametrize(
    ("flags", "shape", "n_batches"),
    [
        ({}, (3, 50), 8),
        ({"use_neg_sampling": False}, (2, 50), 8),
        ({"use_neighborhood_loss": True}, (5, 50), 8),
        ({"use_full_sampling": True}, (50,), 2),
    ],
)
def test_the_shape_of_a_batch_follows_the_flags(settings, flags, shape, n_batches):
    shapes = module("Shapes")["SHAPES"]
    del shapes[:]
    run("Shapes", settings, epochs=1, **flags)
    assert shapes[0] == shape and len(shapes) == n_batches


def test_flags_that_a_model_of_ours_cannot_serve_are_refused(settings):
    with pytest.raises(UserError, match="BPR does not learn from the batches of use_full_sampling"):
        run("BPR", settings | {"models_dir": None}, use_full_sampling=True)


CACHED = {"epochs": 6, "stopping_step": 6, "valid_metric_decimals": None}


def test_the_test_score_is_that_of_the_model_as_it_was_at_the_best_epoch(settings, monkeypatch):
    """Ranked at every best epoch too, in secret: the last of these scores is the one that is kept."""
    at_best, evaluate = [], Evaluator.validate

    def validate(self, model):
        found = evaluate(self, model)
        at_best.append((found["recall@20"].mean(), self.test(model, 20)[1]))
        return found

    monkeypatch.setattr(Evaluator, "validate", validate)
    (trial,) = run("Cached", settings, **CACHED).trials
    assert 1 <= trial.best_epoch < 6
    value, lists = at_best[trial.best_epoch - 1]
    assert value == trial.valid["recall@20"] == max(value for value, _ in at_best)
    with np.load(Path(trial.folder) / "topk.npz") as kept:
        assert (kept["scores"][:, :20] == lists.scores).all() and (kept["items"][:, :20] == lists.items).all()


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_reopened_trial_recommends_what_was_tested(settings, noise):
    """Also of a model that draws while it scores."""
    (trial,) = run("Cached", settings, noise=noise, **CACHED).trials
    stored = best_trial(Store(Path(settings["runs_path"])), "tiny", "Cached")
    assert (stored.folder / "attributes.pt").is_file()
    with pytest.raises(UserError, match=f"is a model of {MODELS_DIR}; add --models-dir"):
        load_trial(stored)
    config, dataset, model, _ = load_trial(stored, {"models_dir": str(MODELS_DIR)})
    per_user, lists = Evaluator(config, dataset).test(model, 50)
    assert {name: float(values.mean()) for name, values in per_user.items()} == trial.test
    with np.load(Path(trial.folder) / "topk.npz") as kept:
        assert (kept["scores"] == lists.scores).all()


def test_workers_give_the_same(settings, tmp_path):
    grid = settings | {"learning_rate": [0.05, 0.01], "hyper_parameters": ["learning_rate"]}
    run("Cached", grid)
    run_all(["Cached"], ["tiny"], grid | {"runs_path": str(tmp_path / "beside")}, how=How(workers=2))
    found = content(tmp_path / "beside")
    assert len(found) == 10 and found == content(tmp_path / "runs")


class Killed(BaseException):
    """In the middle of a training."""


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        ("Cached", {}),
        ("Everything", {"reg": 0.01}),
        ("Shapes", {"use_full_sampling": True}),
        ("Shapes", {"use_neighborhood_loss": True}),
    ],
)
def test_a_resumed_training_ends_as_one_that_never_stopped(settings, tmp_path, model, flags):
    settings = settings | flags | {"epochs": 4, "checkpoint_share": 1.0, "threads": 1}
    run(model, settings)
    for stop in (1, 3):
        loaded = Datasets()
        there = settings | {"runs_path": str(tmp_path / f"stopped-{stop}")}
        plan = make_plan([model], ["tiny"], there, False, "test")
        ((job,),) = make_sources(plan, loaded, How())

        def watch(epoch, stop=stop):
            if epoch.epoch == stop + 1:  # the checkpoint of the one before is there
                raise Killed

        with pytest.raises(Killed):
            run_job(type(job)(job.config, job.point, job.key, watch=watch), loaded)
        run(model, there)
        assert content(tmp_path / f"stopped-{stop}") == content(tmp_path / "runs")


def test_a_name_that_both_have_gives_two_rows(settings, logged):
    run("BPR", settings, models_dir=None)
    sweep = run("BPR", settings)
    assert sweep.model == "BPR (models_dir)" and "BPR (models_dir) on tiny" in "\n".join(logged)
    (board,) = leaderboard(Store(Path(settings["runs_path"])))
    assert {row.model for row in board.rows} == {"BPR", "BPR (models_dir)"}
    assert not any("unknown" in warning for warning in board.warnings)
    assert {"BPR", "BPR (models_dir)"} <= set(list_models(MODELS_DIR))
    loaded = load_trial(best_trial(Store(Path(settings["runs_path"])), "tiny", "BPR"))
    assert type(loaded.model).__module__ == "models.bpr"


def test_a_leaderboard_imports_nothing_of_others(settings, monkeypatch):
    run("Shapes", settings)
    monkeypatch.setattr("utils.foreign.loading.load", lambda *names: pytest.fail("imported"))
    (board,) = leaderboard(Store(Path(settings["runs_path"])))
    assert board.rows[0].chosen["epochs"] == 2 and not board.warnings


def test_what_a_file_imports_of_its_folder_makes_another_trial(settings, folder):
    text = (MODELS_DIR / "models" / "bpr.py").read_text().replace("class BPR", "class Mine")
    places = folder(Mine=text + "\n\ndef later():\n    from models import side\n    return side\n")
    side = places / "models" / "side.py"
    digests = []
    for content_of_side in ("x = 1\n", "x = 1  # the same\n", "x = 2\n"):
        side.write_text(content_of_side)
        code_digest.cache_clear()
        digests.append(code_digest("Mine", places))
    code_digest.cache_clear()
    assert digests[0] == digests[1] != digests[2]


def test_files_of_one_name_are_told_apart_whatever_the_order(settings, folder, monkeypatch):
    """Of sets of paths, whose order is another in every process."""
    text = (MODELS_DIR / "models" / "bpr.py").read_text().replace("class BPR", "class Mine")
    places = folder(Mine=text + "\n\ndef later():\n    import aa, bb\n    return aa, bb\n")
    for name, value in (("aa", 1), ("bb", 2)):
        (places / name).mkdir()
        (places / name / "__init__.py").write_text(f"x = {value}\n")
    reachable = identity._reachable
    digests = set()
    for order in (sorted, lambda paths: sorted(paths, reverse=True)):
        monkeypatch.setattr(identity, "_reachable", lambda *a, order=order: order(reachable(*a)))
        code_digest.cache_clear()
        digests.add(code_digest("Mine", places))
    code_digest.cache_clear()
    assert len(digests) == 1


def test_a_dry_run_and_the_list_of_models(settings, monkeypatch):
    monkeypatch.setattr("utils.experiments.dry_run.measure", _measure)  # here, not in a process of its own
    lines = "\n".join(dry_run(["Cached"], ["tiny"], settings, False, "command line", How()))
    assert "Cached on tiny" in lines and "estimate" in lines and "no estimate" not in lines
    described = {line[:16].strip(): line for line in describe_models(MODELS_DIR).splitlines()}
    assert (
        "raw features" in described["Cached"] and "what the last training batch left" in described["Cached"]
    )
    assert "a model of a name that this project has too" in described["BPR (models_dir)"]
    assert "ids only" in described["Shapes"] and {"BPR", "BPR (models_dir)"} < set(described)


def test_the_command_line_from_training_to_lists(settings, capsys, tmp_path):
    places = [f"{name}={settings[name]}" for name in ("data_path", "cache_path", "runs_path")]
    words = ["-m", "Cached", "-d", "tiny"]
    theirs = ["--models-dir", str(MODELS_DIR)]
    assert main([*words, *theirs, *places, "epochs=1", "topk=[5,20]"]) == 0
    assert main(["recommend", *words, "--users", "3", *places]) == 2
    assert "--models-dir" in capsys.readouterr().err
    assert main(["recommend", *words, "--users", "3", *places, *theirs]) == 0
    assert "user 3" in capsys.readouterr().out
    output = tmp_path / "lists.tsv"
    assert main(["export", *words, "--output", str(output), *places, f"models_dir={MODELS_DIR}"]) == 0
    assert main([*words, *theirs, *places, f"models_dir={MODELS_DIR}"]) == 2
    assert "models_dir is given twice" in capsys.readouterr().err


def test_nothing_of_others_is_imported_unless_it_is_asked_for(settings):
    code = (
        "import sys; from utils.experiments.sweep import run_all; from common.registry import describe_models\n"
        f"run_all(['BPR'], ['tiny'], {settings | {'models_dir': None, 'epochs': 1}!r}); describe_models()\n"
        "assert not [m for m in sys.modules if m.startswith('utils.foreign') or m == 'torch_scatter']\n"
    )
    start_server()
    process = SERVER.Process(target=exec, args=(code,))
    process.start()
    process.join()
    assert process.exitcode == 0


SEES = """
import os
import numpy as np
import torch
from common.abstract_recommender import GeneralRecommender

class Sees(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        path = os.path.join(config["data_path"] + config["dataset"], config["vision_feature_file"])
        self.filed, self.user = np.load(path), torch.nn.Embedding(self.n_users, 2)
"""


def test_content_is_theirs_as_the_run_changes_it(settings, folder):
    here = folder(Sees=SEES)
    (here / "configs/model/Sees.yaml").write_text("is_multimodal_model: True\n")
    for rate, hidden in ((0.0, False), (0.5, True)):
        (config,) = make_plan(
            ["Sees"], ["tiny"], settings | {"models_dir": str(here), "missing_rate": rate}, False, "t"
        )
        model, _ = build(config, Datasets().get(config))
        assert np.array_equal(model.filed, model.v_feat.numpy())
        assert (~model.filed.any(1)).any() == hidden
