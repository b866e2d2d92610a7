"""Results by group: users by how much they interacted in training, items by how popular they were there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utils.errors import UserError
from utils.evaluation.beyond_accuracy import first_k, popular_head
from utils.evaluation.ranking import Truth, hit_matrix

FEWEST = (0, 1, 5, 10, 20)
"""Where each group of users begins; the first holds cold users only, the last has no end."""

ITEM_GROUPS = ("popular", "long tail", "cold")


@dataclass(frozen=True, eq=False)
class Group:
    """Some of the users: a label such as '5-9 interactions', and their rows (n,) int64, ascending."""

    label: str
    rows: np.ndarray


def user_groups(n_train: np.ndarray) -> list[Group]:
    """Users by their number of training interactions (U,), fewest first, without empty groups.

    >>> [(group.label, group.rows.tolist()) for group in user_groups(np.array([7, 0, 30, 9]))]
    [('0 interactions', [1]), ('5-9 interactions', [0, 3]), ('20+ interactions', [2])]
    """
    if n_train.ndim != 1 or n_train.min(initial=0) < 0:
        raise UserError(
            f"n_train must be (U,) counts from 0 up, got shape {n_train.shape}, lowest {n_train.min(initial=0)}"
        )
    number = np.searchsorted(FEWEST, n_train, side="right") - 1
    return [Group(_label(group), np.flatnonzero(number == group)) for group in np.unique(number).tolist()]


def by_user_group(values: np.ndarray, n_train: np.ndarray) -> dict[str, tuple[float, int]]:
    """Mean of a metric's values (U,) in each group of users, and how many users that is. Raises UserError.

    >>> by_user_group(np.array([0.5, 0.0, 1.0]), np.array([6, 7, 12]))
    {'5-9 interactions': (0.25, 2), '10-19 interactions': (1.0, 1)}
    """
    if values.shape != n_train.shape:
        raise UserError(
            f"values and n_train must be of the same users, got {values.shape} and {n_train.shape}; "
            f"n_train[users] picks those of the test"
        )
    return {
        group.label: (float(values[group.rows].mean()), len(group.rows)) for group in user_groups(n_train)
    }


def by_item_group(
    items: np.ndarray, truth: Truth, popularity: np.ndarray, k: int
) -> dict[str, tuple[float, int]]:
    """Recall at k in each group of items, and how many relevant items that is, without empty groups.

    Of all pairs of a user and an item relevant to it, those of the group's items: the share that is among the
    first k of the user's list, every pair counting alike. `items` (U, K) are the lists of truth.users, `popularity`
    (I,) the training interactions that make an item popular (`popular_head`), long tail or cold (0).
    Raises UserError.

    >>> truth = Truth.from_split(users=np.array([0, 0, 1]), items=np.array([0, 1, 2]))
    >>> by_item_group(np.array([[0, 3], [1, 2]]), truth, np.array([8, 1, 1, 0]), k=2)
    {'popular': (1.0, 1), 'long tail': (0.5, 2)}
    """
    items, n_items = first_k(items, k), len(popularity)
    _check(items, truth, n_items)
    group_of = np.where(popular_head(popularity), 0, np.where(popularity > 0, 1, 2))  # (I,) into ITEM_GROUPS
    found_items = items[hit_matrix(items, truth, n_items)]
    found, relevant = (np.bincount(group_of[ids], minlength=3) for ids in (found_items, truth.items))
    return {
        label: (float(found[group] / relevant[group]), int(relevant[group]))
        for group, label in enumerate(ITEM_GROUPS)
        if relevant[group]
    }


def _label(group: int) -> str:
    first, following = FEWEST[group], (*FEWEST, None)[group + 1]
    if following is None:
        return f"{first}+ interactions"
    return f"{first} interactions" if following == first + 1 else f"{first}-{following - 1} interactions"


def _check(items: np.ndarray, truth: Truth, n_items: int) -> None:
    if len(items) != len(truth.users) or not len(truth.items):
        raise UserError(
            f"expected a ranking list for each user with relevant items, got {len(items)} lists and "
            f"{len(truth.users)} users with {len(truth.items)} relevant items"
        )
    highest = max(items.max(), truth.items.max())
    if highest >= n_items:
        raise UserError(
            f"item {highest} is ranked or relevant, but popularity counts only {n_items} items; "
            f"all must be of one data set"
        )
