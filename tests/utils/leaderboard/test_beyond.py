"""The second table: the same figures in every form and on the page, and nothing where nothing is known."""

from __future__ import annotations

import csv
import io
import re

import pytest
from boards import R20, board

from utils.leaderboard.beyond import MEASURES, beyond_explained, beyond_table, columns
from utils.leaderboard.formats import FORMATS
from utils.leaderboard.insights import Insights, insights
from utils.leaderboard.page import page


@pytest.fixture
def shown(lab):
    """A board of two models, and its insights."""
    lab.trial("BPR", quality=0.5)
    lab.trial("VBPR", quality=1.5)
    found = board(lab)
    return found, insights(found)


def test_csv_has_what_was_found_in_full(shown):
    found, seen = shown
    records = {
        line["model"]: line for line in csv.DictReader(io.StringIO(FORMATS["csv"]([found], {"tiny": seen})))
    }
    for model, record in records.items():
        for name, value in seen.beyond[model].items():
            assert float(record[name]) == value
        for label, (value, _) in seen.users[model].items():
            assert float(record[f"{R20} of users with {label}"]) == value
        for label, (value, _) in seen.items[model].items():
            assert float(record[f"recall@20 of {label} items"]) == value


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "page"])
def test_every_form_shows_the_cells_of_the_one_table(shown, form):
    found, seen = shown
    write = page if form == "page" else FORMATS[form]
    text = write([found], {"tiny": seen})
    table = beyond_table(found, seen)
    assert {len(row) for row in table.rows} == {len(table.header)}
    for row in table.rows:
        assert all(cell.text in text for cell in row)
    assert "coverage: share of all items" in text


@pytest.mark.parametrize("form", FORMATS)
def test_without_insights_nothing_is_added(shown, form):
    found, _ = shown
    assert FORMATS[form]([found], {}) == FORMATS[form]([found], None)
    assert "coverage" not in FORMATS[form]([found], {"other": shown[1]})


def test_of_groups_alone_the_best_is_marked(shown):
    table = beyond_table(*shown)
    marks = {title: {row[place].mark for row in table.rows} for place, title in enumerate(table.header)}
    assert marks["coverage"] == marks["diversity image"] == {""}
    assert marks["items popular"] == {"best", "second"}


def test_sizes_of_groups_are_told(shown):
    found, seen = shown
    (line,) = [line for line in beyond_explained(found, seen) if line.startswith("users")]
    for label, (_, size) in seen.users["BPR"].items():
        assert f"{label.removesuffix(' interactions')} ({size})" in line


@pytest.mark.parametrize("form", [*FORMATS, "page"])
def test_a_diversity_that_does_not_exist_is_missing_and_never_nan(lab, form):
    lab.trial("BPR", topk=[1, 20], metrics=["Recall"])
    found = board(lab, metric="recall@1")
    seen = insights(found)
    assert str(seen.beyond["BPR"]["diversity-image@1"]) == "nan"
    table = beyond_table(found, seen)
    assert table.rows[0][table.header.index("diversity image")].value is None
    text = (page if form == "page" else FORMATS[form])([found], {"tiny": seen})
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_nothing_known_is_no_table(shown):
    found, _ = shown
    assert beyond_table(found, Insights()) is None and columns(found, Insights()) == []


def test_every_measure_is_explained(shown):
    names = {column.name.partition("@")[0].partition("-")[0] for column in columns(*shown)[:7]}
    assert names == set(MEASURES)
