"""The embedded data set `demo`: planted structure, to show that everything works. Never a benchmark.

Every item has a latent vector of three independent parts: what its image shows, what its text says, and what
neither tells; each part is a cluster centre plus a deviation. A user's taste is a direction in each part, and
the user takes the items of the highest taste . latent + popularity + Gumbel noise: a draw without replacement
from a softmax. The image features are a random nonlinear map of the first part plus noise, the text features of
the second. So each modality tells an equally large part of what interactions depend on, and only the
interactions tell all. Nothing in it refers to any model.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.files import new_folder_beside

N_USERS, N_ITEMS = 2_000, 1_500
WIDTHS = {"image": 128, "text": 64}  # of the features
PARTS = (*WIDTHS, "hidden")  # of the latent
SIZE = 8  # dimensions of a part
N_CLUSTERS = 40  # cluster centres in a part
SPREAD = 0.5  # deviation from the centre, of a centre's own length
TASTE = 3.5  # weight of each part of a taste, against the Gumbel noise
POPULARITY = 0.6  # exponent of the power law of items
NOISE = 0.6  # of the features, against their signal
PER_USER, FEWEST = 8, 5  # mean and least number of interactions of a user


@dataclass(frozen=True)
class Demo:
    """The planted truth and what is shown of it."""

    latents: dict[str, np.ndarray]  # of each part: (I, SIZE), rows of unit length
    tastes: dict[str, np.ndarray]  # (U, SIZE), rows of unit length
    features: dict[str, np.ndarray]  # (I, WIDTHS[name]) float32
    users: np.ndarray  # (n,) by user
    items: np.ndarray
    labels: np.ndarray


def plant(seed: int = 2023) -> Demo:
    """Everything about the data set, from the seed alone."""
    rng = np.random.default_rng(seed)
    latents = {name: _latent(rng) for name in PARTS}
    tastes = {name: _unit(rng.standard_normal((N_USERS, SIZE))) for name in PARTS}
    features = {name: _show(latents[name], width, rng) for name, width in WIDTHS.items()}
    users, items = _interact(latents, tastes, rng)
    return Demo(latents, tastes, features, users, items, split_labels(users, rng))


def generate(folder: Path, seed: int = 2023) -> None:
    """Write demo.inter, image_feat.npy and text_feat.npy into `folder`, unless another process just did."""
    demo = plant(seed)
    new = new_folder_beside(folder)
    try:
        table = np.stack([demo.users, demo.items, demo.labels], axis=1)
        header = "userID\titemID\tx_label"
        np.savetxt(new / "demo.inter", table, "%d", "\t", header=header, comments="")
        for name, features in demo.features.items():
            np.save(new / f"{name}_feat.npy", features)
        os.rename(new, folder)
    except OSError:
        if not (folder / "demo.inter").exists():
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def split_labels(users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels (n,) of interactions grouped by user, by MMRec's rule, at random within a user.

    Of n < 10 interactions one each is for validation and test; else a fifth is held out, half of it for either.
    """
    labels = np.zeros(len(users), dtype=np.int64)
    for mine in np.split(np.arange(len(users)), np.cumsum(np.bincount(users))[:-1]):
        n_held_out = 2 if len(mine) < 10 else len(mine) // 5
        held_out = rng.permutation(mine)[:n_held_out]
        labels[held_out[: n_held_out // 2]], labels[held_out[n_held_out // 2 :]] = 1, 2
    return labels


def _latent(rng: np.random.Generator) -> np.ndarray:
    centres = _unit(rng.standard_normal((N_CLUSTERS, SIZE)))
    deviation = _unit(rng.standard_normal((N_ITEMS, SIZE)))
    return _unit(centres[rng.integers(N_CLUSTERS, size=N_ITEMS)] + SPREAD * deviation)


def _show(latent: np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
    """Features (I, width) float32 of a part of the latent: a random two-layer map, and noise."""
    hidden = np.tanh(2 * latent @ rng.standard_normal((SIZE, 4 * SIZE)))
    shown = hidden @ rng.standard_normal((4 * SIZE, width)) / np.sqrt(4 * SIZE)
    return (shown + NOISE * shown.std() * rng.standard_normal(shown.shape)).astype(np.float32)


def _interact(
    latents: dict[str, np.ndarray], tastes: dict[str, np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Users and items (n,) by user; an item that nobody took goes to the user who likes it most."""
    popularity = -POPULARITY * np.log(1 + rng.permutation(N_ITEMS))
    liking = TASTE * np.sqrt(SIZE) / 2 * sum(tastes[name] @ latents[name].T for name in latents)
    wish = liking + popularity + rng.gumbel(size=liking.shape)
    counts = FEWEST + rng.geometric(1 / (PER_USER - FEWEST), size=N_USERS)
    rank = np.empty_like(wish, dtype=np.int64)
    np.put_along_axis(rank, np.argsort(-wish, axis=1, kind="stable"), np.arange(N_ITEMS)[None, :], axis=1)
    taken = rank < counts[:, None]
    for item in np.flatnonzero(taken.sum(0) < 3):
        taken[np.argsort(-wish[:, item], kind="stable")[:3], item] = True
    return np.nonzero(taken)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)
