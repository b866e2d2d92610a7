"""Seeded data of the size of a real set, in MMRec's format: for time and memory, never for accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Size:
    """Users, items and interactions of a real set; widths of the raw features as the Amazon sets have them."""

    users: int
    items: int
    interactions: int
    image: int = 4096
    text: int = 384


SIZES = {
    "tiny": Size(600, 400, 6_000, image=256, text=64),
    "baby": Size(19_445, 7_050, 160_792),
    "sports": Size(35_598, 18_357, 296_337),
    "clothing": Size(39_387, 23_033, 278_677),
    "electronics": Size(192_403, 63_001, 1_689_188),
}


def write(folder: Path, size: Size, seed: int = 0) -> None:
    """Interactions with power-law popularity, split 74 : 13 : 13 as the real sets, and clustered features."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    users, items = pairs(size, rng)
    labels = rng.choice(3, size=len(users), p=[0.74, 0.13, 0.13])
    _, first_of_user = np.unique(users, return_index=True)
    labels[first_of_user] = 0  # every user trains
    table = np.stack([users, items, labels], axis=1)
    np.savetxt(
        folder / f"{folder.name}.inter", table, "%d", "\t", header="userID\titemID\tx_label", comments=""
    )
    for name, width in (("image", size.image), ("text", size.text)):
        _write_features(folder / f"{name}_feat.npy", size.items, width, rng)


def pairs(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Distinct user-item pairs, by user: items by a power law, at least five of each user."""
    popularity = 1 / np.arange(1, size.items + 1) ** 0.8
    n_drawn = int(size.interactions * 1.3)
    users = np.r_[
        np.repeat(np.arange(size.users), 5), rng.integers(size.users, size=n_drawn - 5 * size.users)
    ]
    items = rng.permutation(size.items)[rng.choice(size.items, size=n_drawn, p=popularity / popularity.sum())]
    keys = np.unique(users * size.items + items)
    keys = np.sort(rng.choice(keys, size=min(size.interactions, len(keys)), replace=False))
    keys[-1] = size.users * size.items - 1  # the last ids occur, so that sizes are exact
    return keys // size.items, keys % size.items


def _write_features(path: Path, n_items: int, width: int, rng: np.random.Generator) -> None:
    """Rows around a hundred centres, float32, written in blocks so that the largest set fits into memory."""
    centres = rng.standard_normal((100, width), dtype=np.float32)
    out = np.lib.format.open_memmap(path, "w+", np.float32, (n_items, width))
    for start in range(0, n_items, 4096):
        stop = min(start + 4096, n_items)
        noise = rng.standard_normal((stop - start, width), dtype=np.float32)
        out[start:stop] = centres[rng.integers(100, size=stop - start)] + noise
    out.flush()
