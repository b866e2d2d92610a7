"""Ranking metrics: pure functions of a hit matrix and relevant counts, a value per user and cut-off.

Everywhere `hits` (U, K) is True where the item at that rank is relevant, `n_relevant` (U,) counts the
relevant items of a user wherever they rank, and column k-1 of the result (U, K) float64 is the metric at k.
No metric is defined for a user without relevant items; `evaluate` refuses such users.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from utils.errors import UserError, did_you_mean


def recall(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """Share of the relevant items that are among the first k.

    >>> recall(np.array([[True, False, True]]), np.array([2]))
    array([[0.5, 0.5, 1. ]])
    """
    return hits.cumsum(axis=1) / n_relevant[:, None]


def precision(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """Share of the first k that is relevant.

    >>> precision(np.array([[True, False]]), np.array([2]))
    array([[1. , 0.5]])
    """
    return hits.cumsum(axis=1) / _ranks(hits)


def ndcg(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """Sum of 1 / log2(rank + 1) over hits, divided by what min(n_relevant, k) hits at the top would give.

    >>> ndcg(np.array([[False, False, True]]), np.array([1]))
    array([[0. , 0. , 0.5]])
    """
    discounts = 1 / np.log2(_ranks(hits) + 1)
    ideal = discounts.cumsum()
    return (hits * discounts).cumsum(axis=1) / ideal[_best_possible(hits, n_relevant) - 1]


def average_precision(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """Precision at each hit, summed and divided by min(n_relevant, k); its mean over users is MAP.

    >>> average_precision(np.array([[False, True]]), np.array([2]))
    array([[0.  , 0.25]])
    """
    return (precision(hits, n_relevant) * hits).cumsum(axis=1) / _best_possible(hits, n_relevant)


def hit(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """1 where any of the first k is relevant.

    >>> hit(np.array([[False, True, False]]), np.array([1]))
    array([[0., 1., 1.]])
    """
    return np.maximum.accumulate(hits, axis=1).astype(np.float64)


def reciprocal_rank(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """1 / rank of the first hit, 0 where none is among the first k; its mean over users is MRR.

    >>> reciprocal_rank(np.array([[False, True, True]]), np.array([2]))
    array([[0. , 0.5, 0.5]])
    """
    return np.maximum.accumulate(hits / _ranks(hits), axis=1)


USERS_AT_A_TIME = 4096  # bounds the memory of the values at every rank, of which cut-offs keep a few


@dataclass(frozen=True)
class Metric:
    """A metric, of which more is better, and how it is written."""

    function: Callable[[np.ndarray, np.ndarray], np.ndarray]
    title: str


METRICS: dict[str, Metric] = {
    "recall": Metric(recall, "Recall"),
    "ndcg": Metric(ndcg, "NDCG"),
    "precision": Metric(precision, "Precision"),
    "map": Metric(average_precision, "MAP"),
    "hit": Metric(hit, "Hit"),
    "mrr": Metric(reciprocal_rank, "MRR"),
}


def metric_name(text: str) -> str:
    """The name under which a metric, in whatever case, is registered. Raises UserError.

    >>> metric_name('NDCG')
    'ndcg'
    """
    name = text.lower()
    if name not in METRICS:
        hint = did_you_mean(text, METRICS) or f"; known: {', '.join(METRICS)}"
        raise UserError(f"unknown metric '{text}'{hint}")
    return name


def parse_metric(text: str) -> tuple[str, int]:
    """Name and cut-off of a metric. Raises UserError.

    >>> parse_metric('Recall@20')
    ('recall', 20)
    """
    name, at, cutoff = text.partition("@")
    name = metric_name(name)
    if not at:
        raise UserError(f"metric '{text}' has no cut-off; write it as {name}@20")
    if not re.fullmatch("[1-9][0-9]*", cutoff):
        raise UserError(f"metric '{text}' needs a positive whole number behind the @, got '{cutoff}'")
    return name, int(cutoff)


def canonical_metric(text: str) -> str:
    """The one spelling of a metric. Raises UserError.

    >>> canonical_metric('ndcg@10')
    'NDCG@10'
    """
    name, k = parse_metric(text)
    return f"{METRICS[name].title}@{k}"


def evaluate(
    hits: np.ndarray,
    n_relevant: np.ndarray,
    metrics: Sequence[str],
    topk: Sequence[int],
) -> dict[str, np.ndarray]:
    """Every metric at every cut-off: per-user values (U,) float64 by names such as 'recall@20'.

    Raises UserError, also for a user without relevant items, for whom no metric is defined.
    """
    _check(hits, n_relevant, topk)
    names = [metric_name(text) for text in metrics]
    values = {f"{name}@{k}": np.empty(len(hits)) for name in names for k in topk}
    for start in range(0, len(hits), USERS_AT_A_TIME):
        block = slice(start, start + USERS_AT_A_TIME)
        for name in names:
            at_every_k = METRICS[name].function(hits[block, : max(topk)], n_relevant[block])
            for k in topk:
                values[f"{name}@{k}"][block] = at_every_k[:, k - 1]
    return values


def _check(hits: np.ndarray, n_relevant: np.ndarray, topk: Sequence[int]) -> None:
    if hits.ndim != 2 or n_relevant.shape != hits.shape[:1]:
        raise UserError(
            f"hits and n_relevant must be (U, K) and (U,), got {hits.shape} and {n_relevant.shape}"
        )
    if not topk or min(topk) < 1:
        raise UserError(f"cut-offs must be positive, at least one of them; got {list(topk)}")
    if max(topk) > hits.shape[1]:
        raise UserError(
            f"cut-off {max(topk)} is larger than the ranking lists, which hold {hits.shape[1]} items; "
            f"lower topk or rank more items"
        )
    if not n_relevant.all():
        rows = np.flatnonzero(n_relevant == 0)
        raise UserError(
            f"the user in row {rows[0]} has no relevant items ({len(rows)} such users), so its metrics are "
            f"undefined; leave such users out"
        )


def _ranks(hits: np.ndarray) -> np.ndarray:
    """1..K"""
    return np.arange(1, hits.shape[1] + 1)


def _best_possible(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """Most hits (U, K) that the first k can hold."""
    return np.minimum(n_relevant[:, None], _ranks(hits))
