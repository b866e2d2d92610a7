"""How near the propagation comes to the memory's limit: `python benchmarks/propagation.py [--size baby electronics]`.

LightGCN's layers over the user-item graph of seeded data, forward and with the gradient, on the GPU where there is one.
The limit is what a copy of a large tensor reaches, bytes read and written. Two counts of the bytes of a product stand
beside each other: every embedding row read once, which no program can undercut, and once for each entry of the graph,
which is what a product moves whose rows are never found in a cache.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "benchmarks")]

import synthetic  # noqa: E402
import torch  # noqa: E402

from common.graph import SparseMatrix, normalised_adjacency, propagate  # noqa: E402

WIDTH = 64
REPEATS = 20


def seconds(act: Callable[[], object], device: torch.device) -> float:
    """Median of `REPEATS`, behind three that warm up."""
    times = []
    for _ in range(REPEATS + 3):
        started = time.perf_counter()
        act()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[3:])


def copied(device: torch.device) -> float:
    """Bytes per second, read and written, of a copy of a tensor that no cache holds."""
    source = torch.zeros(2**28 if device.type == "cuda" else 2**26, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / seconds(lambda: target.copy_(source), device)


def graph_of(size: synthetic.Size) -> SparseMatrix:
    """All interactions of the seeded data of a size as a normalised adjacency."""
    users, items = synthetic.pairs(size, np.random.default_rng(0))
    ones = np.ones(len(users), dtype=np.float32)
    return normalised_adjacency(sp.coo_matrix((ones, (users, items)), shape=(size.users, size.items)))


def layer_bytes(graph: SparseMatrix, rows_read: int) -> int:
    """Of one layer: the matrix, `rows_read` rows of embeddings, one written per node, and the running sum."""
    n, entries, row = graph.shape[0], len(graph.values), 4 * WIDTH
    return 8 * entries + 4 * (n + 1) + rows_read * row + n * row + 3 * n * row


def measured(graph: SparseMatrix, n_layers: int, limit: float) -> list[str]:
    """The cells of a row: milliseconds, and shares of the limit (bytes per second) by both counts."""
    device = graph.values.device
    x = torch.randn(graph.shape[0], WIDTH, device=device, requires_grad=True)
    gradient = torch.ones_like(x)
    forward = seconds(lambda: propagate(graph, x, n_layers), device)
    both = seconds(lambda: propagate(graph, x, n_layers).backward(gradient), device)
    counts = (n_layers * layer_bytes(graph, rows) for rows in (graph.shape[0], len(graph.values)))
    shares = [f"{count / forward / limit:.0%}" for count in counts]
    return [f"{len(graph.values):,}", f"{1e3 * forward:.3f}", f"{1e3 * both:.3f}", *shares]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", nargs="+", choices=synthetic.SIZES, default=["baby", "sports", "electronics"]
    )
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    limit = copied(device)
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else f"{torch.get_num_threads()} threads"
    print(f"{name}: a copy moves {limit / 1e9:,.0f} GB/s; {args.layers} layers of {WIDTH} numbers\n")
    print("| size | entries | forward, ms | with gradient, ms | rows read once | rows read per entry |")
    print("|---|---|---|---|---|---|")
    for size in args.size:
        graph = graph_of(synthetic.SIZES[size]).to(device)
        print(f"| {size} | " + " | ".join(measured(graph, args.layers, limit)) + " |", flush=True)


if __name__ == "__main__":
    main()
