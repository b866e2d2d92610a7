"""How time and memory grow: `python benchmarks/growth.py [--models ...] [--factors ...] [--out FOLDER]`.

Every case at a quarter, half, once, twice and four times the size of Amazon Baby, users, items and interactions alike,
with narrower features; writes growth.json, growth.svg and prints a table with the exponents of fitted power laws. What
growth.json has already is kept where it is not asked for again: `--factors 4` measures the largest size anew.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import run as bench
import synthetic

FACTORS = (0.25, 0.5, 1, 2, 4)
QUANTITIES = {
    "epoch": "seconds per epoch",
    "graphs": "seconds for graphs",
    "memory": "peak MB above an empty program",
}
SMALLEST = 0.05
"""Seconds below which a time says more about the clock than about the work; such points are left out of a fit."""


def scaled(factor: float) -> synthetic.Size:
    """Of Baby; features of an eighth of the width, or four times the size would not fit for every case."""
    size = synthetic.SIZES["baby"]
    return synthetic.Size(
        int(size.users * factor), int(size.items * factor), int(size.interactions * factor), 512, 48
    )


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Of the power law through the points; nan with fewer than three.

    >>> round(exponent([1, 2, 4], [3, 12, 48]), 3)
    2.0
    """
    kept = [(x, y) for x, y in zip(sizes, values, strict=True) if y >= SMALLEST]
    if len(kept) < 3:
        return float("nan")
    x, y = np.log(np.array(kept)).T
    return float(np.polyfit(x, y, 1)[0])


def plot(path: Path, cases: Mapping[str, Mapping[str, bench.Figures]]) -> None:
    """A panel per quantity against interactions, both axes logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams |= {"svg.hashsalt": "growth", "svg.fonttype": "none", "font.size": 9}
    figure, panels = plt.subplots(1, len(QUANTITIES), figsize=(11, 3.6), layout="constrained")
    for panel, (name, title) in zip(panels, QUANTITIES.items(), strict=True):
        for number, (case, rows) in enumerate(cases.items()):
            style = {
                "marker": "osD^vP*Xd"[number % 9],
                "color": f"C{number}",
                "markersize": 4,
                "linewidth": 1,
            }
            sizes, values = points(rows, name)
            panel.plot(sizes, values, label=case, **style)
        panel.set(xscale="log", yscale="log", title=title, xlabel="interactions")
        panel.set_xticks(sizes, [f"{size / 1000:.0f}k" for size in sizes])
        panel.set_xticks([], minor=True)
        panel.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=9, frameon=False)
    figure.savefig(path, metadata={"Date": None})


def points(rows: Mapping[str, bench.Figures], quantity: str) -> tuple[list[int], list[float]]:
    """Interactions, ascending, and a quantity of a case there."""
    sizes = sorted(map(int, rows))
    return sizes, [rows[str(size)][quantity] for size in sizes]


def table(cases: Mapping[str, Mapping[str, bench.Figures]]) -> str:
    """Markdown: the exponents of every case."""
    titles = [f"{title}: exponent" for title in QUANTITIES.values()]
    lines = ["| model | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for case, rows in cases.items():
        powers = [exponent(*points(rows, name)) for name in QUANTITIES]
        lines.append(f"| {case} | " + " | ".join("-" if np.isnan(p) else f"{p:.2f}" for p in powers) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=bench.CASES, default=list(bench.CASES), metavar="CASE")
    parser.add_argument("--factors", nargs="+", type=float, default=FACTORS, help=f"default {FACTORS}")
    parser.add_argument("--epochs", type=int, default=2, help="counted epochs (default 2)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=bench.OUT, help="folder of growth.json and growth.svg")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    kept = args.out / "growth.json"
    # of every case the figures by interactions
    cases: dict[str, dict[str, bench.Figures]] = json.loads(kept.read_text()) if kept.exists() else {}
    for factor in args.factors:
        name, size = f"baby-x{factor:g}", scaled(factor)
        bench.write_data(name, size)
        empty = bench.run(bench.EMPTY, name, 1, args.threads)["memory"]
        for case in args.models:
            row = bench.run(case, name, args.epochs, args.threads)
            figures = row | {"memory": row["memory"] - empty}
            cases.setdefault(case, {})[str(size.interactions)] = figures
            kept.write_text(json.dumps(cases, indent=1))
            print(f"{size.interactions:>9,} {bench.line(case, row)}", flush=True)
    print("\n" + table(cases))
    plot(args.out / "growth.svg", cases)


if __name__ == "__main__":
    main()
