"""Plots by themselves; test_page.py has them on a page."""

from __future__ import annotations

import numpy as np

from utils.leaderboard import drawing, plots
from utils.leaderboard.board import Board, Row, Stat


def test_many_models_have_distinct_looks():
    look = drawing.looks([f"M{number}" for number in range(18)])
    assert len(set(map(str, look.values()))) == 18


def test_labels_are_apart_and_near():
    places = drawing.spread([0.5, 0.5, 0.5, 0.9, 0.1], gap=0.1)
    assert sorted(places)[0] == 0.1 and max(places) == 0.9
    assert min(b - a for a, b in zip(sorted(places), sorted(places)[1:], strict=False)) > 0.0999


def test_labels_of_points_that_lie_close_meet_nothing():
    places = np.random.default_rng(0).uniform((120, 60), (220, 140), size=(17, 2))
    offsets = drawing.free_offsets(places, [40.0] * 17, (0, 0, 340, 200))
    assert any(offset not in drawing.BESIDE for offset in offsets)  # some had to go farther off
    boxes = []
    for (x, y), (right, up) in zip(places, offsets, strict=True):
        left = x + right - {1: 0, 0: 20, -1: 40}[np.sign(right)]
        boxes.append((left, y + up - 5, left + 40, y + up + 5))
    assert all(0 <= box[0] and box[2] <= 340 and 0 <= box[1] and box[3] <= 200 for box in boxes)
    for number, (left, bottom, right, top) in enumerate(boxes):
        assert not any(left < x < right and bottom < y < top for x, y in places)
        assert not any(left < b[2] and b[0] < right and bottom < b[3] and b[1] < top for b in boxes[:number])


def test_a_lone_label_stands_at_the_right_and_at_the_edge_at_the_left():
    places = np.array([[20.0, 50.0], [290.0, 50.0]])
    assert drawing.free_offsets(places, [40.0, 40.0], (0, 0, 300, 100)) == [(8, 0), (-8, 0)]


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
