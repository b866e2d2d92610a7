"""YAML files in the style of MMRec work as they do there."""

from __future__ import annotations

import pytest
import yaml

from utils.config import PROJECT

OVERALL = PROJECT / "src" / "configs" / "overall.yaml"

MMREC_DATASET = """\
USER_ID_FIELD: userID
TIME_FIELD: timestamp
inter_file_name: 'toys.inter'
vision_feature_file: 'image_feat.npy'
field_separator: "\\t"
"""
MMREC_MODEL = """\
embedding_size: 32
feat_embed_dim: 64
weight_size: [64, 64]
n_layers: [1, 2]
reg_weight: [0.0, 1e-05, 1e-03]
aggr_mode: add
dropout: 0.5
use_neg_sampling: False
hyper_parameters: ["n_layers", "reg_weight", "aggr_mode"]
"""
DECLARED = {"n_layers": int, "reg_weight": float, "aggr_mode": ("add", "mean"), "dropout": float}


@pytest.fixture
def mmrec(toy):
    toy.write("dataset/toys", MMREC_DATASET)
    toy.write("model/Toy", MMREC_MODEL)
    return toy


def test_their_lists_are_swept_always_and_a_scalar_is_one_point(mmrec):
    config = mmrec(settings=None)
    assert list(config.axes.items()) == [("n_layers", [1, 2]), ("reg_weight", [0.0, 1e-5, 1e-3])]
    assert (
        config["aggr_mode"] == "add"
        and config["embedding_size"] == 32
        and config["use_neg_sampling"] is False
    )
    assert config["vision_feature_file"] == "image_feat.npy"


def test_a_foreign_model_sees_its_own_yaml_whole(mmrec, fails):
    config = mmrec(settings=None)
    assert config["weight_size"] == [64, 64] and config["feat_embed_dim"] == 64
    assert config.warnings == ["TIME_FIELD has no effect here (dataset/toys.yaml); MMRec's files carry it"]
    assert mmrec({"dropout": 1}, settings=None)["dropout"] == 1
    fails(mmrec, "dropout expects a number, got 'x' (command line)", {"dropout": "x"}, settings=None)
    fails(
        mmrec,
        "unknown setting 'drop_out' for Toy (command line); did you mean 'dropout'?",
        {"drop_out": 1},
        settings=None,
    )


def test_a_declared_model_is_told_what_has_no_effect(mmrec, fails):
    config = mmrec(settings=DECLARED)
    assert [line.split(" ")[0] for line in config.warnings] == ["TIME_FIELD", "feat_embed_dim", "weight_size"]
    assert "weight_size" not in config and config.axes == mmrec(settings=None).axes
    fails(
        mmrec,
        "weight_size has no effect on Toy (command line); leave it out",
        {"weight_size": [1]},
        settings=DECLARED,
    )


def test_the_length_of_weight_size_is_the_number_of_layers_where_that_is_not_given(mmrec):
    config = mmrec(settings=DECLARED | {"n_ui_layers": int})
    assert config["n_ui_layers"] == 2 and config.origin("n_ui_layers") == "model/Toy.yaml"


def test_their_seed_list_and_the_lists_of_names_of_all_files(mmrec):
    overall = yaml.safe_load(OVERALL.read_text())
    overall |= {"seed": [3, 4], "hyper_parameters": ["seed"], "checkpoint_dir": "saved", "end2end": False}
    mmrec.write("overall", yaml.safe_dump(overall))
    mmrec.write(
        "dataset/toys",
        MMREC_DATASET + "learning_rate: [0.1, 0.2]\nhyper_parameters: [learning_rate, n_layers]\n",
    )
    config = mmrec(settings=DECLARED)
    assert list(config.axes) == ["seed", "learning_rate", "n_layers", "reg_weight"]
    assert config.points()[0] == {"seed": 3, "learning_rate": 0.1, "n_layers": 1, "reg_weight": 0.0}
    assert any(
        line.startswith("checkpoint_dir has no effect here (overall.yaml)") for line in config.warnings
    )
    overall["seed"] = [999]
    mmrec.write("overall", yaml.safe_dump(overall))
    config = mmrec(settings=DECLARED)
    assert "seed" not in config.axes and config["seed"] == 999


def test_a_config_dict_replaces_their_lists_of_names(mmrec, fails):
    config = mmrec({"hyper_parameters": ["reg_weight"], "n_layers": 2}, settings=DECLARED)
    assert list(config.axes) == ["reg_weight"] and config["n_layers"] == 2
    fails(mmrec, "n_layers expects a whole number, got [1, 2] (model/Toy.yaml); to sweep over it, name",
          {"hyper_parameters": ["reg_weight"]}, settings=DECLARED)  # fmt: skip
    fails(mmrec, "hyper_parameters names an unknown setting 'reg_wieght' (command line); did you mean",
          {"hyper_parameters": ["reg_wieght"]}, settings=DECLARED)  # fmt: skip


def test_a_name_without_a_value_runs_once_with_none(mmrec):
    mmrec.write("model/Toy", MMREC_MODEL.replace('"n_layers",', '"n_layers", "beta",'))
    config = mmrec(settings=None)
    assert config["beta"] is None and "beta" in config and list(config.axes) == ["n_layers", "reg_weight"]


@pytest.mark.parametrize("settings", [None, DECLARED])
@pytest.mark.parametrize("name", ["end2end"])
def test_what_would_change_a_run_is_refused(mmrec, settings, name, fails):
    mmrec.write("model/Toy", MMREC_MODEL + f"{name}: False\n")
    assert any(line.startswith(name) for line in mmrec(settings=settings).warnings)
    mmrec.write("model/Toy", MMREC_MODEL + f"{name}: True\n")
    fails(mmrec, f"{name}: True is not supported (model/Toy.yaml); remove it", settings=settings)
