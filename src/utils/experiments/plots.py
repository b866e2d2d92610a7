"""Plots of a leaderboard, as SVG to stand in a page: text stays text, and the page gives the colours.

The same board gives the same bytes. Colours are placeholders that become variables of the page's style sheet (--s1
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
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from utils.experiments.leaderboard import Board, Row, Stat

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


def metric_by_model(board: Board) -> str:
    """A dot per model with the standard deviation over seeds, and published figures as hollow diamonds."""
    rows = [row for row in board.rows if board.metric in row.test]
    place = {row.model: -number for number, row in enumerate(rows)}
    figures = [
        (f.metrics[board.metric], place[f.model])
        for f in board.published
        if board.metric in f.metrics and f.model in place
    ]

    def draw(axes: Axes) -> None:
        axes.grid(axis="y")
        if figures:
            axes.scatter(
                *zip(*figures, strict=True), s=30, marker="D", facecolor="none", edgecolor=INK, linewidth=1
            )
        for row in rows:
            stat, y = row.test[board.metric], place[row.model]
            axes.plot(
                [stat.mean - (stat.sd or 0), stat.mean + (stat.sd or 0)], [y, y], color=COLOURS[0], lw=2.2
            )
            axes.plot(stat.mean, y, "o", color=COLOURS[0], ms=7.5, mec=PAPER, mew=1)
            _at_the_right(axes, y, f"{stat.mean:.4f}")
        axes.set_yticks(list(place.values()), list(place))
        axes.set_ylim(-len(rows) + 0.4, 0.6)
        axes.margins(x=0.06)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"test {board.metric}")

    return _svg(f"{board.dataset}: test {board.metric} by model", draw, WIDE, 0.75 + 0.3 * len(rows))


def lead(board: Board) -> str:
    """How far the first row is ahead of every other, with the bootstrap interval. Empty without comparisons."""
    comparisons, _ = board.compared
    if not comparisons:
        return ""
    places = [-number for number in range(len(comparisons))]

    def draw(axes: Axes) -> None:
        axes.grid(axis="y")
        axes.axvline(0, color=INK, lw=0.9)
        for y, one in zip(places, comparisons, strict=True):
            axes.plot([one.low, one.high], [y, y], color=COLOURS[0], lw=2.2)
            axes.plot(one.difference, y, "o", color=COLOURS[0], ms=7.5, mec=PAPER, mew=1)
            _at_the_right(axes, y, f"{one.difference:+.4f}")
        axes.set_yticks(places, [one.other for one in comparisons])
        axes.set_ylim(-len(places) + 0.4, 0.6)
        axes.margins(x=0.06)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"{board.rows[0].model} minus the other, test {board.metric}")

    title = f"{board.dataset}: lead of {board.rows[0].model} in {board.metric}"
    return _svg(title, draw, WIDE, 0.75 + 0.3 * len(places))


def _at_the_right(axes: Axes, y: float, text: str) -> None:
    axes.text(1.03, y, text, transform=axes.get_yaxis_transform(), va="center_baseline")


def learning_curves(board: Board, look: Mapping[str, Look]) -> str:
    """Validation by epoch, of each model's first seed; its best epoch is marked. Empty where no run has a history."""
    metric = next((row.valid_metric for row in board.rows if row.valid_metric), board.metric)
    curves = {row.model: _curve(row, metric) for row in board.rows if row.runs}
    curves = {model: points for model, points in curves.items() if len(points)}
    if not curves:
        return ""

    def draw(axes: Axes) -> None:
        axes.grid(axis="y")
        for row in [row for row in board.rows if row.model in curves]:
            (epochs, values), style = curves[row.model].T, look[row.model]
            axes.plot(epochs, values, color=style.colour, ls=style.dash, lw=1.6)
            best = epochs == row.runs[0].result.best_epoch
            axes.plot(epochs[best], values[best], style.marker, color=style.colour, ms=6, mec=PAPER, mew=1)
        last = max(points[-1, 0] for points in curves.values())
        axes.set_xlim(0, last)
        axes.set_ylim(0, None)
        _label_ends(axes, {model: points[-1] for model, points in curves.items()}, look, last)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("epoch")
        axes.set_title(f"validation {metric}")

    return _svg(f"{board.dataset}: validation {metric} by epoch", draw, WIDE, 3.1)


def _curve(row: Row, metric: str) -> np.ndarray:
    """Epoch and validation (n, 2) of the first seed."""
    history = row.runs[0].result.history
    return np.array([(e["epoch"], e["valid"][metric]) for e in history if metric in (e.get("valid") or {})])


def _label_ends(axes: Axes, ends: Mapping[str, np.ndarray], look: Mapping[str, Look], right: float) -> None:
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


def accuracy_against_time(board: Board, look: Mapping[str, Look]) -> str:
    """The test metric against the seconds of a whole training. Empty where no run tells them."""
    rows = [row for row in board.rows if row.seconds_training and board.metric in row.test]
    if not rows:
        return ""
    seconds = np.array([row.seconds_training for row in rows])
    values = np.array([row.test[board.metric].mean for row in rows])

    def draw(axes: Axes) -> None:
        axes.grid()
        axes.margins(0.16)
        if seconds.max() > 5 * seconds.min():
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(FixedLocator(_round_times(seconds.min(), seconds.max())))
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.set_xlim(0, 1.2 * seconds.max())
            axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: duration(x)))
        for row, x, y in zip(rows, seconds, values, strict=True):
            style = look[row.model]
            axes.plot(x, y, style.marker, color=style.colour, ms=8, mec=PAPER, mew=1)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("time of a training")
        axes.set_title(f"test {board.metric}")
        _label_points(axes, [row.model for row in rows], np.stack([seconds, values], axis=1))

    return _svg(f"{board.dataset}: test {board.metric} against the time of a training", draw, WIDE, 3.1)


def _round_times(low: float, high: float) -> list[float]:
    """Some five round numbers of seconds, minutes or hours that span a range, for a logarithmic axis."""
    steps = [step * unit for unit in (1, 60, 3600) for step in (1, 2, 5, 10, 20, 30)] + [
        36_000,
        86_400,
        172_800,
    ]
    inside = [step for step in steps if low / 2 <= step <= 2 * high] or [low, high]
    return inside[:: 1 + len(inside) // 6]


def duration(seconds: float) -> str:
    """
    >>> duration(0.5), duration(200), duration(7200)
    ('0.5 s', '3.3 min', '2 h')
    """
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.3g} s"


def _label_points(axes: Axes, names: Sequence[str], points: np.ndarray) -> None:
    """Names beside points (n, 2), on the first of four sides where nothing else is."""
    axes.figure.draw_without_rendering()
    places = axes.transData.transform(points) * 72 / axes.figure.dpi  # in points, as font sizes
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    for name, point, (x, y) in zip(names, points, places, strict=True):
        width = 5.6 * len(name)
        sides = {
            (8, 0): (x + 7, y - 5, x + 9 + width, y + 5),
            (-8, 0): (x - 9 - width, y - 5, x - 7, y + 5),
            (0, 11): (x - width / 2, y + 6, x + width / 2, y + 16),
            (0, -11): (x - width / 2, y - 16, x + width / 2, y - 6),
        }
        offset = next((side for side, box in sides.items() if not any(_meet(box, t) for t in taken)), (8, 0))
        taken.append(sides[offset])
        across = {8: "left", -8: "right", 0: "center"}[offset[0]]
        axes.annotate(name, point, offset, textcoords="offset points", ha=across, va="center")


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Whether two boxes (left, bottom, right, top) overlap."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def sensitivity(row: Row) -> list[str]:
    """For every setting that was varied: validation at its values, the other settings as the winner has them."""
    curves = row.sensitivity()
    edges = [stat.mean + side * (stat.sd or 0) for c in curves.values() for _, stat in c for side in (-1, 1)]
    return [_sensitivity(row, name, curve, min(edges), max(edges)) for name, curve in curves.items()]


def _sensitivity(row: Row, name: str, curve: list[tuple[Any, Stat]], low: float, high: float) -> str:
    places = range(len(curve))
    means = [stat.mean for _, stat in curve]

    def draw(axes: Axes) -> None:
        axes.grid(axis="y")
        axes.plot(places, means, color=COLOURS[0], lw=1.4)
        for x, (value, stat) in enumerate(curve):
            axes.plot(
                [x, x], [stat.mean - (stat.sd or 0), stat.mean + (stat.sd or 0)], color=COLOURS[0], lw=1.4
            )
            won = value == row.settings.get(name)
            axes.plot(x, stat.mean, "o", ms=7.5 if won else 5.5, color=COLOURS[0] if won else PAPER,
                      mec=COLOURS[0], mew=1.4)  # fmt: skip
        room = 0.1 * (high - low) or 0.1 * high
        axes.set_ylim(low - room, high + room)
        axes.set_xlim(-0.4, len(curve) - 0.6)
        labels = [_short(value) for value, _ in curve]
        long = sum(max(map(len, label.split("\n"))) for label in labels) > 30
        axes.set_xticks(places, labels, rotation=30 * long, ha="right" if long else "center")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_title(name)

    return _svg(f"{row.model} on {row.dataset}: validation {row.valid_metric} by {name}", draw, NARROW, 1.9)


def _short(value: Any) -> str:
    """A value as the label of a tick: an entry per line, of a mapping or a list.

    >>> _short({"image": 0.1, "text": 0.9}), _short(1e-5)
    ('image 0.1\\ntext 0.9', '1e-05')
    """
    if isinstance(value, Mapping):
        return "\n".join(f"{name} {_short(one)}" for name, one in value.items())
    if isinstance(value, list):
        return "\n".join(map(_short, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 14 else text[:13] + "…"


def groups(board: Board, by_model: Mapping[str, Mapping[str, tuple[float, int]]], members: str) -> list[str]:
    """A panel of bars per group, with all models in the order of the board and one scale for all panels.

    `by_model` holds mean and size of each group; `members` says of what, 'users' or 'test items'.
    """
    labels = dict.fromkeys(label for of_model in by_model.values() for label in of_model)
    highest = max((mean for of_model in by_model.values() for mean, _ in of_model.values()), default=0)
    return [_group(board, by_model, label, members, highest or 1) for label in _in_order(labels, by_model)]


def _in_order(labels: Iterable[str], by_model: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """As in the model that has most of the groups."""
    fullest = max(by_model.values(), key=len, default={})
    return [*fullest, *(label for label in labels if label not in fullest)]


def _group(
    board: Board,
    by_model: Mapping[str, Mapping[str, tuple[float, int]]],
    label: str,
    members: str,
    highest: float,
) -> str:
    models = [row.model for row in board.rows if label in by_model.get(row.model, ())]
    means, sizes = zip(*(by_model[model][label] for model in models), strict=True)

    def draw(axes: Axes) -> None:
        places = -np.arange(len(models))
        axes.barh(places, means, height=0.62, color=COLOURS[0])
        for y, mean in zip(places, means, strict=True):
            axes.text(mean + 0.02 * highest, y, f"{mean:.4f}", va="center_baseline", fontsize=8)
        axes.set_yticks(places, models)
        axes.set_xlim(0, 1.3 * highest)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_title(f"{label} ({sizes[0]:,} {members.removesuffix('s') if sizes[0] == 1 else members})")

    return _svg(f"{board.dataset}: {board.metric}, {label}", draw, NARROW, 0.45 + 0.21 * len(models))


def _svg(title: str, draw: Callable[[Axes], None], width: float, height: float) -> str:
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
