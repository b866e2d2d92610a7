"""Broken, missing and misplaced configuration files."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("knn_k: [5\nreg_weight: 1\n", "model/Toy.yaml, line 2: expected ',' or ']'"),
        ("knn_k: 1\nfusion: mean\nknn_k: 2\n", "model/Toy.yaml, line 3: 'knn_k' is there already, in line 1"),
        ("grid: {knn_k: [1], knn_k: [2]}\n", "model/Toy.yaml, line 1: 'knn_k' is there already, in line 1"),
        ("[knn_k, 5]\n", "model/Toy.yaml must hold lines of the form `name: value`, found ['knn_k', 5]"),
        ("knn_k 5\n", "model/Toy.yaml must hold lines of the form `name: value`, found 'knn_k 5'"),
        ("5: 5\n", "model/Toy.yaml: a setting's name must be a text, found 5"),
        (
            "grid: [knn_k]\n",
            "model/Toy.yaml: `grid:` expects lines of the form `name: [values]`, found ['knn_k']",
        ),
        ("grid: {knn_k: 5}\n", "model/Toy.yaml: grid of knn_k expects a list of values, found 5"),
        (
            "hyper_parameters: knn_k\n",
            "hyper_parameters expects a list of setting names, got 'knn_k' (model/Toy.yaml)",
        ),
        ("epochs: 2024-13-45\n", "model/Toy.yaml cannot be read: month must be in 1..12"),
    ],
)
def test_a_broken_file_is_one_line_with_its_place(toy, text, message, fails):
    toy.write("model/Toy", text)
    fails(toy, message)


def test_a_file_that_is_no_text(toy, configs, fails):
    (configs / "model" / "Toy.yaml").write_bytes(b"knn_k: \xff\xfe")
    fails(toy, "model/Toy.yaml cannot be read: 'utf-8' codec")


def test_a_grid_outside_the_models_yaml_is_refused(toy, fails):
    toy.write("dataset/toys", "grid: {knn_k: [1]}\n")
    fails(toy, "dataset/toys.yaml: `grid:` belongs in the model's YAML")
    toy.write("dataset/toys", "")
    fails(
        toy, "'grid' belongs in a model's YAML (command line); give lists as values", {"grid": {"knn_k": [1]}}
    )


def test_an_unknown_model_or_data_set_gives_the_nearest_name(toy, tmp_path, fails):
    fails(toy, "unknown model 'toy': there is no model/toy.yaml; did you mean 'Toy'?", model="toy")
    fails(toy, "neither " + str(tmp_path / "toyz") + " nor dataset/toyz.yaml is there; did you mean 'toys'?",
          {"data_path": str(tmp_path)}, dataset="toyz")  # fmt: skip
    fails(toy, "; known: toys", dataset="qqqq")


def test_a_data_set_with_a_folder_needs_no_yaml(toy, tmp_path):
    (tmp_path / "mine").mkdir()
    assert toy({"data_path": str(tmp_path)}, dataset="mine")["dataset"] == "mine"


def test_an_empty_yaml_sets_nothing(toy):
    toy.write("dataset/toys", "# nothing yet\n")
    assert toy()["epochs"] == 1000
