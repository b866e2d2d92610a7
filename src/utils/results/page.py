"""The tables of docs/results.md that show docs/results.json: one per data set, a row per recipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from utils.config import SRC
from utils.errors import UserError
from utils.experiments.report import assignments
from utils.files import atomic_write
from utils.leaderboard.published import published
from utils.results.recipes import read_recipe
from utils.results.rows import Row

PAGE = SRC.parent / "docs" / "results.md"
BEGIN = "<!-- Of docs/results.json, by `python main.py results --write`; written over. -->"
END = "<!-- End of what is written over. -->"

CONTENT = {"none": "-", "graph": "true kNN graphs", "surrogate": "surrogate", "true": "raw features"}
SET_BESIDE = ("none", "graph")
"""Content with which a figure may stand beside a published one."""

WORDS = ("model", "content", "chosen")
NUMBERS = ("valid R@20", "R@10", "R@20", "N@10", "N@20", "seeds", "best epochs", "min", "published")


def tables(rows: Iterable[Row]) -> str:
    """Markdown: the data sets by name, within each first what is comparable with published figures, best first."""
    ordered = sorted(rows, key=_place)
    blocks = [
        "\n".join([f"### {dataset}", "", *_table(list(group))])
        for dataset, group in groupby(ordered, key=lambda row: row["dataset"])
    ]
    return "\n\n".join(blocks)


def write_tables(rows: Iterable[Row], page: Path = PAGE) -> None:
    """Put the tables into the page, between its two marks. Raises UserError where it has not both."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{page} has no place for the tables: expected the lines '{BEGIN}' and '{END}'")
    new = f"{before}{BEGIN}\n\n{tables(rows)}\n\n{END}{after}"
    atomic_write(page, lambda file: file.write(new.encode()))


def _place(row: Row) -> tuple[str, bool, float]:
    return row["dataset"], row["features"] == "surrogate", -row["metrics"]["recall@20"]


def _table(rows: Sequence[Row]) -> list[str]:
    alignment = ["---"] * len(WORDS) + ["---:"] * len(NUMBERS)
    return [_line(WORDS + NUMBERS), _line(alignment), *(_line(_cells(row)) for row in rows)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row) -> list[str]:
    recipe = read_recipe(row["recipe"])
    told = {"seed"}  # by other columns
    if row["features"] == "surrogate":
        told.add("modalities")
    chosen = {name: value for name, value in recipe.settings.items() if name not in told}
    return [
        row["model"],
        CONTENT[row["features"]],
        assignments(chosen) or "as in its YAML",
        f"{row['valid']['recall@20']:.4f}",
        *(_stated(row, name) for name in ("recall@10", "recall@20", "ndcg@10", "ndcg@20")),
        str(len(row["seeds"])),
        _range(row["best_epochs"]),
        f"{row['minutes_per_seed']}",
        _published(row),
    ]


def _stated(row: Row, name: str) -> str:
    """Mean and standard deviation of a metric, the latter as in .0007."""
    mean, deviation = row["metrics"][name], row["sd"][name]
    return f"{mean:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}".replace("0.", "."))


def _range(values: Sequence[int]) -> str:
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _published(row: Row) -> str:
    """Recall@20 / NDCG@20 of the first source that has both, and how much more ours is than the former."""
    figures = published(row["dataset"], [row["model"]]) if row["features"] in SET_BESIDE else []
    for figure in figures:
        recall, ndcg = (figure.metrics.get(name) for name in ("recall@20", "ndcg@20"))
        if recall is not None and ndcg is not None:
            more = row["metrics"]["recall@20"] / recall - 1
            return f"{recall:.4f} / {ndcg:.4f} ({figure.source}): {100 * more:+.1f} %"
    return "-"
