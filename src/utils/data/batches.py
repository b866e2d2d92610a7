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
        """Negatives (n,) for users (n,): drawn again until none is one of the user's items."""
        negatives = rng.choice(self.candidates, size=len(users))
        open_ = np.arange(len(users))
        while len(open_):
            keys = users[open_] * self.n_items + negatives[open_]
            place = np.searchsorted(self.keys, keys)
            open_ = open_[self.keys[np.minimum(place, len(self.keys) - 1)] == keys]
            negatives[open_] = rng.choice(self.candidates, size=len(open_))
        return negatives


class TrainDataLoader:
    """What a model gets as its data set, and the batches of an epoch.

    Iterating gives int64 tensors (3, B): user, positive, negative; (2, B) with `use_neg_sampling` off. Every
    iteration is a new epoch in a new order; the last batch may be short.
    """

    def __init__(self, config: Config, dataset: Dataset):
        self.config, self.dataset = config, dataset
        self.batch_size, self.device = config["train_batch_size"], config["device"]
        self.users, self.items = dataset.train.users, dataset.train.items
        self.rng = np.random.default_rng(config["seed"])
        self.sampler = None
        if config["use_neg_sampling"]:
            pool = config["negative_items"]
            self.sampler = NegativeSampler(self.users, self.items, dataset.n_items, pool)

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
        return -(-len(self.users) // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        order = self.rng.permutation(len(self.users))
        rows = [self.users[order], self.items[order]]
        if self.sampler is not None:
            rows.append(self.sampler.draw(rows[0], self.rng))
        epoch = torch.from_numpy(np.stack(rows)).to(self.device)
        # A batch is the model's own: MMRec's models may write into it.
        yield from (batch.contiguous() for batch in epoch.split(self.batch_size, dim=1))
