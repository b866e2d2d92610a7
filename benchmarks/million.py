"""A catalogue of a million items: `python benchmarks/million.py [--items 1000000] [--users 20000]`.

Random embeddings of 64 numbers, and embeddings around a thousand centres: seconds and peak memory of a validation and
of a test with lists of 50, and of the graph of ten neighbours by FAISS, with its recall. The exact graph is timed over
some thousands of rows, for it takes hours; its time for all is the product, and told as such.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch
from torch import Tensor, nn

from common.graph import _nearest_groups
from common.memory import keep_freed_memory
from utils.data.approximate_knn import approximate_knn, recall
from utils.data.dataset import Dataset, Split
from utils.evaluation.ranking import Evaluator

SETTINGS = {
    "topk": [5, 10, 20, 50], "metrics": ["Recall", "NDCG"], "eval_batch_size": 512, "device": torch.device("cpu"),
    "mask_validation_at_test": False,
}  # fmt: skip
EXACT_ROWS, CENTRES = 2048, 1000


class Embeddings(nn.Module):
    """Scores are products of fixed vectors."""

    def __init__(self, users: Tensor, items: Tensor):
        super().__init__()
        self.users, self.items = users, items

    def full_sort_predict(self, interaction: list[Tensor]) -> Tensor:
        return self.users[interaction[0]] @ self.items.T


def memory() -> float:
    """Peak of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(what: str, started: float, more: str = "") -> None:
    print(f"{what:34} {time.perf_counter() - started:8.1f} s   peak {memory():7,.0f} MB   {more}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    draw = np.random.default_rng(0)

    def split(per_user: int) -> Split:
        users = np.repeat(np.arange(args.users), per_user)
        return Split(users, draw.integers(args.items, size=len(users)))

    dataset = Dataset("million", args.users, args.items, split(8), split(1), split(1))
    users, items = (
        torch.from_numpy(draw.standard_normal((n, 64), dtype=np.float32)) for n in (args.users, args.items)
    )
    model, evaluator = Embeddings(users, items), Evaluator(SETTINGS, dataset)
    print(
        f"{args.users:,} users, {args.items:,} items, {args.threads} threads; at the start {memory():,.0f} MB"
    )
    started = time.perf_counter()
    evaluator.validate(model)
    report("validation", started)
    started = time.perf_counter()
    evaluator.test(model, 50)
    report("test, lists of 50", started)
    started = time.perf_counter()
    centres = torch.from_numpy(draw.standard_normal((CENTRES, 64), dtype=np.float32))
    clustered = 0.5 * items + (centres[torch.from_numpy(draw.integers(CENTRES, size=args.items))])
    for kind, rows in (("random", items), ("clustered", clustered)):
        started = time.perf_counter()
        knn = approximate_knn(rows, 10)
        report(f"10 nearest by FAISS, {kind}", started)
        print(f"{'':34} recall {recall(knn, rows):.3f}")
    started = time.perf_counter()
    exact_rows(items, EXACT_ROWS)
    seconds = time.perf_counter() - started
    hours = seconds / EXACT_ROWS * args.items / 3600
    report(f"exact, {EXACT_ROWS:,} of the rows", started, f"all of them would take {hours:.1f} h")


def exact_rows(items: Tensor, n: int) -> None:
    """The exact neighbours of the first n items among all, as `item_knn` finds them block by block."""
    norm = items.norm(dim=1)
    block = max(1, 2**24 // len(items))
    for start in range(0, n, block):
        _nearest_groups(items, norm, start, min(start + block, n), 10)


if __name__ == "__main__":
    main()
