"""What the tables of a leaderboard hold, whatever form they take: cells with marks, and what the columns are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from utils.experiments.report import TABLE_METRICS, assignments
from utils.leaderboard.board import Board, Row, Stat
from utils.leaderboard.words import join

BEST, SECOND = "best", "second"
DECIMALS = 4
NOTHING = "-"
NO_MARKS: Mapping[float, str] = {}


@dataclass(frozen=True)
class Cell:
    """What is shown, the number it is sorted by, and whether it is the best or the second of its column."""

    text: str = NOTHING
    value: float | None = None
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A row per model, whose name is the first cell; `published` holds rows of figures by others."""

    header: list[str]
    rows: list[list[Cell]]
    published: list[list[Cell]] = field(default_factory=list)


def table(board: Board) -> Table:
    """What all forms of a leaderboard but CSV show; the last column is the settings, or a figure's source."""
    names = shown_metrics(board)
    metric = _one({row.valid_metric for row in board.rows if row.valid_metric})
    header = ["model", *names, f"valid {metric}" if metric else "validation", "seeds", "tried", "runs"]
    header += ["parameters", "s/epoch", "peak MB", "settings"]
    marked = {name: best_two(row.test[name].mean for row in board.rows if name in row.test) for name in names}
    rows = [
        [Cell(row.model), *(_stat(row.test.get(n), marked[n]) for n in names), *_rest(row, named=not metric)]
        for row in board.rows
    ]
    empty = [Cell("")] * (len(header) - len(names) - 2)
    published = [
        [Cell(f.model), *(number(f.metrics.get(n), DECIMALS) for n in names), *empty, Cell(f.source)]
        for f in board.published
        if any(name in f.metrics for name in names)
    ]
    return Table(header, rows, published)


def without_settings(whole: Table) -> Table:
    """Its rows without their last column, for where there is no room: the settings stand below it."""
    return Table(whole.header[:-1], [row[:-1] for row in whole.rows])


def shown_metrics(board: Board) -> list[str]:
    """The metrics that papers of this field report, and the one that was asked for."""
    shown = [name for name in board.names if name in TABLE_METRICS or name == board.metric]
    return shown if len(shown) > 1 else list(dict.fromkeys([board.metric, *board.names]))[:4]


def _rest(row: Row, named: bool) -> list[Cell]:
    """The cells behind the test metrics; `named` adds the validation metric where rows have several."""
    valid = _stat(row.valid.get(row.valid_metric))
    if named and row.valid_metric:
        valid = Cell(f"{row.valid_metric} {valid.text}", valid.value)
    failed = f", {row.n_failed} failed" if row.n_failed else ""
    counts = [Cell()] * 3
    if row.runs:
        counts = [
            number(len(row.runs)),
            number(row.n_settings),
            Cell(f"{row.n_runs:,}{failed}", row.n_runs),
        ]
    settings = Cell((assignments(row.chosen) or "defaults") if row.runs else NOTHING)
    measured = number(row.seconds_per_epoch, 2), number(row.peak_memory_mb)
    return [valid, *counts, number(row.trainable), *measured, settings]


def number(
    value: float | None, decimals: int = 0, sign: str = "", marks: Mapping[float, str] = NO_MARKS
) -> Cell:
    if value is None:
        return Cell()
    return Cell(f"{value:{sign},.{decimals}f}", value, marks.get(round(value, decimals), ""))


def _stat(stat: Stat | None, marks: Mapping[float, str] = NO_MARKS) -> Cell:
    """Mean, with the standard deviation where there are several seeds."""
    if stat is None:
        return Cell()
    mean = number(stat.mean, DECIMALS, marks=marks)
    return mean if stat.sd is None else replace(mean, text=f"{mean.text} ± {stat.sd:.{DECIMALS}f}")


def best_two(values: Iterable[float], decimals: int = DECIMALS) -> dict[float, str]:
    """The two highest as they are shown, so that equal figures are marked alike; none where all are equal, and no 0."""
    shown = sorted({round(value, decimals) for value in values}, reverse=True)
    marks = dict(zip(shown, (BEST, SECOND), strict=False)) if len(shown) > 1 else {}
    return {value: mark for value, mark in marks.items() if value}


def _one(values: set[str]) -> str | None:
    return values.pop() if len(values) == 1 else None


def explanation(board: Board) -> str:
    """What the figures and the columns are."""
    several = any(len(row.runs) > 1 for row in board.rows)
    over = "mean ± standard deviation over seeds" if several else "a single seed"
    return (
        f"Test metrics of the settings that validation chose, {over}. Columns: tried, how many settings there were "
        f"to choose from; runs, all of them with all seeds; parameters, the trainable ones; s/epoch, seconds of "
        f"training and validation."
    )


def settings_lines(board: Board) -> list[str]:
    """The winners' settings as far as they are worth naming."""
    models: dict[str, list[str]] = {}
    for row in board.rows:
        if row.runs:
            models.setdefault(assignments(row.chosen) or "defaults", []).append(row.model)
    return [f"{join(names)}: {settings}" for settings, names in models.items()]


def published_table(board: Board) -> Table | None:
    """Figures by others beside the mean of ours, and the difference, for the metric of the board."""
    ours = {row.model: row.test[board.metric].mean for row in board.rows if board.metric in row.test}
    names = [name for name in shown_metrics(board) if any(name in f.metrics for f in board.published)]
    rows = []
    for figure in board.published:
        theirs, own = figure.metrics.get(board.metric), ours.get(figure.model)
        gap = None if theirs is None or own is None else own - theirs
        cells = [number(figure.metrics.get(name), DECIMALS) for name in names]
        rows.append([Cell(figure.model), *cells, number(gap, DECIMALS, "+"), Cell(figure.source)])
    return Table(["model", *names, f"ours - theirs, {board.metric}", "source"], rows) if rows else None
