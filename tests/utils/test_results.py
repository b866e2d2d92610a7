"""Recipes and the table of results: what they name exists, what they say was measured is said everywhere alike."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from common.registry import get_model, list_models
from utils.cli import main
from utils.config import SRC, Config
from utils.errors import UserError
from utils.results import command, page, recipes, rows
from utils.results.recipes import FOLDER, Recipe, read_recipe, recipe_names

DOCS = SRC.parent / "docs"
ROWS = rows.read_rows()


def trial(seed: int, recall: float):
    names = dict.fromkeys(rows.METRICS, recall)
    point = {"seed": seed}
    environment = {"device": "cpu", "date": f"2026-01-0{seed} 10:00:00", "data": "d1"}
    return SimpleNamespace(
        point=point,
        test=names,
        valid=names,
        best_epoch=3,
        seconds={"build": 10.0, "training": 80.0, "test": 30.0, "train_epoch": 9.0},
        environment=environment,
    )


@pytest.mark.parametrize("name", recipe_names())
class TestRecipes:
    def test_it_is_a_configuration_that_its_model_takes(self, name):
        recipe = read_recipe(name)
        assert recipe.model in list_models()
        settings = {key: value for key, value in recipe.settings.items() if key != "seed"}
        Config(recipe.model, recipe.dataset, settings, model_settings=get_model(recipe.model).settings)

    def test_its_first_line_says_what_it_gives(self, name):
        first = (FOLDER / f"{name}.yaml").read_text().splitlines()[0]
        (row,) = (row for row in ROWS if row["recipe"] == name)
        assert first.startswith("# ")
        for metric in ("recall@20", "ndcg@20"):
            assert f"{row['metrics'][metric]:.4f}" in first, (
                f"{name}.yaml has another {metric} than docs/results.json"
            )

    def test_its_row_is_of_its_settings_and_seeds(self, name):
        recipe = read_recipe(name)
        (row,) = (row for row in ROWS if row["recipe"] == name)
        assert row["seeds"] == recipe.seeds and row["settings"] == rows.settings_of(recipe)
        assert (row["model"], row["dataset"], row["features"]) == (
            recipe.model,
            recipe.dataset,
            recipe.features,
        )


def test_every_row_has_a_recipe():
    assert sorted(row["recipe"] for row in ROWS) == recipe_names()


def test_the_page_of_results_shows_the_rows_of_the_file():
    text = (DOCS / "results.md").read_text()
    assert page.tables(ROWS) in text, "docs/results.md is not of docs/results.json; use page.write_tables"
    for row in ROWS:
        for metric, value in row["metrics"].items():
            assert f"{value:.4f}" in text, f"docs/results.md lacks {metric} {value:.4f} of {row['recipe']}"


def a_row(**changed):
    return {**ROWS[0], "features": "none", **changed}


def test_a_page_keeps_what_is_around_its_tables(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    page.write_tables(ROWS, path)
    assert path.read_text() == f"before\n{page.BEGIN}\n\n{page.tables(ROWS)}\n\n{page.END}\nafter\n"
    path.write_text(f"before\n{page.END}\n{page.BEGIN}\n")
    with pytest.raises(UserError, match="no place for the tables"):
        page.write_tables(ROWS, path)


def test_tables_are_by_data_set_and_what_has_surrogates_stands_last():
    metrics = {name: 0.05 for name in rows.METRICS}
    lines = page.tables(
        [
            a_row(dataset="sports", model="First"),
            a_row(dataset="baby", model="Surrogate", features="surrogate"),
            a_row(dataset="baby", model="Worse", metrics=metrics),
            a_row(dataset="baby", model="Better"),
        ]
    ).splitlines()
    names = [line.split(" | ")[0].strip("| ") for line in lines if line and "---" not in line]
    assert names == ["### baby", "model", "Better", "Worse", "Surrogate", "### sports", "model", "First"]


def test_a_published_figure_stands_beside_comparable_content_alone():
    metrics = {name: 0.0754 * 1.02 for name in rows.METRICS}
    of = {"dataset": "baby", "model": "LightGCN", "metrics": metrics}
    assert "0.0754 / 0.0328 (MMRec README): +2.0 %" in page.tables([a_row(features="none", **of)])
    for content in ("surrogate", "true"):
        assert "MMRec README" not in page.tables([a_row(features=content, **of)])


def test_means_and_deviations_are_over_seeds():
    recipe = Recipe("r", "BPR", "demo", "none", {"seed": [2, 1], "reg_weight": 0.1})
    row = rows.make_row(recipe, [trial(1, 0.1), trial(2, 0.3)], "abc")
    assert row["metrics"]["recall@20"] == 0.2 and row["sd"]["recall@20"] == 0.141421
    assert row["seeds"] == [2, 1] and row["date"] == "2026-01-02"
    assert row["settings"]["reg_weight"] == 0.1 and row["settings"]["learning_rate"] == 0.001
    assert row["minutes_per_seed"] == 2.0 and row["device"] == "cpu"
    assert rows.make_row(recipe, [trial(2, 0.3)], "abc")["sd"]["recall@20"] is None


def test_a_row_names_every_device_of_its_seeds():
    recipe = Recipe("r", "BPR", "demo", "none", {"seed": [1, 2, 3]})
    trials = [trial(1, 0.1), trial(2, 0.1), trial(3, 0.1)]
    trials[1].environment["device"] = "cuda:0"
    assert rows.make_row(recipe, trials, "abc")["device"] == "cpu, cuda:0"


@pytest.mark.parametrize(
    "recall, agrees", [(0.1, True), (0.1 + 0.0035, True), (0.1 + 0.0055, False), (0.09, False)]
)
def test_a_run_agrees_within_three_deviations_and_a_hundredth(recall, agrees):
    row = {"metrics": {"recall@20": 0.1}, "sd": {"recall@20": 0.001}, "seeds": [1, 2, 3, 4, 5]}
    (one,) = rows.differences(row, [trial(1, recall)])
    assert one.tolerance == pytest.approx(3 * 0.001 * 1.2**0.5 + 0.001) and one.agrees == agrees


def test_a_row_of_one_seed_has_the_usual_spread():
    row = {"metrics": {"recall@20": 0.1}, "sd": {"recall@20": None}, "seeds": [1]}
    (one,) = rows.differences(row, [trial(1, 0.1)])
    assert one.tolerance == pytest.approx(3 * 0.1 * rows.ONE_SEED * 2**0.5 + 0.001)


@pytest.fixture
def own_recipes(tmp_path, monkeypatch, places):
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "one.yaml").write_text(
        "model: BPR\ndataset: tiny\nfeatures: none\nseed: [1, 2]\nreg_weight: 0.1\nepochs: 2\ntopk: [10, 20]\n"
    )
    monkeypatch.setattr(recipes, "FOLDER", folder)
    monkeypatch.setattr(command, "FILE", tmp_path / "results.json")
    (tmp_path / "results.md").write_text(f"{page.BEGIN}\n{page.END}\n")
    monkeypatch.setattr(command, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(rows, "FILE", tmp_path / "results.json")
    monkeypatch.setattr(command, "read_rows", lambda: rows.read_rows(tmp_path / "results.json"))
    monkeypatch.setattr(command, "_commit", lambda: "abc")
    return [f"{name}={value}" for name, value in places.items()]


def test_what_was_written_is_found_again(own_recipes, tmp_path, capsys):
    assert main(["results", "--write", *own_recipes]) == 0
    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert row["seeds"] == [1, 2] and row["commit"] == "abc" and row["settings"]["epochs"] == 2
    assert page.tables([row]) in (tmp_path / "results.md").read_text()
    assert main(["results", "--seeds", "1", *own_recipes]) == 0
    assert "agrees with" in capsys.readouterr().out
    row["metrics"]["recall@20"] += 0.5
    row["data"] = "other"
    (tmp_path / "results.json").write_text(json.dumps([row]))
    assert main(["results", "one", *own_recipes]) == 1
    out = capsys.readouterr().out
    assert "DIFFERS from" in out and "one: the files of tiny are not those of the row" in out


def test_a_recipe_is_a_command(own_recipes, capsys):
    assert main(["--recipe", "one", "seed=3", "--force", *own_recipes]) == 0
    out = capsys.readouterr().out
    assert "  recipes/one.yaml:     epochs=2  topk=[10, 20]  reg_weight=0.1\n" in out
    given = out[out.index("  command line: ") :]
    assert "seed=3" in given.splitlines()[0]


def test_a_long_name_stands_in_a_line_of_its_own(own_recipes, capsys):
    (recipes.FOLDER / "one.yaml").rename(recipes.FOLDER / "one-of-a-longer-name.yaml")
    assert main(["--recipe", "one-of-a-longer-name", "seed=3", "--force", *own_recipes]) == 0
    own = f"  recipes/one-of-a-longer-name.yaml:\n{'':24}epochs=2  topk=[10, 20]  reg_weight=0.1\n"
    assert own in capsys.readouterr().out


def test_a_fault_of_a_recipe_names_the_recipe(own_recipes, capsys):
    path = recipes.FOLDER / "one.yaml"
    path.write_text(path.read_text() + "reg_wieght: 1\n")
    assert main(["--recipe", "one", *own_recipes]) == 2
    assert "unknown setting 'reg_wieght' for BPR (recipes/one.yaml)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        (["--recipe", "oen"], "no recipe 'oen'; there are one; did you mean 'one'?"),
        (["--recipe", "one", "-m", "BPR"], "--recipe names model and data set"),
        (["results", "reg_weight=1"], "reg_weight is fixed by the recipes"),
        (["results", "--write", "--seeds", "1"], "--write keeps means over all seeds"),
    ],
)
def test_what_cannot_be_says_why(own_recipes, words, message, capsys):
    assert main(words) != 0
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["model", "dataset", "features", "seed"])
def test_an_incomplete_recipe_says_what_it_lacks(own_recipes, missing):
    path = recipes.FOLDER / "one.yaml"
    path.write_text(
        "".join(line for line in path.read_text().splitlines(True) if not line.startswith(missing))
    )
    with pytest.raises(recipes.UserError, match=f"recipes/one.yaml has no line '{missing}: ...'"):
        read_recipe("one")


def test_true_features_need_no_quotes(own_recipes):
    path = recipes.FOLDER / "one.yaml"
    path.write_text(path.read_text().replace("features: none", "features: true"))
    assert read_recipe("one").features == "true"
    path.write_text(path.read_text().replace("features: true", "features: real"))
    with pytest.raises(UserError, match="features is 'real'; expected one of none, graph, surrogate, true"):
        read_recipe("one")


def test_without_its_data_a_recipe_is_skipped_unless_it_is_named(own_recipes, tmp_path, capsys):
    words = [word for word in own_recipes if not word.startswith("data_path=")] + [f"data_path={tmp_path}"]
    assert main(["results", *words]) == 1, "nothing could be run"
    assert "one: skipped, " in capsys.readouterr().out
    assert main(["results", "one", *words]) != 0
