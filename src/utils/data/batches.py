"""Training batches: every epoch's order and negatives are drawn at once, from a generator of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from common.state import generator_state, set_generator_state
from utils.errors import UserError

if TYPE_CHECKING:
    from utils.config import Config
    from utils.data.dataset import Dataset


class NegativeSampler:
    """One item per user, uniform over the candidates (those of training, or all), none of the user's own.

    users, items (n,): the interactions of training. Raises UserError for a user who has every candidate.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, n_items: int, pool: str = "train"):
        self.n_items = n_items
        self.candidates = np.arange(n_items) if pool == "all" else np.unique(items)
        self.keys = np.unique(users.astype(np.int64) * n_items + items)  # sorted, for the search below
        owners, counts = np.unique(self.keys // n_items, return_counts=True)
        full = owners[counts >= len(self.candidates)]
        others = "" if pool == "all" else ", or set negative_items=all"
        if len(full):
            raise UserError(
                f"user {full[0]} has all {len(self.candidates)} items that negatives are drawn from, "
                f"so it can get none ({len(full)} such users); drop them from the .inter file{others}"
            )

    def draw(self, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Negatives (n,) for users (n,)."""
        return _draw_others(users, self.candidates, self.keys, self.n_items, rng)


def _draw_others(
    owners: np.ndarray, candidates: np.ndarray, keys: np.ndarray, n_items: int, rng: np.random.Generator
) -> np.ndarray:
    """A candidate (n,) for each of the owners (n,): drawn again until none is among the owner's own.

    keys: owner * n_items + item of whatever an owner has, ascending.
    """
    drawn = rng.choice(candidates, size=len(owners))
    open_ = np.arange(len(owners))
    while len(open_):
        wanted = owners[open_] * n_items + drawn[open_]
        place = np.searchsorted(keys, wanted)
        open_ = open_[keys[np.minimum(place, len(keys) - 1)] == wanted]
        drawn[open_] = rng.choice(candidates, size=len(open_))
    return drawn


class NeighbourSampler:
    """For each item one that shares a user of training with it, and one that does not, which may be itself.

    As in MMRec, items without such neighbours get 0 and 0, and so do those whose neighbours are more than CROWD
    of all items.
    """

    CROWD = 0.8

    def __init__(self, interactions: sp.spmatrix):
        """interactions (U, I): those of training."""
        own = sp.csr_matrix(interactions)
        shared = sp.coo_matrix(own.T @ own)
        others = shared.row != shared.col
        self.n_items = own.shape[1]
        self.candidates = np.unique(own.indices)
        self.keys = np.sort(shared.row[others].astype(np.int64) * self.n_items + shared.col[others])
        self._counts = np.bincount(self.keys // self.n_items, minlength=self.n_items)
        self._starts = np.cumsum(self._counts) - self._counts

    def draw(self, items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Of items (n,): neighbours and others (2, n)."""
        drawn = np.zeros((2, len(items)), dtype=np.int64)
        counts = self._counts[items]
        able = (counts > 0) & (counts <= self.CROWD * len(self.candidates))
        owners = items[able]
        place = self._starts[owners] + rng.integers(counts[able])
        drawn[0, able] = self.keys[place] % self.n_items
        drawn[1, able] = _draw_others(owners, self.candidates, self.keys, self.n_items, rng)
        return drawn


class TrainDataLoader:
    """What a model gets as its data set, and the batches of an epoch.

    Iterating gives int64 tensors (3, B): user, positive, negative; (2, B) with `use_neg_sampling` off; (5, B) with
    `use_neighborhood_loss`: an item near the positive and one that is not besides; (B,) with `use_full_sampling`:
    the users of training. Every iteration is a new epoch in a new order; the last batch may be short.
    """

    def __init__(self, config: Config, dataset: Dataset):
        self.config, self.dataset = config, dataset
        self.batch_size, self.device = config["train_batch_size"], config["device"]
        self.users, self.items = dataset.train.users, dataset.train.items
        self.rng = np.random.default_rng(config["seed"])
        self.users_alone = np.unique(self.users) if config["use_full_sampling"] else None
        self.sampler = self.neighbour_sampler = None
        if config["use_neg_sampling"] and self.users_alone is None:
            pool = config["negative_items"]
            self.sampler = NegativeSampler(self.users, self.items, dataset.n_items, pool)
            if config["use_neighborhood_loss"]:
                self.neighbour_sampler = NeighbourSampler(self.inter_matrix())

    def inter_matrix(self, form: str = "coo") -> sp.coo_matrix | sp.csr_matrix:
        """Training interactions (U, I) as ones, in MMRec's two forms."""
        shape = (self.dataset.n_users, self.dataset.n_items)
        matrix = sp.coo_matrix((np.ones(len(self.users)), (self.users, self.items)), shape=shape)
        if form not in ("coo", "csr"):
            raise ValueError(f"inter_matrix gives the forms 'coo' and 'csr', not '{form}'")
        return matrix if form == "coo" else matrix.tocsr()

    def state_dict(self) -> dict[str, str]:
        """Where the sequence of epochs stands: the next one is drawn from it."""
        return {"rng": generator_state(self.rng)}

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Go on with the epoch that follows those of `state`."""
        set_generator_state(self.rng, state["rng"])

    def __len__(self) -> int:
        return -(-len(self.users if self.users_alone is None else self.users_alone) // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        epoch = torch.from_numpy(self._draw_epoch()).to(self.device)
        # A batch is the model's own: MMRec's models may write into it.
        yield from (batch.contiguous() for batch in epoch.split(self.batch_size, dim=-1))

    def _draw_epoch(self) -> np.ndarray:
        """All batches of an epoch, one behind the other along the last axis."""
        if self.users_alone is not None:
            return self.rng.permutation(self.users_alone)
        order = self.rng.permutation(len(self.users))
        rows = [self.users[order], self.items[order]]
        if self.sampler is not None:
            rows.append(self.sampler.draw(rows[0], self.rng))
        if self.neighbour_sampler is not None:
            rows.extend(self.neighbour_sampler.draw(rows[1], self.rng))
        return np.stack(rows)
