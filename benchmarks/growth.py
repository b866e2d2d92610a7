"""How time and memory grow: `python benchmarks/growth.py [--models ...] [--out docs]`.

Every case at a quarter, half, once, twice and four times the size of Amazon Baby, users, items and interactions alike,
with narrower features; writes growth.svg and prints a table with the exponents of fitted power laws.
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


def plot(path: Path, sizes: Sequence[int], cases: Mapping[str, list[bench.Figures]]) -> None:
    """A panel per quantity against interactions, both axes logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams |= {"svg.hashsalt": "growth", "font.size": 9}
    figure, panels = plt.subplots(1, len(QUANTITIES), figsize=(11, 3.6), layout="constrained")
    for panel, (name, title) in zip(panels, QUANTITIES.items(), strict=True):
        for number, (case, rows) in enumerate(cases.items()):
            style = {
                "marker": "osD^vP*Xd"[number % 9],
                "color": f"C{number}",
                "markersize": 4,
                "linewidth": 1,
            }
            panel.plot(sizes, [row[name] for row in rows], label=case, **style)
        panel.set(xscale="log", yscale="log", title=title, xlabel="interactions")
        panel.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=9, frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=bench.CASES, default=list(bench.CASES), metavar="CASE")
    parser.add_argument("--epochs", type=int, default=2, help="counted epochs (default 2)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=bench.OUT, help="folder for growth.svg and growth.json")
    args = parser.parse_args()
    cases: dict[str, list[bench.Figures]] = {case: [] for case in args.models}
    interactions = []
    for factor in FACTORS:
        name, size = f"baby-x{factor:g}", scaled(factor)
        bench.write_data(name, size)
        interactions.append(size.interactions)
        empty = bench.run("empty", name, 1, args.threads)["memory"]
        for case in args.models:
            row = bench.run(case, name, args.epochs, args.threads)
            cases[case].append(row | {"memory": row["memory"] - empty})
            print(f"{size.interactions:>9,} {bench.line(case, row)}", flush=True)
    lines = [
        "| model | " + " | ".join(f"{title}: exponent" for title in QUANTITIES.values()) + " |",
        "|---|---|---|---|",
    ]
    for case, rows in cases.items():
        powers = (exponent(interactions, [row[name] for row in rows]) for name in QUANTITIES)
        lines.append(f"| {case} | " + " | ".join("-" if np.isnan(p) else f"{p:.2f}" for p in powers) + " |")
    print("\n" + "\n".join(lines))
    args.out.mkdir(parents=True, exist_ok=True)
    plot(args.out / "growth.svg", interactions, cases)
    (args.out / "growth.json").write_text(
        json.dumps({"interactions": interactions, "cases": cases}, indent=1)
    )


if __name__ == "__main__":
    main()
