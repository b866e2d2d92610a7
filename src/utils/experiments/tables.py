"""A leaderboard as text: for the terminal, as CSV, as Markdown and as LaTeX."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from utils.experiments.leaderboard import Board, Row, Stat, join
from utils.experiments.report import TABLE_METRICS, assignments

BEST, SECOND = "best", "second"
DECIMALS = 4
NOTHING = "-"


@dataclass(frozen=True)
class Cell:
    """What is shown, the number it is sorted by, and whether it is the best or the second of its column."""

    text: str = NOTHING
    value: float | None = None
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """The first and the last column, model and settings, are text, all others numbers."""

    header: list[str]
    rows: list[list[Cell]]
    published: list[list[Cell]]
    """Rows of figures by others, the source in place of the settings."""


def table(board: Board) -> Table:
    """What all forms of a leaderboard but CSV show."""
    names = shown_metrics(board)
    metric = _one({row.valid_metric for row in board.rows if row.valid_metric})
    header = ["model", *names, f"valid {metric}" if metric else "validation", "seeds", "tried", "runs"]
    header += ["parameters", "s/epoch", "peak MB", "settings"]
    marks = {name: _marks(board.rows, name) for name in names}
    rows = [
        [Cell(row.model), *(_stat(row.test.get(n), marks[n]) for n in names), *_rest(row, named=not metric)]
        for row in board.rows
    ]
    published = [
        [
            Cell(f.model),
            *(_number(f.metrics.get(n), DECIMALS) for n in names),
            *[Cell("")] * 7,
            Cell(f.source),
        ]
        for f in board.published
        if any(name in f.metrics for name in names)
    ]
    return Table(header, rows, published)


def shown_metrics(board: Board) -> list[str]:
    """The metrics that papers of this field report, and the one that was asked for."""
    shown = [name for name in board.names if name in TABLE_METRICS or name == board.metric]
    return shown if len(shown) > 1 else list(dict.fromkeys([board.metric, *board.names]))[:4]


def _rest(row: Row, named: bool) -> list[Cell]:
    """The cells behind the test metrics; `named` adds the validation metric where rows have several."""
    valid = _stat(row.valid.get(row.valid_metric), {})
    if named and row.valid_metric:
        valid = Cell(f"{row.valid_metric} {valid.text}", valid.value)
    failed = f", {row.n_failed} failed" if row.n_failed else ""
    counts = [Cell()] * 3
    if row.runs:
        counts = [
            _number(len(row.runs)),
            _number(row.n_settings),
            Cell(f"{row.n_runs:,}{failed}", row.n_runs),
        ]
    settings = Cell((assignments(row.chosen) or "defaults") if row.runs else NOTHING)
    measured = _number(row.seconds_per_epoch, 2), _number(row.peak_memory_mb)
    return [valid, *counts, _number(row.trainable), *measured, settings]


def _number(value: float | None, decimals: int = 0) -> Cell:
    return Cell() if value is None else Cell(f"{value:,.{decimals}f}", value)


def _stat(stat: Stat | None, marks: Mapping[float, str]) -> Cell:
    """Mean, with the standard deviation where there are several seeds."""
    if stat is None:
        return Cell()
    text = f"{stat.mean:.{DECIMALS}f}" + ("" if stat.sd is None else f" ± {stat.sd:.{DECIMALS}f}")
    return Cell(text, stat.mean, marks.get(round(stat.mean, DECIMALS), ""))


def _marks(rows: Sequence[Row], name: str) -> dict[float, str]:
    """The two highest means as they are shown, so that equal figures are marked alike; none for a single row."""
    means = [round(row.test[name].mean, DECIMALS) for row in rows if name in row.test]
    if len(means) < 2:
        return {}
    return dict(zip(sorted(set(means), reverse=True), (BEST, SECOND), strict=False))


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
    rows = [row for row in board.rows if row.runs]
    defaults = [row.model for row in rows if not row.chosen]
    lines = [f"{row.model}: {assignments(row.chosen)}" for row in rows if row.chosen]
    return lines + [f"{join(defaults)}: defaults"] * bool(defaults)


def terminal(boards: Iterable[Board], styled: bool = False) -> str:
    """For a terminal; `styled` uses bold and underline instead of signs."""
    return "\n\n".join("\n".join(_terminal_lines(board, styled)) for board in boards) + "\n"


def _terminal_lines(board: Board, styled: bool) -> list[str]:
    whole = table(board)
    ours = [row[:-1] for row in whole.rows]
    published = [[Cell(f"{row[0].text}: {row[-1].text}"), *row[1:-1]] for row in whole.published]
    cells = [[Cell(title) for title in whole.header[:-1]], *ours, *published]
    widths = [max(len(_signed(row[i], styled)) for row in cells) for i in range(len(cells[0]))]
    header, *lines = [_terminal_row(row, widths, styled) for row in cells]
    rule = "-" * len(header)
    legend = "best in bold, second underlined" if styled else "* best, + second"
    result = [f"{board.dataset}: {legend}", header, rule, *lines[: len(ours)]]
    if published:
        result += ["", "published, of the same protocol", *lines[len(ours) :]]
    width = max(len(rule), 100)
    result += ["", *wrap(explanation(board), width), "", "settings", *_indented(settings_lines(board), width)]
    for title, sentences in (("significance", board.sentences()), ("warnings", board.warnings)):
        if sentences:
            result += ["", title, *_indented(sentences, width)]
    return result


def _indented(lines: Iterable[str], width: int) -> list[str]:
    return [
        part for line in lines for part in wrap(line, width, initial_indent="  ", subsequent_indent="    ")
    ]


def _terminal_row(row: Sequence[Cell], widths: Sequence[int], styled: bool) -> str:
    """The first cell to the left, the others to the right."""
    parts = []
    for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
        text = _signed(cell, styled)
        padding = " " * (width - len(text))
        if styled and cell.mark:
            text = f"\033[{1 if cell.mark == BEST else 4}m{text}\033[0m"
        parts.append(padding + text if i else text + padding)
    return "  ".join(parts).rstrip()


def _signed(cell: Cell, styled: bool) -> str:
    sign = {"": " ", BEST: "*", SECOND: "+"}[cell.mark]
    return cell.text if styled or cell.value is None else cell.text + sign


def as_csv(boards: Iterable[Board]) -> str:
    """Every value in a column of its own, in full precision; published figures are rows with their source."""
    boards = list(boards)
    names = list(dict.fromkeys(name for board in boards for name in board.names))
    records = [record for board in boards for record in _records(board, names)]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(records[0]), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def _records(board: Board, names: Sequence[str]) -> list[dict[str, Any]]:
    ours = [_record(board.dataset, row, names) for row in board.rows]
    others = [
        {"data set": board.dataset, "model": f.model, "source": f"published: {f.source}"}
        | {name: f.metrics[name] for name in names if name in f.metrics}
        for f in board.published
    ]
    return ours + others


def _record(dataset: str, row: Row, names: Sequence[str]) -> dict[str, Any]:
    record = {"data set": dataset, "model": row.model, "source": "run here" if row.runs else "foreign list"}
    for name in names:
        stat = row.test.get(name, Stat(None))
        record |= {name: stat.mean, f"{name} sd": stat.sd}
    valid = row.valid.get(row.valid_metric, Stat(None))
    return record | {
        "validation metric": row.valid_metric,
        "validation": valid.mean,
        "validation sd": valid.sd,
        "seeds": len(row.runs),
        "settings tried": row.n_settings,
        "runs": row.n_runs,
        "failed": row.n_failed,
        "best epochs": " ".join(map(str, row.best_epochs)),
        "parameters": row.trainable,
        "seconds per epoch": row.seconds_per_epoch,
        "seconds of training": row.seconds_training,
        "peak memory MB": row.peak_memory_mb,
        "settings": json.dumps(row.chosen) if row.runs else None,
    }


def as_markdown(boards: Iterable[Board]) -> str:
    return "\n\n".join("\n".join(_markdown_lines(board)) for board in boards) + "\n"


def _markdown_lines(board: Board) -> list[str]:
    whole = table(board)
    alignment = ["---", *["---:"] * (len(whole.header) - 2), "---"]
    published = [[Cell(f"{row[0].text} (published)"), *row[1:]] for row in whole.published]
    lines = [f"### {_markdown(Cell(board.dataset))}", "", _markdown_row(map(Cell, whole.header))]
    lines += [f"| {' | '.join(alignment)} |", *map(_markdown_row, [*whole.rows, *published])]
    lines += ["", f"**Best**, <u>second</u>. {explanation(board)}"]
    for title, sentences in (("Significance", board.sentences()), ("Warnings", board.warnings)):
        if sentences:
            lines += ["", f"{title}:", "", *(f"- {_markdown(Cell(sentence))}" for sentence in sentences)]
    return lines


def _markdown_row(cells: Iterable[Cell]) -> str:
    return f"| {' | '.join(map(_markdown, cells))} |"


def _markdown(cell: Cell) -> str:
    text = re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", cell.text)
    return {"": text, BEST: f"**{text}**", SECOND: f"<u>{text}</u>"}[cell.mark]


def as_latex(boards: Iterable[Board]) -> str:
    """A table per data set, to be pasted into a paper."""
    head = r"% in the preamble: \usepackage{booktabs} for the rules, \usepackage{graphicx} for the width"
    return "\n\n".join([head, *("\n".join(_latex_lines(board)) for board in boards)]) + "\n"


def _latex_lines(board: Board) -> list[str]:
    whole = table(board)
    numbers = len(whole.header) - 2
    published = [[Cell(f"{row[0].text} ({row[-1].text})"), *row[1:]] for row in whole.published]
    caption = f"Results on {board.dataset}. Best in bold, second underlined. {explanation(board)}"
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{_latex(Cell(caption))}}}",
        rf"\label{{tab:{re.sub('[^A-Za-z0-9]+', '-', board.dataset)}}}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * numbers}}}",
        r"\toprule",
        _latex_row(map(Cell, whole.header[:-1])),
        r"\midrule",
        *(_latex_row(row[:-1]) for row in whole.rows),
    ]
    if published:
        lines += [r"\midrule", rf"\multicolumn{{{numbers + 1}}}{{l}}{{published, of the same protocol}} \\"]
        lines += [_latex_row(row[:-1]) for row in published]
    lines += [r"\bottomrule", r"\end{tabular}}", "", r"\smallskip"]
    lines += [rf"\footnotesize Settings. {_latex(Cell('; '.join(settings_lines(board))))}."]
    return [*lines, r"\end{table*}"]


def _latex_row(cells: Iterable[Cell]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", '"': r"\textquotedbl{}",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}  # fmt: skip


def _latex(cell: Cell) -> str:
    text = "".join(LATEX.get(sign, sign) for sign in cell.text)
    return {"": text, BEST: rf"\textbf{{{text}}}", SECOND: rf"\underline{{{text}}}"}[cell.mark]


FORMATS: Mapping[str, Callable[[Iterable[Board]], str]] = {
    "terminal": terminal,
    "csv": as_csv,
    "markdown": as_markdown,
    "latex": as_latex,
}
