"""A leaderboard as one HTML page that needs nothing else: sortable tables, plots, tests in words, warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from utils.leaderboard import plots
from utils.leaderboard.beyond import MARKED, beyond_caption, beyond_explained, beyond_table
from utils.leaderboard.board import Board
from utils.leaderboard.drawing import Look, looks
from utils.leaderboard.insights import Insights
from utils.leaderboard.tables import (
    Table,
    explanation,
    published_table,
    settings_lines,
    table,
    without_settings,
)

TEMPLATE = "page.html.j2"


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
    beyond_caption: str
    beyond_explained: list[str]
    notes: list[str]


def page(boards: Sequence[Board], found: Mapping[str, Insights]) -> str:
    """The page; `found` are the insights by data set."""
    look = looks(sorted(row.model for board in boards for row in board.rows))
    sections = [_section(board, found[board.dataset], look) for board in boards]
    dates = [run.environment("date") for board in boards for row in board.rows for run in row.runs]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(sections=sections, latest=max(dates))


def _section(board: Board, found: Insights, look: Mapping[str, Look]) -> Section:
    return Section(
        board=board,
        table=without_settings(table(board)),
        settings=settings_lines(board),
        explanation=explanation(board),
        protocol=protocol(board),
        published=published_table(board),
        pictures=[picture for picture in _pictures(board, found, look) if picture.svgs],
        beyond=beyond_table(board, found),
        beyond_caption=f"{beyond_caption(board)} {MARKED}",
        beyond_explained=beyond_explained(board, found),
        notes=found.notes,
    )


def protocol(board: Board) -> str:
    """How the test of the best row was ranked."""
    settings = board.first_run.settings
    masked = "training and validation" if settings["mask_validation_at_test"] else "training"
    cold = "" if settings["filter_out_cod_start_users"] else ", users without training items among them"
    return f"All items are ranked for every test user{cold}, without the user's {masked} items."


def _pictures(board: Board, found: Insights, look: Mapping[str, Look]) -> list[Picture]:
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
         "interactions.", plots.groups(board, found.users, "user")),
        ("Popular and rare items", f"Share of the test items of a group that are in the first "
         f"{metric.partition('@')[2]} of their user's list. Popular items hold 80 % of the training interactions, "
         "cold ones have none.", plots.groups(board, found.items, "test pair")),
    ]  # fmt: skip
    return [
        Picture(title, caption, [Markup(svg) for svg in svgs if svg]) for title, caption, svgs in pictures
    ]
