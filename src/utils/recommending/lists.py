"""What a trained model recommends to whom, and how much each modality counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from common.abstract_recommender import AbstractRecommender
from utils.config import Config
from utils.data.dataset import Dataset
from utils.errors import UserError
from utils.evaluation.ranking import Evaluator, ItemSets, Lists, forward_once

BLOCK = 4096
"""Users whose lists are held at a time where there are lists for all of them."""


def recommend(
    config: Config, dataset: Dataset, model: AbstractRecommender, users: np.ndarray, k: int,
    keep_validation: bool = False,
) -> Lists:  # fmt: skip
    """The k best items of the users (U,), without those of training and of validation; at most all items.

    What a user has is not recommended again; `keep_validation` lets validation items in, as the test of MMRec's
    protocol does. Items of the test stay in either way. Raises UserError for an unknown user or k below 1.
    """
    return _recommender(config, dataset, model, k, keep_validation)(users)


def recommend_all(
    config: Config, dataset: Dataset, model: AbstractRecommender, k: int, keep_validation: bool = False
) -> Iterator[Lists]:
    """The lists of all users, in blocks of BLOCK of them, ascending; see `recommend`."""
    lists = _recommender(config, dataset, model, k, keep_validation)
    with forward_once(model):
        for start in range(0, dataset.n_users, BLOCK):
            yield lists(np.arange(start, min(start + BLOCK, dataset.n_users)))


def _recommender(
    config: Config, dataset: Dataset, model: AbstractRecommender, k: int, keep_validation: bool
) -> Callable[[np.ndarray], Lists]:
    if k < 1:
        raise UserError(f"-k is {k}; expected the number of items per user, 1 or more")
    evaluator, known = Evaluator(config, dataset), known_items(dataset, keep_validation)

    def lists(users: np.ndarray) -> Lists:
        unknown = users[(users < 0) | (users >= dataset.n_users)]
        if len(unknown):
            raise UserError(
                f"'{dataset.name}' has no user {unknown[0]}; expected ids from 0 to {dataset.n_users - 1}"
            )
        return evaluator.recommend(model, users, known, min(k, dataset.n_items))

    return lists


def known_items(dataset: Dataset, keep_validation: bool = False) -> ItemSets:
    """What is not recommended to each user: items of training, and of validation unless `keep_validation`."""
    splits = [dataset.train] if keep_validation else [dataset.train, dataset.valid]
    users, items = (np.concatenate([getattr(split, name) for split in splits]) for name in ("users", "items"))
    return ItemSets.from_pairs(users, items, dataset.n_users)


def modality_shares(model: AbstractRecommender) -> dict[str, Tensor] | None:
    """How much each modality counted for every item (I,), on the CPU; None where the model does not say."""
    model.eval()
    with torch.no_grad():
        shares = model.modality_shares()
    return None if shares is None else {name: share.cpu() for name, share in shares.items()}
