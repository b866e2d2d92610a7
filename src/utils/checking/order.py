"""Whether rows are in the order of items: what is near by content is bought together more than chance would have it.

Two items with near rows share more buyers than two items at random, wherever content says anything. Rows in another
order lose that. So the buyers that sampled items share with their neighbours are compared with those under shuffled
ids, which keep everything but the order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

SEED = 2024
SAMPLED, NEIGHBOURS, SHUFFLES = 1000, 10, 200
LEVEL = 0.01
FEWEST = 10.0  # shared buyers over the sample that chance would give: with fewer, nothing can be told
WIDTH = 256  # columns that rows are projected to: cosines change little, and wide features cost no minutes
BLOCK = 200


@dataclass(frozen=True)
class Verdict:
    """Mean shared buyers of an item and a neighbour: as it stands, and under shuffled ids with its deviation."""

    observed: float
    chance: float
    deviation: float
    p: float
    enough: bool
    moved: int = 0
    """Rows by which a file that is not in order would have to be moved to be better than chance; 0: none helps."""

    @property
    def in_order(self) -> bool:
        return self.p <= LEVEL

    def __str__(self) -> str:
        return (
            f"sampled neighbours share {self.observed:.3g} buyers on average, {self.chance:.3g} ± {self.deviation:.2g} "
            f"if ids are shuffled ({SHUFFLES} times, p {'<' if self.p < 0.01 else '='} {max(self.p, 0.01):.2g})"
        )


def sample_items(usable: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows (S,) of those that are usable (I,)."""
    rows = np.flatnonzero(usable)
    return np.sort(rng.choice(rows, min(SAMPLED, len(rows)), replace=False))


def nearest(rows: np.ndarray, usable: np.ndarray, sample: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """The k nearest usable others (S, k) of sampled rows by cosine; rows (I, F) float32."""
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    k = min(k, int(usable.sum()) - 1)
    found = np.empty((len(sample), k), dtype=np.int64)
    for start in range(0, len(sample), BLOCK):
        block = sample[start : start + BLOCK]
        cosine = unit[block] @ unit.T
        cosine[:, ~usable] = -np.inf
        cosine[np.arange(len(block)), block] = -np.inf
        found[start : start + BLOCK] = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
    return found


def projection(width: int) -> np.ndarray | None:
    """A random map (F, WIDTH) that keeps cosines roughly; None for rows that are narrow as it is."""
    if width <= 2 * WIDTH:
        return None
    return np.random.default_rng(SEED).standard_normal((width, WIDTH), dtype=np.float32) / np.float32(
        np.sqrt(WIDTH)
    )


def judge(
    sample: np.ndarray, neighbours: np.ndarray, users: np.ndarray, items: np.ndarray, n_items: int
) -> Verdict:
    """sample (S,) and neighbours (S, k) are rows, -1 for none; users and items (n,) are training interactions."""
    bought = sp.csr_matrix(
        (np.ones(len(items), np.float32), (items, users)), shape=(n_items, int(users.max()) + 1)
    )
    bought.data[:] = 1
    there = neighbours >= 0
    left, right = np.repeat(sample, there.sum(1)), neighbours[there]

    def shared(mapping: np.ndarray) -> float:
        a, b = bought[mapping[left]], bought[mapping[right]]
        return float(a.multiply(b).sum()) / max(len(left), 1)

    rng, identity = np.random.default_rng(SEED), np.arange(n_items)
    observed = shared(identity)
    chance = np.array([shared(rng.permutation(n_items)) for _ in range(SHUFFLES)])
    p = (1 + (chance >= observed).sum()) / (1 + SHUFFLES)
    enough = bool(chance.mean() * len(left) >= FEWEST)
    moved = 0
    if p > LEVEL:
        clear = chance.mean() + 5 * chance.std()
        moved = next(
            (step for step in (-1, 1) if shared(np.roll(identity, -step)) > max(clear, chance.max())), 0
        )
    return Verdict(observed, float(chance.mean()), float(chance.std()), float(p), enough, moved)
