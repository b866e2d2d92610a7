"""What accuracy does not show of ranking lists: coverage, concentration, popularity, novelty, diversity.

Everywhere `items` (U, K) int64 are lists as `utils.evaluation.ranking.Lists` has them, best first, -1 where a list
is short, and `popularity` (I,) counts the training interactions of each item. Means over users leave out users
without a list. The functions take lists as they are; `beyond_accuracy` cuts them at k and checks them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_matrix

from utils.errors import UserError

HEAD_PERCENT = 80
"""The most popular items that together hold this share of the training interactions are the head."""

USERS_AT_A_TIME = 2048  # bounds the memory of the sums of features, one of length F per user


def coverage(items: np.ndarray, n_items: int) -> float:
    """Share of the catalogue that is in any list: aggregate diversity (Adomavicius & Kwon, 2012) over I.

    >>> coverage(np.array([[0, 1], [0, -1]]), n_items=4)
    0.5
    """
    return float((_exposure(items, n_items) > 0).mean())


def gini(items: np.ndarray, n_items: int) -> float:
    """Gini index of how often each item of the catalogue is listed: 0 all alike, 1 - 1/I one item alone.

    The sum over items, in ascending order of their count x, of (2 j - I - 1) x_j, divided by I times the sum of
    x (Gini, 1912; for recommendations Fleder & Hosanagar, 2009). Items that nobody is shown are part of it.

    >>> gini(np.array([[0, 1], [0, -1]]), n_items=4)  # counts 0, 0, 1, 2: (1 * 1 + 3 * 2) / (4 * 3)
    0.5833333333333334
    """
    exposure = np.sort(_exposure(items, n_items))
    weights = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float(weights @ exposure / (n_items * exposure.sum()))


def average_popularity(items: np.ndarray, popularity: np.ndarray) -> float:
    """Mean over users of the mean training interactions of their items: ARP (Yin et al., 2012).

    >>> average_popularity(np.array([[0, 1], [0, -1]]), np.array([6, 2]))
    5.0
    """
    return _mean_over_users(popularity, items)


def novelty(items: np.ndarray, popularity: np.ndarray, n_users: int) -> float:
    """Mean over users of the mean self-information, -log2(popularity / n_users), of their items, in bits.

    Zhou et al. (2010), `n_users` being all users of the data set. An item without training interactions counts as
    one with a single interaction: log2(n_users) bits, the most there are.

    >>> novelty(np.array([[0, 1], [2, -1]]), np.array([4, 2, 0]), n_users=8)  # 1 and 2 bits; 3 bits
    2.25
    """
    return _mean_over_users(np.log2(n_users) - np.log2(np.maximum(popularity, 1)), items)


def long_tail_share(items: np.ndarray, popularity: np.ndarray) -> float:
    """Mean over users of the share of their items that is outside the popular head.

    APLT of Abdollahpouri, Burke & Mobasher (2019), with the head of `popular_head`; items without training
    interactions are outside of it.

    >>> long_tail_share(np.array([[0, 1], [2, -1]]), np.array([8, 1, 1]))
    0.75
    """
    return _mean_over_users(~popular_head(popularity), items)


def popular_head(popularity: np.ndarray) -> np.ndarray:
    """True (I,) for the fewest items that hold 80 % of the training interactions; equals by ascending id.

    >>> popular_head(np.array([1, 5, 3, 1]))
    array([False,  True,  True, False])
    """
    order = np.argsort(-popularity, kind="stable")
    held_before = popularity[order].cumsum() - popularity[order]
    head = np.zeros(len(popularity), dtype=bool)
    head[order] = 100 * held_before < HEAD_PERCENT * popularity.sum()
    return head


def diversity(items: np.ndarray, features: np.ndarray) -> float:
    """Mean over users of the mean 1 - cosine of the features (I, F) of any two of their items.

    Intra-list similarity of Ziegler et al. (2005), turned round. The cosines of n unit vectors, each pair twice,
    are |their sum|^2 - n. An item whose features are all zero has no direction and is passed over; a list with
    fewer than two others is left out. NaN where no list is left, as with k=1.

    >>> diversity(np.array([[0, 1, 2], [0, -1, -1]]), np.eye(3))
    1.0
    """
    features = np.asarray(features, dtype=np.float32)
    lengths = np.sqrt(np.einsum("if,if->i", features, features))
    inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    total, n_lists = 0.0, 0
    for start in range(0, len(items), USERS_AT_A_TIME):
        block = items[start : start + USERS_AT_A_TIME]
        usable = (block >= 0) & (inverse[block] > 0)
        enough = usable.sum(axis=1) >= 2
        block, usable = block[enough], usable[enough]
        n = usable.sum(axis=1)
        indptr = np.append(0, n.cumsum())
        picked = csr_matrix((inverse[block[usable]], block[usable], indptr), (len(block), len(features)))
        sums = picked @ features  # (B, F)
        cosines = np.einsum("bf,bf->b", sums, sums) - n
        total += float((1 - cosines / (n * (n - 1))).sum())
        n_lists += len(block)
    return total / n_lists if n_lists else float("nan")


def beyond_accuracy(
    items: np.ndarray,
    popularity: np.ndarray,
    n_users: int,
    k: int,
    features: Mapping[str, np.ndarray] | None = None,
) -> dict[str, float]:
    """All of the above for the first k of each list, by names such as 'coverage@20' and 'diversity-image@20'.

    `features` holds an array (I, F) for each modality. Raises UserError.

    >>> beyond_accuracy(np.array([[0, 1], [0, -1]]), np.array([8, 2]), n_users=8, k=1)
    {'coverage@1': 0.5, 'gini@1': 0.5, 'popularity@1': 8.0, 'novelty@1': 0.0, 'tail@1': 0.0}
    """
    items, n_items = first_k(items, k), len(popularity)
    _check(items, n_items, features or {})
    values = {
        "coverage": coverage(items, n_items),
        "gini": gini(items, n_items),
        "popularity": average_popularity(items, popularity),
        "novelty": novelty(items, popularity, n_users),
        "tail": long_tail_share(items, popularity),
    }
    values |= {f"diversity-{name}": diversity(items, array) for name, array in (features or {}).items()}
    return {f"{name}@{k}": value for name, value in values.items()}


def first_k(items: np.ndarray, k: int) -> np.ndarray:
    """The lists (U, K) cut at k. Raises UserError where they are shorter."""
    if items.ndim != 2 or not 1 <= k <= items.shape[1]:
        raise UserError(
            f"cut-off {k} does not fit ranking lists of shape {items.shape}; expected (U, K) and a cut-off "
            f"from 1 to K; lower it or rank more items"
        )
    return items[:, :k]


def _exposure(items: np.ndarray, n_items: int) -> np.ndarray:
    """How many lists (I,) hold each item."""
    return np.bincount(items[items >= 0], minlength=n_items)


def _mean_over_users(of_item: np.ndarray, items: np.ndarray) -> float:
    """Mean over the users who have a list of the mean of a value (I,) of their items."""
    listed = items >= 0
    n = listed.sum(axis=1)
    sums = np.where(listed, of_item[items], 0).sum(axis=1)
    return float((sums[n > 0] / n[n > 0]).mean())


def _check(items: np.ndarray, n_items: int, features: Mapping[str, np.ndarray]) -> None:
    if items.max(initial=-1) < 0:
        raise UserError(f"none of the {len(items)} ranking lists holds an item, so nothing can be measured")
    if items.max() >= n_items:
        raise UserError(
            f"the ranking lists hold item {items.max()}, but popularity counts only {n_items} items; "
            f"both must be of one data set"
        )
    for name, array in features.items():
        if array.ndim != 2 or len(array) != n_items:
            raise UserError(f"features '{name}' must be ({n_items}, F), a row per item; got {array.shape}")
