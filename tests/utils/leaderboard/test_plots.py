"""Plots by themselves; test_page.py has them on a page."""

from __future__ import annotations

from utils.leaderboard import drawing, plots
from utils.leaderboard.board import Board, Row, Stat


def test_many_models_have_distinct_looks():
    look = drawing.looks([f"M{number}" for number in range(18)])
    assert len(set(map(str, look.values()))) == 18


def test_labels_are_apart_and_near():
    places = drawing.spread([0.5, 0.5, 0.5, 0.9, 0.1], gap=0.1)
    assert sorted(places)[0] == 0.1 and max(places) == 0.9
    assert min(b - a for a, b in zip(sorted(places), sorted(places)[1:], strict=False)) > 0.0999


def test_plots_of_foreign_rows_alone_are_empty_or_drawn():
    row = Row("tiny", "A", {"recall@20": Stat(0.1)}, lambda: None, lambda: None)
    board = Board("tiny", "recall@20", [row], [])
    look = drawing.looks(["A"])
    assert (
        plots.learning_curves(board, look)
        == plots.accuracy_against_time(board, look)
        == plots.lead(board)
        == ""
    )
    assert plots.metric_by_model(board).startswith("<svg")
