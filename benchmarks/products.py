"""How fast users are scored against items, by torch's BLAS and by numpy's: `python benchmarks/products.py`.

Blocks of users as the validation of Baby, Sports and Electronics asks for them, times all items, by turns.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import torch  # noqa: E402

from common.memory import keep_freed_memory  # noqa: E402
from common.products import numpy_products  # noqa: E402
from utils.evaluation.ranking import BLOCK_SCORES  # noqa: E402

N_ITEMS = {"Baby": 7_050, "Sports": 18_357, "Electronics": 63_001}
WIDTH, USERS, REPEATS = 64, 4096, 15


def seconds(users: torch.Tensor, items: torch.Tensor) -> dict[str, float]:
    """Median of a product by torch and by numpy, by turns, of one thread each."""
    times: dict[str, list[float]] = {"torch": [], "numpy": []}
    for _ in range(REPEATS + 2):
        for name, context in (("torch", torch.no_grad), ("numpy", numpy_products)):
            with context():
                started = time.perf_counter()
                users @ items.T
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def main() -> None:
    keep_freed_memory()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print("| items | users at a time | torch, GFLOP/s | numpy, GFLOP/s | torch / numpy, seconds |")
    print("|---|---|---|---|---|")
    for name, n_items in N_ITEMS.items():
        n_users = min(USERS, BLOCK_SCORES // n_items)
        found = seconds(torch.randn(n_users, WIDTH), torch.randn(n_items, WIDTH))
        work = 2e-9 * n_users * n_items * WIDTH
        cells = [f"{name}, {n_items:,}", f"{n_users:,}"]
        cells += [f"{work / found[by]:.0f}" for by in ("torch", "numpy")]
        cells.append(f"{found['torch'] / found['numpy']:.2f}")
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
