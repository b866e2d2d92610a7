"""Layers, origins, types and grids of a configuration."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.registry import get_model, list_models
from utils.config import PROJECT, Config
from utils.config.layers import Layer, yaml_names
from utils.errors import UserError

CONFIGS = PROJECT / "src" / "configs"


def test_each_layer_stands_above_the_one_before_and_is_remembered(toy):
    config = toy()
    assert (config["epochs"], config.origin("epochs")) == (1000, "overall.yaml")
    toy.write("dataset/toys", "epochs: 5\nknn_k: 7\nstopping_step: 1\n")
    toy.write("model/Toy", toy.yaml + "epochs: 6\n")
    config = toy({"knn_k": 20})
    assert (config["stopping_step"], config.origin("stopping_step")) == (1, "dataset/toys.yaml")
    assert (config["epochs"], config.origin("epochs")) == (6, "model/Toy.yaml")
    assert (config["knn_k"], config.origin("knn_k")) == (20, "command line")


def test_a_recipe_stands_below_what_is_given_and_may_list_values(toy, fails):
    recipe = Layer("recipes/r.yaml", {"knn_k": [20, 40], "epochs": 3, "models_dir": None})
    config = toy({"epochs": 4}, recipe=recipe)
    assert (
        config.axes == {"knn_k": [20, 40]}
        and config.at({"knn_k": 40}).origin("knn_k") == "recipes/r.yaml (grid)"
    )
    assert (config["epochs"], config.origin("epochs")) == (4, "command line")
    assert config.origin("models_dir") == "recipes/r.yaml"
    assert toy({"knn_k": 5}, recipe=recipe).axes == {}
    fails(toy, "model/Toy.yaml list the settings", recipe=Layer("recipes/r.yaml", {"xyzzy": 1}))
    fails(toy, "'model' is no setting but part of the run", recipe=Layer("recipes/r.yaml", {"model": "BPR"}))


def test_it_behaves_as_mmrecs(toy):
    config = toy()
    assert config["no_such_setting"] is None
    assert "knn_k" in config and "no_such_setting" not in config
    config["knn_k"] = 3
    config["added"] = "by a model"
    assert config["knn_k"] == 3 and config.origin("added") == "code"
    assert config.final_config_dict["added"] == "by a model"
    assert "knn_k = 3  (code)" in str(config)
    with pytest.raises(TypeError, match="name of a setting is a str, not int"):
        config[1] = 2
    with pytest.raises(KeyError):
        config.origin("no_such_setting")


def test_what_follows_from_the_run(toy):
    config = toy({"use_gpu": False})
    assert (config["model"], config["dataset"], config["valid_metric_bigger"]) == ("Toy", "toys", True)
    assert config["device"] == torch.device("cpu") and config.origin("device") == "derived"


def test_the_gpu_of_gpu_id_and_an_error_where_it_is_missing(toy, monkeypatch, fails):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert toy({"gpu_id": 1})["device"] == torch.device("cuda:1")
    assert toy({"gpu_id": 1, "use_gpu": False})["device"] == torch.device("cpu")
    fails(toy, "gpu_id is 2 (command line), but there are only GPUs 0 to 1", {"gpu_id": 2})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert toy({"gpu_id": 7})["device"] == torch.device("cpu")


def test_the_interactions_file_has_the_data_sets_name_unless_it_is_given(toy, tmp_path):
    (tmp_path / "mine").mkdir()
    config = toy({"data_path": str(tmp_path)}, dataset="mine")
    assert (config["inter_file_name"], config.origin("inter_file_name")) == ("mine.inter", "derived")
    toy.write("dataset/toys", "inter_file_name: other.tsv\n")
    assert toy()["inter_file_name"] == "other.tsv"


@given(st.integers(1, 99), st.lists(st.integers(0, 9), min_size=1, max_size=3))
def test_the_callers_dictionary_is_never_touched(knn_k, seeds):
    mine = {"knn_k": knn_k, "seed": seeds, "item_graph_weight": {"image": 0.5}, "topk": [20, 5]}
    mine["modalities"] = {"image": {"features": "image.npy"}}
    before = copy.deepcopy(mine)
    config = Config("TMFUN", "sports", mine, model_settings=get_model("TMFUN").settings)
    config["item_graph_weight"]["image"] = 9
    config["topk"].append(1)
    config["modalities"]["image"]["features"] = "another.npy"
    config.at(config.points()[-1])["topk"].append(2)
    assert mine == before


def test_the_settings_of_a_trial_are_a_config_dict_again(toy, fails):
    first = toy({"knn_k": 20, "topk": [20]})
    kept = {name: value for name, value in first.final_config_dict.items() if name != "device"}
    assert toy(kept).final_config_dict == first.final_config_dict
    fails(
        toy,
        "'model' is no setting but part of the run, here Toy (command line); leave it out",
        {"model": "BPR"},
    )


def test_folders_of_a_yaml_start_at_the_project_and_others_where_one_is(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert toy().path("data_path") == PROJECT / "data"
    assert toy({"data_path": "../data"}).path("data_path") == tmp_path / "../data"
    assert toy({"data_path": "/data"}).path("data_path") == Path("/data")
    assert toy({"runs_path": Path("a")}).path("runs_path") == tmp_path / "a"
    assert toy({"runs_path": "~/a"}).path("runs_path") == Path.home() / "a"
    two = toy({"runs_path": ["a", "b"]})
    assert two.at({"runs_path": "b"}).path("runs_path") == tmp_path / "b"
    toy.write("model/Toy", toy.yaml + "  runs_path: [a, b]\n")
    assert toy(use_grid=True).at({"runs_path": "b"}).path("runs_path") == PROJECT / "b"


def test_unknown_settings_of_every_layer_name_their_place_and_the_nearest_name(toy, fails):
    fails(toy, "unknown setting 'knnk' for Toy (command line); did you mean 'knn_k'?", {"knnk": 3})
    fails(
        toy,
        "unknown setting 'qqq' for Toy (config_dict); --help and model/Toy.yaml list",
        {"qqq": 3},
        origin="config_dict",
    )
    toy.write("dataset/toys", "inter_file: x\n")
    fails(toy, "unknown setting 'inter_file' for Toy (dataset/toys.yaml); did you mean 'inter_file_name'?")
    toy.write("dataset/toys", "")
    toy.write("model/Toy", toy.yaml + "leaning_rate: .1\n")
    fails(toy, "unknown setting 'leaning_rate' for Toy (model/Toy.yaml); did you mean 'learning_rate'?")
    toy.write("model/Toy", toy.yaml + "  reg_wieght: [1]\n")
    fails(toy, "unknown setting 'reg_wieght' for Toy (model/Toy.yaml); did you mean 'reg_weight'?")


def test_another_models_setting_is_unknown(toy):
    with pytest.raises(UserError, match="unknown setting 'knn_k' for BPR"):
        Config("BPR", "sports", {"knn_k": 3}, model_settings=get_model("BPR").settings)


def test_wrong_types_name_their_place(toy, fails):
    fails(toy, "knn_k expects a whole number, got '1O' (command line)", {"knn_k": "1O"})
    fails(
        toy,
        "weight_decay expects a number, got '1e-4' (command line); write it without quotes",
        {"weight_decay": "1e-4"},
    )
    toy.write("model/Toy", toy.yaml.replace("fusion: mean", "fusion: sum"))
    fails(toy, "fusion expects one of mean, norm, got 'sum' (model/Toy.yaml)")
    toy.write("model/Toy", toy.yaml.replace("knn_k: 10", "knn_k: [5, 10]"))
    fails(
        toy,
        "knn_k expects a whole number, got [5, 10] (model/Toy.yaml); to sweep over it, name the setting",
    )


def test_nothing_in_a_value_is_evaluated(toy, tmp_path, fails):
    code = f"open({str(tmp_path / 'ran')!r}, 'w')"
    fails(toy, "weight_decay expects a number", {"weight_decay": code})
    toy.write("model/Toy", toy.yaml + "epochs: !!python/object/apply:os.getcwd []\n")
    fails(toy, "model/Toy.yaml, line 8: could not determine a constructor for the tag")
    assert not (tmp_path / "ran").exists()


def test_values_that_are_wrong_together(toy, fails):
    fails(
        toy,
        "valid_metric Recall@20 (overall.yaml) needs 20 among topk, which is [5, 10] (command line)",
        {"topk": [5, 10]},
    )
    fails(
        toy,
        "valid_metric MRR@20 (command line) needs mrr among metrics, which is",
        {"valid_metric": "MRR@20"},
    )
    fails(
        toy, "valid_metric Recall@20 (overall.yaml) needs 20 among topk, which is [5]", {"topk": [[20], [5]]}
    )
    fails(toy, "metrics and topk need at least one value each", {"topk": []})
    fails(toy, "topk must be positive, got 0 (command line)", {"topk": [0, 20]})
    fails(
        toy,
        "learning_rate_scheduler expects two numbers, factor and epochs, got [0.9]",
        {"learning_rate_scheduler": [0.9]},
    )
    fails(toy, "learning_rate must be positive, got 0.0 (command line)", {"learning_rate": 0})
    fails(toy, "clip_grad_norm must be positive, got -1.0", {"clip_grad_norm": -1})
    fails(
        toy,
        "clip_grad_norm has no 'max_nrom' (command line); did you mean",
        {"clip_grad_norm": {"max_nrom": 5}},
    )
    for limit in ({}, {"max_norm": 0}, {"max_norm": True}, {"norm_type": 2}):
        fails(toy, "clip_grad_norm needs a positive max_norm", {"clip_grad_norm": limit})
    assert toy({"topk": [5], "valid_metric": "ndcg@5"})["valid_metric"] == "NDCG@5"


@pytest.mark.parametrize(
    ("overrides", "setting"),
    [({"valid_metric": "Recal@20"}, "valid_metric"), ({"valid_metric": "Recall"}, "valid_metric"),
     ({"valid_metric": "Recall@x"}, "valid_metric"), ({"metrics": ["Recall", "NDGC"]}, "metrics")],
)  # fmt: skip
def test_unknown_metrics_name_the_setting_and_its_place(toy, overrides, setting):
    with pytest.raises(UserError, match=rf"^{setting}: .*\(command line\)$"):
        toy(overrides)


def test_a_setting_that_no_layer_gives_is_an_error(toy, fails):
    toy.write("model/Toy", toy.yaml.replace("fusion: mean\n", ""))
    fails(toy, "model/Toy.yaml gives no value for 'fusion'; add it there")
    toy.write("overall", "seed: 1\n")
    fails(toy, "overall.yaml gives no value for 'use_gpu'; add it there")


def test_a_plain_run_is_one_trial_and_the_grid_runs_when_asked(toy):
    assert toy().axes == {} and toy().points() == [{}]
    config = toy(use_grid=True)
    assert config.axes == {"reg_weight": [0.0, 1e-5, 1e-3], "knn_k": [5, 10]}
    assert (config["knn_k"], config.origin("knn_k")) == (10, "model/Toy.yaml")
    assert config.points()[:3] == [
        {"reg_weight": 0.0, "knn_k": 5}, {"reg_weight": 0.0, "knn_k": 10}, {"reg_weight": 1e-5, "knn_k": 5},
    ]  # fmt: skip


def test_a_point_gives_scalars_and_leaves_the_rest_alone(toy):
    grid = toy({"topk": [20]}, use_grid=True)
    one, other = grid.at(grid.points()[0]), grid.at(grid.points()[-1])
    assert (one["knn_k"], one["reg_weight"], other["knn_k"], other["reg_weight"]) == (5, 0.0, 10, 1e-3)
    assert (
        one.axes == {}
        and one.origin("knn_k") == "model/Toy.yaml (grid)"
        and one.origin("fusion") == "model/Toy.yaml"
    )
    one["topk"].append(1)
    one.warnings.append("x")
    assert grid["topk"] == other["topk"] == [20] and grid["knn_k"] == 10 and not grid.warnings
    with pytest.raises(KeyError):
        grid.at({"fusion": "mean"})
    assert grid.at({}).axes == grid.axes


def test_lists_of_the_command_line_are_axes(toy, fails):
    config = toy({"knn_k": [20, 40], "fusion": ["norm", "mean"], "seed": [1, 2]})
    assert list(config.axes.items()) == [("seed", [1, 2]), ("knn_k", [20, 40]), ("fusion", ["norm", "mean"])]
    assert config["knn_k"] == 20 and config["fusion"] == "norm"
    assert config.at({"knn_k": 40}).origin("knn_k") == "command line (grid)"
    lists = toy({"topk": [[20], [5, 20]], "pairs": ["a", "b"]})
    assert lists.axes == {"topk": [[20], [5, 20]]} and lists["pairs"] == ["a", "b"] and lists["topk"] == [20]
    fails(toy, "knn_k has an empty list of values (command line); give it at least one", {"knn_k": []})


def test_the_command_line_replaces_fixes_and_extends_the_grid(toy):
    replaced = toy({"fusion": ["mean", "norm"], "reg_weight": [7, 8]}, use_grid=True)
    assert list(replaced.axes.items()) == [
        ("reg_weight", [7.0, 8.0]),
        ("knn_k", [5, 10]),
        ("fusion", ["mean", "norm"]),
    ]
    fixed = toy({"knn_k": 3}, use_grid=True)
    assert list(fixed.axes) == ["reg_weight"] and (fixed["knn_k"], fixed.origin("knn_k")) == (
        3,
        "command line",
    )


def test_a_list_of_one_value_is_that_value(toy):
    config = toy({"knn_k": [3], "seed": [7]}, use_grid=True)
    assert list(config.axes) == ["reg_weight"] and (config["knn_k"], config["seed"]) == (3, 7)
    toy.write("model/Toy", toy.yaml.replace("[5, 10]", "[5]"))
    assert toy(use_grid=True)["knn_k"] == 5 and toy()["knn_k"] == 10


def test_a_grid_is_checked_even_where_it_is_not_used(toy, fails):
    toy.write("model/Toy", toy.yaml.replace("[5, 10]", "[5, x]"))
    fails(toy, "knn_k expects a whole number, got 'x' (model/Toy.yaml)")


def test_a_model_without_a_grid_says_so(toy):
    toy.write("model/Toy", toy.yaml.partition("grid:")[0])
    assert toy().warnings == []
    assert toy(use_grid=True).warnings == ["model/Toy.yaml has no `grid:`, so Toy runs at its settings"]


@pytest.mark.parametrize("dataset", yaml_names(CONFIGS / "dataset"))
@pytest.mark.parametrize("model", yaml_names(CONFIGS / "model"))
def test_shipped_files_load_without_a_warning(model, dataset):
    plain = Config(model, dataset, model_settings=get_model(model).settings)
    assert plain.axes == {} and plain.warnings == []
    grid = Config(model, dataset, model_settings=get_model(model).settings, use_grid=True)
    assert grid.axes and grid.warnings == []
    assert all(plain[name] in values for name, values in grid.axes.items())


def test_every_shipped_yaml_has_its_model():
    assert sorted(list_models()) == sorted(yaml_names(CONFIGS / "model"))


@pytest.mark.parametrize("model", list_models())
def test_models_say_which_numbers_they_can_work_with(model):
    """Every number that a model declares has a range, and one outside of it is an error before anything is built."""
    declared = get_model(model).settings
    for name, kind in declared.items():
        assert kind not in (int, float) or name == "user_modality_weight", f"{name} of {model} has no range"
        if isinstance(kind, tuple) and kind[0] in (int, float):
            with pytest.raises(UserError, match=re.escape(f"{name} must be {kind[1]}, got -1")):
                Config(model, "demo", {name: -1}, model_settings=declared)


@pytest.mark.parametrize(("model", "value"), [("BM3", False), ("LightGCN", True)])
def test_what_a_model_is_cannot_be_set(model, value, fails):
    schema = get_model(model).settings
    fails(
        lambda: Config(model, "demo", {"is_multimodal_model": value}, model_settings=schema),
        f"is_multimodal_model is part of what {model} is, {not value} (config_dict); leave it out",
    )
    assert Config(model, "demo", {"is_multimodal_model": not value}, model_settings=schema)


def test_metrics_have_one_spelling():
    """So that `recall@20` is no other trial than `Recall@20`."""
    spelt = {"metrics": ["recall", "NDCG"], "topk": [20], "valid_metric": "rEcall@20"}
    config = Config("BPR", "demo", spelt, model_settings=get_model("BPR").settings)
    assert (config["metrics"], config["valid_metric"]) == (["Recall", "NDCG"], "Recall@20")
    several = spelt | {"valid_metric": ["recall@20", "ndcg@20"]}
    config = Config("BPR", "demo", several, model_settings=get_model("BPR").settings)
    assert [config.at(point)["valid_metric"] for point in config.points()] == ["Recall@20", "NDCG@20"]
