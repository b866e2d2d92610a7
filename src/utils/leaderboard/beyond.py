"""The second table of a board: what its lists are like beyond accuracy, and whom they serve."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from utils.leaderboard.board import Board
from utils.leaderboard.insights import Groups, Insights, group_labels
from utils.leaderboard.tables import DECIMALS, Cell, Table, best_two, number

MEASURES = {
    "coverage": ("share of all items that are in any list", 3),
    "gini": ("how unevenly items are listed: 0 all alike, 1 one item alone", 3),
    "popularity": ("mean training interactions of the listed items", 1),
    "novelty": ("mean bits of surprise of the listed items", 2),
    "tail": (
        "share of listed items outside the most popular, which hold 80 % of the training interactions",
        3,
    ),
    "diversity": ("mean 1 - cosine of a modality's features between the items of a list", 3),
}
"""Of each measure beyond accuracy: what it is, and its decimals."""

MARKED = "Of groups, best in bold, second underlined."


class Column(NamedTuple):
    """Values by model; `name` says in full what `title` says in the table."""

    title: str
    name: str
    values: Mapping[str, float]
    decimals: int = DECIMALS
    marked: bool = True
    """Whether the highest value is the best."""

    def of(self, model: str) -> float | None:
        """None where it is not known, and for NaN, which says the same."""
        value = self.values.get(model)
        return None if value is None or math.isnan(value) else value


def columns(board: Board, found: Insights) -> list[Column]:
    """What is known of the lists of the models of a board."""
    names = dict.fromkeys(name for of_model in found.beyond.values() for name in of_model)
    measures = []
    for name in names:
        values = {model: of_model[name] for model, of_model in found.beyond.items() if name in of_model}
        title = name.partition("@")[0].replace("-", " ", 1)
        measures.append(Column(title, name, values, MEASURES[_measure(name)][1], marked=False))
    k = board.metric.partition("@")[2]
    users = [
        Column(f"users {_short(label)}", f"{board.metric} of users with {label}", values)
        for label, values in _by_label(found.users)
    ]
    items = [
        Column(f"items {label}", f"recall@{k} of {label} items", values)
        for label, values in _by_label(found.items)
    ]
    return [*measures, *users, *items]


def beyond_table(board: Board, found: Insights) -> Table | None:
    """A row for every model of which something is known."""
    all_columns = columns(board, found)
    models = [row.model for row in board.rows if any(row.model in column.values for column in all_columns)]
    if not models:
        return None
    cells = [[Cell(model) for model in models], *(_cells(column, models) for column in all_columns)]
    header = ["model", *(column.title for column in all_columns)]
    return Table(header, [list(row) for row in zip(*cells, strict=True)])


def beyond_caption(board: Board) -> str:
    k = board.metric.partition("@")[2]
    return (
        f"Of the first {k} items of the test lists of the first seed; results of users are means over seeds."
    )


def beyond_explained(board: Board, found: Insights) -> list[str]:
    """What the columns are, and how many users and items the groups have."""
    shown = {_measure(name) for of_model in found.beyond.values() for name in of_model}
    lines = [f"{name}: {text}" for name, (text, _) in MEASURES.items() if name in shown]
    if found.users:
        lines.append(
            f"users: {board.metric} by number of training interactions (of so many users): {_sizes(found.users)}"
        )
    if found.items:
        lines.append(
            f"items: share of the test pairs that are in the user's list, by the item (of so many pairs): "
            f"{_sizes(found.items)}; popular items hold 80 % of the training interactions, cold ones have none"
        )
    return lines


def _measure(name: str) -> str:
    """
    >>> _measure("diversity-image@20")
    'diversity'
    """
    return name.partition("@")[0].partition("-")[0]


def _short(label: str) -> str:
    return label.removesuffix(" interactions")


def _by_label(groups: Groups) -> Iterator[tuple[str, dict[str, float]]]:
    """Label and the values by model of every group."""
    for label in group_labels(groups):
        yield label, {model: of_model[label][0] for model, of_model in groups.items() if label in of_model}


def _sizes(groups: Groups) -> str:
    """How large the groups are, those of the first model that has them."""
    labels = group_labels(groups)
    size = {label: next(one[label][1] for one in groups.values() if label in one) for label in labels}
    return ", ".join(f"{_short(label)} ({number:,})" for label, number in size.items())


def _cells(column: Column, models: list[str]) -> list[Cell]:
    values = [column.of(model) for model in models]
    marks = best_two([v for v in values if v is not None], column.decimals) if column.marked else {}
    return [number(value, column.decimals, marks=marks) for value in values]
