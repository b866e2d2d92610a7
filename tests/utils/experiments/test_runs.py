"""From a command to a table: selection, the test set, folders, repetition, faults."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import utils.experiments.trial as trial_module
from common.registry import get_model
from utils.cli import main
from utils.config import Config
from utils.data.dataset import Dataset
from utils.errors import UserError
from utils.evaluation.ranking import Evaluator
from utils.experiments.building import build
from utils.experiments.identity import trial_id
from utils.experiments.sweep import How, Sweep, run_all
from utils.files import fresh_folder
from utils.quick_start import quick_start

ROOT = Path(__file__).resolve().parents[3]
QUICK = {"epochs": 2, "embedding_size": 8, "train_batch_size": 128, "topk": [5, 20]}


def run(model: str, places: dict[str, str], **settings) -> Sweep:
    return run_all([model], ["tiny"], QUICK | places | settings)[0]


def flags(places: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in (QUICK | places).items()]


def test_a_trial_folder_holds_everything_and_reads_back(places):
    (trial,) = run("TMFUN", places).trials
    folder = Path(trial.folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.pt",
        "log.txt",
        "metrics.json",
        "per_user.npz",
        "settings.yaml",
        "topk.npz",
    ]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test"] == trial.test and metrics["best_epoch"] == trial.best_epoch
    assert [epoch["epoch"] for epoch in metrics["history"]] == [1, 2]
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    assert settings["knn_k"] == 10 and settings["item_graph_weight"] == {}
    assert "# model/TMFUN.yaml" in (folder / "settings.yaml").read_text()

    config = Config("TMFUN", "tiny", QUICK | places, model_settings=get_model("TMFUN").settings)
    dataset = Dataset.load(config)
    model, _ = build(config, dataset)
    model.load_state_dict(torch.load(folder / "best.pt", weights_only=True))
    per_user, lists = Evaluator(config, dataset).test(model, 50)
    assert {name: float(v.mean()) for name, v in per_user.items()} == trial.test
    with np.load(folder / "topk.npz", allow_pickle=False) as stored:
        assert (stored["items"] == lists.items).all() and (stored["users"] == lists.users).all()
        assert stored["items"].shape == (len(lists.users), 40)


def test_settings_of_a_trial_are_a_configuration_again(places):
    first = run("FREEDOM", places, reg_weight=0.0).trials[0]
    settings = yaml.safe_load((Path(first.folder) / "settings.yaml").read_text())
    again = {
        name: value
        for name, value in settings.items()
        if name not in ("model", "dataset", "valid_metric_bigger")
    }
    assert run_all(["FREEDOM"], ["tiny"], again)[0].trials[0].trial == first.trial


def test_the_test_set_is_ranked_once_per_trial_after_training(places, monkeypatch):
    calls = []
    validate, test = Evaluator.validate, Evaluator.test
    monkeypatch.setattr(Evaluator, "validate", lambda *a: calls.append("valid") or validate(*a))
    monkeypatch.setattr(Evaluator, "test", lambda *a: calls.append("test") or test(*a))
    run("LightGCN", places, n_layers=[1, 2])
    assert calls == ["valid", "valid", "test"] * 2


def test_test_labels_have_no_say_in_training_or_selection(places, tmp_path):
    """Another test split: the same validation metrics, best epochs and winner."""
    original = run("LightGCN", places, n_layers=[1, 2, 3])
    folder = tmp_path / "tiny"
    folder.mkdir()
    text = (Path(places["data_path"]) / "tiny" / "tiny.inter").read_text().splitlines()
    swapped = [
        line if not line.endswith("\t2") else f"{line.split()[0]}\t{(int(line.split()[1]) + 7) % 40}\t2"
        for line in text
    ]
    (folder / "tiny.inter").write_text("\n".join(swapped) + "\n")
    other = run("LightGCN", places | {"data_path": str(tmp_path)}, n_layers=[1, 2, 3])
    assert [t.valid for t in other.trials] == [t.valid for t in original.trials]
    assert [t.point for t in other.best] == [t.point for t in original.best]
    assert [t.test for t in other.trials] != [t.test for t in original.trials]


def test_the_winner_is_chosen_by_validation_and_seeds_by_their_mean(places):
    sweep = run("BPR", places, reg_weight=[0.1, 0.01], seed=[1, 2])
    for trial, valid, test in zip(sweep.trials, [0.5, 0.1, 0.4, 0.4], [0.1, 0.9, 0.1, 0.1], strict=True):
        trial.valid["recall@20"], trial.test["recall@20"] = valid, test
    assert [trial.point["seed"] for trial in sweep.trials] == [1, 1, 2, 2]
    assert {trial.point["reg_weight"] for trial in sweep.best} == {0.1} and len(sweep.best) == 2


@pytest.mark.parametrize("model", ["TMFUN", "BM3"])
def test_results_do_not_depend_on_the_trials_before(places, model):
    axis = {"n_layers": [1, 2]} if model == "BM3" else {"n_ui_layers": [1, 2]}
    forward = run(model, places, **axis).trials
    backward = run(model, places, **{name: values[::-1] for name, values in axis.items()}).trials[::-1]
    alone = run(model, places, **{name: values[1] for name, values in axis.items()}).trials[0]
    assert [(t.trial, t.valid, t.test) for t in forward] == [(t.trial, t.valid, t.test) for t in backward]
    assert (alone.trial, alone.test) == (forward[1].trial, forward[1].test)


def test_identity_follows_settings_and_content_but_not_places(places, tmp_path):
    def identity(**settings) -> str:
        config = Config(
            "FREEDOM", "tiny", QUICK | places | settings, model_settings=get_model("FREEDOM").settings
        )
        return trial_id(config, Dataset.load(config))

    base = identity()
    assert identity(runs_path=str(tmp_path), eval_batch_size=7, save_model=False) == base
    assert len({base, identity(seed=1), identity(reg_weight=0.0), identity(modalities=["text"])}) == 4


def test_a_diverging_trial_is_reported_and_the_sweep_goes_on(places, logged):
    sweep = run("BPR", places, learning_rate=[1e38, 0.01], learner="sgd", epochs=3)
    assert len(sweep.trials) == 1 and sweep.best[0].point == {"learning_rate": 0.01}
    (failure,) = sweep.failed
    assert failure.kind == "diverged" and failure.point == {"learning_rate": 1e38}
    assert "lower learning_rate" in failure.message
    assert any(f"failed, {failure.message}" in line for line in logged)


def test_all_trials_of_a_model_may_fail(places, capsys):
    assert main(["-m", "BPR", "-d", "tiny", *flags(places), "learning_rate=[1e38,1e37]", "learner=sgd"]) == 1
    assert "failed" in capsys.readouterr().out


def test_everything_is_checked_before_any_training_starts(places, monkeypatch):
    monkeypatch.setattr(trial_module, "Trainer", lambda *a: pytest.fail("training began"))
    with pytest.raises(UserError, match="topk asks for 50 items"):
        run_all(["BPR"], ["tiny"], QUICK | places | {"topk": [20, 50]})
    with pytest.raises(UserError, match="unknown model 'TMFUNN'; did you mean 'TMFUN'"):
        run_all(["BPR", "TMFUNN"], ["tiny"], QUICK | places)
    with pytest.raises(UserError, match="knn_k"):
        run_all(["BPR", "TMFUN"], ["tiny"], QUICK | places | {"knn_k": [5, "x"]})


@pytest.fixture
def graphs_only(places, tmp_path) -> dict[str, str]:
    """`tiny` with the text modality as a ready graph alone."""
    folder = tmp_path / "data" / "tiny"
    folder.mkdir(parents=True)
    (folder / "tiny.inter").write_bytes((Path(places["data_path"]) / "tiny" / "tiny.inter").read_bytes())
    neighbours = np.stack([(np.arange(40) + step) % 40 for step in range(10)], axis=1).astype(np.int32)
    cosine = np.tile(np.linspace(1, 0.5, 10, dtype=np.float32), (40, 1))
    np.savez(folder / "text_knn10.npz", neighbours=neighbours, cosine=cosine)
    return places | {"data_path": str(tmp_path / "data")}


@pytest.mark.parametrize(
    ("model", "settings"),
    [("TMFUN", {}), ("FREEDOM", {"reg_weight": 0.0}), ("LATTICE", {"lambda_coeff": 1.0})],
)
def test_models_that_run_from_graphs_alone(graphs_only, model, settings):
    assert run(model, graphs_only, **settings).best


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("VBPR", {}),
        ("BM3", {}),
        ("FREEDOM", {"reg_weight": 0.1}),
        ("LATTICE", {}),
        ("TMFUN", {"modality_input": "features"}),
    ],
)
def test_models_that_need_raw_features_say_so(graphs_only, model, settings):
    with pytest.raises(
        UserError, match=f"{model} needs raw features .* 'text' of 'tiny' has only a kNN graph"
    ):
        run(model, graphs_only, **settings)


def test_a_multimodal_model_without_any_modality_says_so(places, tmp_path, logged):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "tiny.inter").write_bytes(
        (Path(places["data_path"]) / "tiny" / "tiny.inter").read_bytes()
    )
    with pytest.raises(UserError, match="FREEDOM needs at least one modality, and 'tiny' has none"):
        run("FREEDOM", places | {"data_path": str(tmp_path)})
    assert run("BPR", places | {"data_path": str(tmp_path)}).best
    assert run("TMFUN", places | {"data_path": str(tmp_path)}).best
    warning = "'tiny' has no modality: TMFUN learns from interactions alone"
    assert any(warning in line for line in logged)


def test_shares_of_modalities_that_leave_one_nothing_are_an_error(places):
    with pytest.raises(UserError, match="TMFUN on tiny: item_graph_weight .* name every modality"):
        run("TMFUN", places, item_graph_weight={"image": 1.0, "video": 0.2})


def test_quick_start_takes_mmrecs_arguments_and_returns_the_trials(places):
    settings = QUICK | places | {"gpu_id": 0}
    before = dict(settings)
    sweep = quick_start(model="BPR", dataset="tiny", config_dict=settings, save_model=False)
    assert settings == before and set(sweep.best[0].test) >= {"recall@20", "ndcg@5"}
    assert not (Path(sweep.best[0].folder) / "best.pt").exists()


def test_an_unwritable_results_folder_is_one_clear_error(places, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(UserError, match="cannot write results to .*runs_path="):
        run("BPR", places, runs_path=str(blocker))


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "trial"
    for content in ("one", "two"):
        with fresh_folder(folder) as new:
            (new / content).write_text(content)
    (tmp_path / "usual").mkdir()
    assert folder.stat().st_mode == (tmp_path / "usual").stat().st_mode
    (tmp_path / "usual").rmdir()
    assert [path.name for path in folder.iterdir()] == ["two"]
    with pytest.raises(RuntimeError), fresh_folder(folder) as new:
        (new / "three").write_text("")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["trial"] and [p.name for p in folder.iterdir()] == [
        "two"
    ]


def test_the_program_from_another_folder(places, tmp_path):
    """As a user starts it: blocks, epochs and table on stdout, nothing on stderr."""
    command = [
        sys.executable,
        str(ROOT / "main.py"),
        "-m",
        "BPR",
        "TMFUN",
        "-d",
        "tiny",
        *flags(places),
        "seed=[1,2]",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    parts = [
        "60 users, 40 items",
        "modality   image",
        "trainable weights",
        "model/TMFUN.yaml:",
        "epoch    2",
        "±",
    ]
    parts += [
        "best epoch",
        "test  recall",
        "files  ",
        "tiny: test metrics of the setting chosen on validation",
    ]
    for part in parts:
        assert part in done.stdout, part
    assert list(tmp_path.iterdir()) == []


def test_a_missing_data_set_is_one_line_and_status_2(places, capsys):
    assert main(["-m", "TMFUN", "-d", "sports", *flags(places)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    for part in ("sports.inter", "image_feat.npy", "data_path="):
        assert part in error


def test_a_fault_of_a_model_names_its_line_and_where_the_traceback_is(places, tmp_path, monkeypatch, logged):
    monkeypatch.setattr(get_model("BPR"), "forward", lambda self: torch.zeros(2) + torch.zeros(3))
    sweep = run("BPR", places, runs_path=str(tmp_path))
    line = next(line for line in logged if line.startswith("failed: RuntimeError"))
    assert "bpr.py, line " in line
    told = next(line for line in logged if line.startswith("traceback  "))
    assert "calculate_loss" in json.loads(Path(told.split()[1]).read_text())["traceback"] and not sweep.best


def test_a_single_trial_in_a_worker_is_shown_as_one_here(places, tmp_path, logged):
    run_all(["BPR"], ["tiny"], QUICK | places | {"runs_path": str(tmp_path)}, how=How(workers=2))
    assert any(line.startswith("best epoch") for line in logged)
    assert any(line.startswith("1 trial, 1 at a time") for line in logged)
