"""The example model of docs/plugin.md: the page quotes it, and it trains here as it is."""

from __future__ import annotations

import ast

import pytest

from utils.config import PROJECT
from utils.quick_start import quick_start

EXAMPLES = PROJECT / "examples"
FILES = ("models/contentbpr.py", "configs/model/ContentBPR.yaml")


@pytest.mark.parametrize("name", FILES)
def test_the_page_quotes_the_file(name):
    page = (PROJECT / "docs" / "plugin.md").read_text()
    language = "python" if name.endswith(".py") else "yaml"
    assert f"```{language}\n{(EXAMPLES / name).read_text()}```\n" in page


def test_it_is_about_thirty_lines_and_uses_names_that_both_have():
    text = (EXAMPLES / FILES[0]).read_text()
    tree = ast.parse(text)
    assert len([line for line in text.splitlines() if line.strip()]) <= 35
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"torch", "common.abstract_recommender", "common.init", "common.loss"}


def test_it_trains_here(tmp_path):
    places = {name: str(tmp_path / name) for name in ("data_path", "runs_path", "cache_path")}
    sweep = quick_start("ContentBPR", "demo", places | {"models_dir": str(EXAMPLES), "epochs": 2})
    (trial,) = sweep.trials
    losses = [epoch["loss"] for epoch in trial.history]
    assert len(losses) == 2 and losses[1] < losses[0]
    assert trial.test["recall@20"] > 0
