"""How plots are drawn: as SVG to stand in a page, where text stays text and the page gives the colours.

The same drawing gives the same bytes. Colours are placeholders that become variables of the page's style sheet (--s1
to --s6, --grid, --paper) and `currentColor`, so that a plot is at home on light and on dark paper.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, GRID, PAPER = "#010203", "#040506", "#070809"
COLOURS = tuple(f"#0a0b{number:02x}" for number in range(1, 7))
VARIABLES = {INK: "currentColor", GRID: "var(--grid)", PAPER: "var(--paper)"} | {
    colour: f"var(--s{number})" for number, colour in enumerate(COLOURS, start=1)
}
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.5)))
MARKERS = "osD"

STYLE = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9, "text.color": INK, "axes.edgecolor": GRID,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "xtick.major.size": 0, "ytick.major.size": 0,
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False, "axes.axisbelow": True,
    "axes.titlesize": 9, "axes.labelsize": 9, "xtick.labelsize": 8.5, "ytick.labelsize": 9, "grid.color": GRID,
    "grid.linewidth": 0.7, "axes.linewidth": 0.8, "figure.constrained_layout.use": True,
    "axes.titlelocation": "left", "lines.solid_capstyle": "round",
}  # fmt: skip

WIDE, NARROW = 4.6, 2.5
"""Inches: a telephone's screen across, nearly, so that text can be read there; and a panel of several."""


class Look(NamedTuple):
    """How a model looks in every plot of a page."""

    colour: str
    dash: Any
    marker: str


def looks(models: Iterable[str]) -> dict[str, Look]:
    """Six colours, then the same with dashes and other markers."""
    styles = [
        Look(colour, dash, marker) for dash, marker in zip(DASHES, MARKERS, strict=True) for colour in COLOURS
    ]
    return {model: styles[number % len(styles)] for number, model in enumerate(dict.fromkeys(models))}


def svg(title: str, draw: Callable[[Axes], None], width: float, height: float) -> str:
    """What `draw` draws into axes of this size, in inches."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": title}):
        figure, file = Figure(figsize=(width, height)), io.StringIO()
        draw(figure.add_subplot())
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return embeddable(file.getvalue(), title)


def embeddable(svg: str, title: str) -> str:
    """The SVG without what only a file of its own needs, and in the colours of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    for placeholder, variable in VARIABLES.items():
        svg = svg.replace(placeholder, variable)
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([\w-]+)"', lambda match: match[0] if match[1] in used else "", svg)
    text = html.escape(title)
    return svg.replace("<svg", f'<svg role="img" aria-label="{text}"', 1).replace(
        ">", f"><title>{text}</title>", 1
    )


def at_the_right(axes: Axes, y: float, text: str) -> None:
    axes.text(1.03, y, text, transform=axes.get_yaxis_transform(), va="center_baseline")


def label_ends(axes: Axes, ends: Mapping[str, np.ndarray], look: Mapping[str, Look], right: float) -> None:
    """The names of lines at the right edge, apart from each other, with a thin line to where each one ends."""
    low, high = axes.get_ylim()
    heights = spread([y for _, y in ends.values()], gap=0.062 * (high - low))
    for (model, (x, y)), height in zip(ends.items(), heights, strict=True):
        axes.annotate(
            model, (x, y), (1.03 * right, height), va="center", color=look[model].colour, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": look[model].colour, "lw": 0.5, "shrinkA": 1, "shrinkB": 2},
        )  # fmt: skip


def spread(wanted: Sequence[float], gap: float) -> np.ndarray:
    """Places near the `wanted` ones in their order, no two nearer to each other than `gap`.

    >>> spread([1.0, 0.0, 1.0], gap=0.5)
    array([0.75, 0.  , 1.25])
    """
    wanted = np.asarray(wanted, dtype=float)
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    free = wanted[order] - steps
    from_below, from_above = np.maximum.accumulate(free), np.minimum.accumulate(free[::-1])[::-1]
    places = np.empty_like(wanted)
    places[order] = (from_below + from_above) / 2 + steps
    return places


Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""

BESIDE = [(8, 0), (-8, 0), (0, 11), (0, -11)]
OFFSETS = BESIDE + [
    (distance * right, distance * up)
    for distance in (10, 22, 34, 46, 58)
    for right, up in ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
]
"""Of labels from their marks, to the right and up; the first is the best."""


def label_points(axes: Axes, names: Sequence[str], points: np.ndarray) -> None:
    """Names beside points (n, 2), or farther off with a thin line to the point, where nothing else is."""
    axes.figure.draw_without_rendering()
    to_points = 72 / axes.figure.dpi  # in points, as font sizes
    places = axes.transData.transform(points) * to_points
    offsets = free_offsets(places, [6.2 * len(name) for name in names], axes.bbox.extents * to_points)
    line = {"arrowstyle": "-", "color": INK, "lw": 0.5, "shrinkA": 0, "shrinkB": 4}
    for name, point, (right, up) in zip(names, points, offsets, strict=True):
        across = "left" if right > 0 else "right" if right < 0 else "center"
        axes.annotate(
            name, point, (right, up), textcoords="offset points", ha=across, va="center",
            arrowprops=None if (right, up) in BESIDE else line,
        )  # fmt: skip


def free_offsets(
    places: np.ndarray, widths: Sequence[float], inside: Sequence[float]
) -> list[tuple[float, float]]:
    """For labels of marks: how far to the right and up each one stands, the first offset where nothing else is.

    places: of the marks (n, 2); widths: of the labels; inside: left, bottom, right, top of where labels may be; all
    in points. Where no offset is free a label stands at the right of its mark.
    """
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    offsets = []
    for (x, y), width in zip(places, widths, strict=True):
        boxes = {(right, up): _box(x + right, y + up, width, np.sign(right)) for right, up in OFFSETS}
        free = (
            offset
            for offset, box in boxes.items()
            if _holds(inside, box) and not any(_meet(box, other) for other in taken)
        )
        offsets.append(next(free, OFFSETS[0]))
        taken.append(boxes[offsets[-1]])
    return offsets


def _box(x: float, y: float, width: float, side: float) -> Box:
    """Of a label that begins at x (side 1), ends there (-1) or has it in its middle (0)."""
    left = x - (1 - side) / 2 * width
    return left - 1, y - 5, left + width + 1, y + 5


def _holds(outer: Sequence[float], box: Box) -> bool:
    return outer[0] <= box[0] and outer[1] <= box[1] and box[2] <= outer[2] and box[3] <= outer[3]


def _meet(a: Box, b: Box) -> bool:
    """Whether two boxes overlap."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
