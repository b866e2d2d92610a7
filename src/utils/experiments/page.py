"""A leaderboard as one HTML page that needs nothing else: sortable tables, plots, tests in words, warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from utils.experiments import plots
from utils.experiments.leaderboard import Board, Insights, insights
from utils.experiments.tables import Cell, Table, explanation, settings_lines, shown_metrics, table

TEMPLATE = "page.html.j2"

BEYOND = {
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


@dataclass(frozen=True)
class Picture:
    """One plot or several of a kind, with what there is to see."""

    title: str
    caption: str
    svgs: list[Markup]


@dataclass(frozen=True)
class Section:
    """What the page shows of a board."""

    board: Board
    table: Table
    settings: list[str]
    explanation: str
    protocol: str
    published: Table | None
    pictures: list[Picture]
    beyond: Table | None
    beyond_explained: list[str]
    notes: list[str]


def page(boards: Sequence[Board], places: Mapping[str, Any] | None = None) -> str:
    """The page; `places` (data_path, cache_path) says where the data is, if not where the trials had it."""
    look = plots.looks(sorted(row.model for board in boards for row in board.rows))
    sections = [_section(board, insights(board, places), look) for board in boards]
    dates = [run.environment("date") for board in boards for row in board.rows for run in row.runs]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(sections=sections, latest=max(dates))


def _section(board: Board, found: Insights, look: Mapping[str, plots.Look]) -> Section:
    beyond = beyond_table(board, found)
    shown = {name.partition("@")[0].partition("-")[0] for name in beyond.header} if beyond else ()
    return Section(
        board=board,
        table=without_settings(table(board)),
        settings=settings_lines(board),
        explanation=explanation(board),
        protocol=protocol(board),
        published=published_table(board),
        pictures=[picture for picture in _pictures(board, found, look) if picture.svgs],
        beyond=beyond,
        beyond_explained=[f"{name}: {text}" for name, (text, _) in BEYOND.items() if name in shown],
        notes=found.notes,
    )


def without_settings(whole: Table) -> Table:
    """A table that is as wide as a page: the settings stand below it."""
    return Table(whole.header[:-1], [row[:-1] for row in whole.rows], [])


def protocol(board: Board) -> str:
    """How the test of the best row was ranked."""
    settings = next(row.settings for row in board.rows if row.runs)
    masked = "training and validation" if settings["mask_validation_at_test"] else "training"
    cold = "" if settings["filter_out_cod_start_users"] else ", users without training items among them"
    return f"All items are ranked for every test user{cold}, without the user's {masked} items."


def published_table(board: Board) -> Table | None:
    """Figures by others beside the mean of ours, and the difference, for the metric of the board."""
    ours = {row.model: row.test[board.metric].mean for row in board.rows if board.metric in row.test}
    names = [name for name in shown_metrics(board) if any(name in f.metrics for f in board.published)]
    rows = []
    for figure in board.published:
        theirs, own = figure.metrics.get(board.metric), ours.get(figure.model)
        gap = None if theirs is None or own is None else own - theirs
        cells = [_cell(figure.metrics.get(name), 4) for name in names]
        rows.append([Cell(figure.model), *cells, _cell(gap, 4, "+"), Cell(figure.source)])
    return Table(["model", *names, f"ours - theirs, {board.metric}", "source"], rows, []) if rows else None


def beyond_table(board: Board, found: Insights) -> Table | None:
    """Measures beyond accuracy of every row that has them."""
    if not found.beyond:
        return None
    names = list(dict.fromkeys(name for of_model in found.beyond.values() for name in of_model))
    decimals = {name: BEYOND[name.partition("@")[0].partition("-")[0]][1] for name in names}
    rows = [
        [Cell(row.model), *(_cell(found.beyond[row.model].get(name), decimals[name]) for name in names)]
        for row in board.rows
        if row.model in found.beyond
    ]
    return Table(["model", *names], rows, [])


def _cell(value: float | None, decimals: int, sign: str = "") -> Cell:
    return Cell() if value is None else Cell(f"{value:{sign},.{decimals}f}", value)


def _pictures(board: Board, found: Insights, look: Mapping[str, plots.Look]) -> list[Picture]:
    metric = board.metric
    spread = (
        "; the bar is the standard deviation over seeds" if any(len(r.runs) > 1 for r in board.rows) else ""
    )
    others = "; hollow diamonds are published figures" if board.published else ""
    pictures = [
        ("Accuracy", f"Test {metric} of the settings that validation chose{spread}{others}.",
         [plots.metric_by_model(board)]),
        ("Lead", f"How far {board.rows[0].model} is ahead of every other, over the users of the test; the bar is the "
         "95 % bootstrap interval, and one across 0 is no lead to rely on.", [plots.lead(board)]),
        ("Accuracy and time", "The time of all epochs of a training, validation included; further up and to the left "
         "is better.", [plots.accuracy_against_time(board, look)]),
        ("Learning curves", "Validation after each epoch, with the first seed. The mark is the epoch whose weights "
         "were tested.", [plots.learning_curves(board, look)]),
    ]  # fmt: skip
    pictures += [
        (f"Sensitivity of {row.model}", "Validation at each value of a setting, the other settings being the "
         "winner's. The filled dot is what was chosen.", plots.sensitivity(row))
        for row in board.rows
    ]  # fmt: skip
    pictures += [
        ("Users with few and with many interactions", f"Test {metric} of users by their number of training "
         "interactions.", plots.groups(board, found.users, "users")),
        ("Popular and rare items", f"Share of the test items of a group that are in the first "
         f"{metric.partition('@')[2]} of their user's list. Popular items hold 80 % of the training interactions, "
         "cold ones have none.", plots.groups(board, found.items, "test pairs")),
    ]  # fmt: skip
    return [
        Picture(title, caption, [Markup(svg) for svg in svgs if svg]) for title, caption, svgs in pictures
    ]
