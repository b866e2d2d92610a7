"""Plots of a leaderboard, each an SVG as `drawing` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from utils.leaderboard.board import Board, Row, Stat
from utils.leaderboard.drawing import (
    COLOURS,
    INK,
    NARROW,
    PAPER,
    WIDE,
    Look,
    at_the_right,
    label_ends,
    label_points,
    svg,
)
from utils.leaderboard.insights import Groups, group_labels
from utils.leaderboard.words import count

FEW = 10
"""Members of a group below which its mean says little."""


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
            at_the_right(axes, y, f"{stat.mean:.4f}")
        axes.set_yticks(list(place.values()), list(place))
        axes.set_ylim(-len(rows) + 0.4, 0.6)
        axes.margins(x=0.06)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"test {board.metric}")

    return svg(f"{board.dataset}: test {board.metric} by model", draw, WIDE, 0.75 + 0.3 * len(rows))


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
            at_the_right(axes, y, f"{one.difference:+.4f}")
        axes.set_yticks(places, [one.other for one in comparisons])
        axes.set_ylim(-len(places) + 0.4, 0.6)
        axes.margins(x=0.06)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"{board.rows[0].model} minus the other, test {board.metric}")

    title = f"{board.dataset}: lead of {board.rows[0].model} in {board.metric}"
    return svg(title, draw, WIDE, 0.75 + 0.3 * len(places))


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
            mark = {"color": style.colour, "ms": 6, "mec": PAPER, "mew": 1, "clip_on": False}
            axes.plot(epochs[best], values[best], style.marker, **mark)
        last = max(points[-1, 0] for points in curves.values())
        axes.set_xlim(0, last)
        axes.set_ylim(0, None)
        label_ends(axes, {model: points[-1] for model, points in curves.items()}, look, last)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("epoch")
        axes.set_title(f"validation {metric}")

    return svg(f"{board.dataset}: validation {metric} by epoch", draw, WIDE, 3.1)


def _curve(row: Row, metric: str) -> np.ndarray:
    """Epoch and validation (n, 2) of the first seed."""
    history = row.runs[0].result.history
    return np.array([(e["epoch"], e["valid"][metric]) for e in history if metric in (e.get("valid") or {})])


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
        label_points(axes, [row.model for row in rows], np.stack([seconds, values], axis=1))

    return svg(f"{board.dataset}: test {board.metric} against the time of a training", draw, WIDE, 3.1)


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
        long = sum(max(map(len, label.split("\n"))) for label in labels) > 22
        axes.set_xticks(places, labels, rotation=30 * long, ha="right" if long else "center")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_title(name)

    return svg(f"{row.model} on {row.dataset}: validation {row.valid_metric} by {name}", draw, NARROW, 1.9)


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


def groups(board: Board, by_model: Groups, member: str) -> list[str]:
    """A panel of bars per group, with all models in the order of the board and one scale for all panels.

    `member` says what a group holds: 'user' or 'test pair'. A group of a few has no say in the scale, and its bars may
    be cut off.
    """
    found = [stat for of_model in by_model.values() for stat in of_model.values()]
    highest = max(
        (mean for mean, size in found if size >= FEW), default=max((mean for mean, _ in found), default=0)
    )
    return [_group(board, by_model, label, member, highest or 1) for label in group_labels(by_model)]


def _group(board: Board, by_model: Groups, label: str, member: str, highest: float) -> str:
    models = [row.model for row in board.rows if label in by_model.get(row.model, ())]
    means, sizes = zip(*(by_model[model][label] for model in models), strict=True)

    def draw(axes: Axes) -> None:
        places = -np.arange(len(models))
        axes.barh(places, np.minimum(means, highest), height=0.62, color=COLOURS[0])
        for y, mean in zip(places, means, strict=True):
            axes.text(min(mean, highest) + 0.02 * highest, y, f"{mean:.4f}", va="center_baseline", fontsize=8)
        axes.set_yticks(places, models)
        axes.set_xlim(0, 1.3 * highest)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_title(f"{label} ({count(sizes[0], member)})")

    return svg(f"{board.dataset}: {board.metric}, {label}", draw, NARROW, 0.45 + 0.21 * len(models))
