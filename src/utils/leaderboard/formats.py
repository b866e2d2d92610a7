"""A leaderboard as text: for the terminal, as CSV, as Markdown and as LaTeX.

Each form takes boards and, by data set, what is to be shown of them beyond accuracy.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any

from utils.leaderboard.beyond import MARKED, beyond_caption, beyond_explained, beyond_table, columns
from utils.leaderboard.board import Board, Row, Stat
from utils.leaderboard.insights import Insights
from utils.leaderboard.tables import BEST, SECOND, Cell, explanation, settings_lines, table, without_settings

Found = Mapping[str, Insights]
"""By data set; of those that are not in it nothing is shown beyond the results."""


def terminal(boards: Iterable[Board], found: Found | None = None, styled: bool = False) -> str:
    """For a terminal; `styled` uses bold and underline instead of signs."""
    blocks = [_terminal_lines(board, _of(board, found), styled) for board in boards]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _terminal_lines(board: Board, found: Insights, styled: bool) -> list[str]:
    whole = without_settings(table(board))
    others = [[Cell(f"{row[0].text}: {row[-1].text}"), *row[1:-1]] for row in table(board).published]
    header, rule, *lines = _grid([*whole.rows, *others], whole.header, styled)
    legend = "best in bold, second underlined" if styled else "* best, + second"
    result = [f"{board.dataset}: {legend}", header, rule, *lines[: len(whole.rows)]]
    if others:
        result += ["", "published, of the same protocol", *lines[len(whole.rows) :]]
    width = max(len(rule), 100)
    result += ["", *wrap(explanation(board), width)]
    if second := beyond_table(board, found):
        result += ["", "beyond accuracy", *_grid(second.rows, second.header, styled, folded=True), ""]
        result += [*wrap(beyond_caption(board), width), *_indented(beyond_explained(board, found), width)]
    sections = {
        "settings": settings_lines(board),
        "significance": board.sentences(),
        "warnings": [*board.warnings, *found.notes],
    }
    for title, sentences in sections.items():
        if sentences:
            result += ["", title, *_indented(sentences, width)]
    return result


def _of(board: Board, found: Found | None) -> Insights:
    return (found or {}).get(board.dataset, Insights())


def _indented(lines: Iterable[str], width: int) -> list[str]:
    return [
        part for line in lines for part in wrap(line, width, initial_indent="  ", subsequent_indent="    ")
    ]


def _grid(
    rows: Sequence[Sequence[Cell]], titles: Sequence[str], styled: bool, folded: bool = False
) -> list[str]:
    """A line of titles, or two where they are `folded` at their first space, a rule, and a line per row."""
    over, below = zip(*(_fold(title) if folded else ("", title) for title in titles), strict=True)
    cells = [list(map(Cell, over)), list(map(Cell, below)), *rows]
    widths = [max(len(_signed(cell, styled)) for cell in column) for column in zip(*cells, strict=True)]
    first, header, *lines = [_terminal_row(row, widths, styled) for row in cells]
    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    return [*filter(None, [first]), header, rule, *lines]


def _fold(title: str) -> tuple[str, str]:
    """
    >>> _fold("users 1-4"), _fold("model")
    (('users', '1-4'), ('', 'model'))
    """
    over, space, below = title.partition(" ")
    return (over, below) if space else ("", over)


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


def as_csv(boards: Iterable[Board], found: Found | None = None) -> str:
    """Every value in a column of its own, in full precision; published figures are rows with their source."""
    boards = list(boards)
    names = list(dict.fromkeys(name for board in boards for name in board.names))
    records = [record for board in boards for record in _records(board, _of(board, found), names)]
    fields = list(dict.fromkeys(name for record in records for name in record))
    file = io.StringIO()
    writer = csv.DictWriter(file, fields, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def _records(board: Board, found: Insights, names: Sequence[str]) -> list[dict[str, Any]]:
    beyond = columns(board, found)
    ours = [
        _record(board.dataset, row, names) | {one.name: one.of(row.model) for one in beyond}
        for row in board.rows
    ]
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
        "peak GPU memory MB": row.mean(lambda result: result.peak_gpu_memory_mb),
        "settings": json.dumps(row.chosen) if row.runs else None,
    }


def as_markdown(boards: Iterable[Board], found: Found | None = None) -> str:
    return "\n\n".join("\n".join(_markdown_lines(board, _of(board, found))) for board in boards) + "\n"


def _markdown_lines(board: Board, found: Insights) -> list[str]:
    whole = table(board)
    published = [[Cell(f"{row[0].text} (published)"), *row[1:]] for row in whole.published]
    numbers = len(whole.header) - 2
    lines = [f"### {_markdown(Cell(board.dataset))}", ""]
    lines += _markdown_table(whole.header, [*whole.rows, *published], ["---", *["---:"] * numbers, "---"])
    lines += ["", f"**Best**, <u>second</u>. {explanation(board)}"]
    if second := beyond_table(board, found):
        alignment = ["---", *["---:"] * (len(second.header) - 1)]
        lines += ["", "Beyond accuracy:", "", *_markdown_table(second.header, second.rows, alignment)]
        lines += ["", beyond_caption(board), "", *_markdown_list(beyond_explained(board, found))]
    sections = {"Significance": board.sentences(), "Warnings": [*board.warnings, *found.notes]}
    for title, sentences in sections.items():
        if sentences:
            lines += ["", f"{title}:", "", *_markdown_list(sentences)]
    return lines


def _markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[Cell]], alignment: Sequence[str]
) -> list[str]:
    return [_markdown_row(map(Cell, header)), f"| {' | '.join(alignment)} |", *map(_markdown_row, rows)]


def _markdown_list(lines: Iterable[str]) -> list[str]:
    return [f"- {_markdown(Cell(line))}" for line in lines]


def _markdown_row(cells: Iterable[Cell]) -> str:
    return f"| {' | '.join(map(_markdown, cells))} |"


def _markdown(cell: Cell) -> str:
    text = re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", cell.text)
    return {"": text, BEST: f"**{text}**", SECOND: f"<u>{text}</u>"}[cell.mark]


def as_latex(boards: Iterable[Board], found: Found | None = None) -> str:
    """Tables to be pasted into a paper."""
    head = r"% in the preamble: \usepackage{booktabs} for the rules, \usepackage{graphicx} for the width"
    parts = [part for board in boards for part in _latex_tables(board, _of(board, found))]
    return "\n\n".join([head, *("\n".join(part) for part in parts)]) + "\n"


def _latex_tables(board: Board, found: Insights) -> Iterator[list[str]]:
    whole = without_settings(table(board))
    published = [[Cell(f"{row[0].text} ({row[-1].text})"), *row[1:-1]] for row in table(board).published]
    caption = f"Results on {board.dataset}. Best in bold, second underlined. {explanation(board)}"
    lines = list(map(_latex_row, whole.rows))
    if published:
        width = len(whole.header)
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{published, of the same protocol}} \\"]
        lines += map(_latex_row, published)
    note = f"Settings. {'; '.join(settings_lines(board))}."
    yield _latex_table(board.dataset, caption, whole.header, lines, note)
    if second := beyond_table(board, found):
        caption = f"Beyond accuracy on {board.dataset}. {beyond_caption(board)} {MARKED}"
        note = f"{'; '.join(beyond_explained(board, found))}."
        rows = list(map(_latex_row, second.rows))
        yield _latex_table(f"{board.dataset} beyond accuracy", caption, second.header, rows, note)


def _latex_table(name: str, caption: str, header: Sequence[str], lines: list[str], note: str) -> list[str]:
    """`lines` are those between the rules."""
    return [
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{_latex(Cell(caption))}}}",
        rf"\label{{tab:{re.sub('[^A-Za-z0-9]+', '-', name)}}}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        _latex_row(map(Cell, header)),
        r"\midrule",
        *lines,
        r"\bottomrule",
        r"\end{tabular}}",
        "",
        r"\smallskip",
        rf"\footnotesize {_latex(Cell(note))}",
        r"\end{table*}",
    ]


def _latex_row(cells: Iterable[Cell]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", '"': r"\textquotedbl{}",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}  # fmt: skip


def _latex(cell: Cell) -> str:
    text = "".join(LATEX.get(sign, sign) for sign in cell.text)
    return {"": text, BEST: rf"\textbf{{{text}}}", SECOND: rf"\underline{{{text}}}"}[cell.mark]


FORMATS: Mapping[str, Callable[[Iterable[Board], Found | None], str]] = {
    "terminal": terminal,
    "csv": as_csv,
    "markdown": as_markdown,
    "latex": as_latex,
}
