"""Properties of ranking lists against loops over users and pairs of items, and their edges and faults."""

from __future__ import annotations

import doctest
import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.errors import UserError
from utils.evaluation import beyond_accuracy as module
from utils.evaluation.beyond_accuracy import (
    average_popularity,
    beyond_accuracy,
    coverage,
    diversity,
    first_k,
    gini,
    long_tail_share,
    novelty,
    popular_head,
)

N_USERS = 50


@st.composite
def lists_and_popularity(draw):
    """Lists (U, K) of distinct items, -1 behind the end of short ones, at least one not empty; counts (I,)."""
    n_items = draw(st.integers(1, 10))
    length = draw(st.integers(1, n_items))
    row = st.lists(st.integers(0, n_items - 1), max_size=length, unique=True)
    rows = draw(st.lists(row, min_size=1, max_size=6).filter(any))
    items = np.array([[*row, *[-1] * (length - len(row))] for row in rows], dtype=np.int64)
    counts = st.lists(st.integers(0, N_USERS), min_size=n_items, max_size=n_items)
    return items, np.array(draw(counts), dtype=np.int64)


def mean_over_users(value, items: np.ndarray) -> float:
    """Mean over users with a list of the mean of value(item), a user and an item at a time."""
    rows = [[value(item) for item in row if item >= 0] for row in items.tolist()]
    means = [sum(row) / len(row) for row in rows if row]
    return sum(means) / len(means)


@given(lists_and_popularity())
@settings(max_examples=100, deadline=None)
def test_plain_python(drawn):
    items, popularity = drawn
    n_items, k = len(popularity), items.shape[1]
    shown = [sum(item in row for row in items.tolist()) for item in range(n_items)]
    head = head_by_hand(popularity.tolist())
    expected = {
        "coverage": sum(count > 0 for count in shown) / n_items,
        "gini": sum(abs(a - b) for a in shown for b in shown) / (2 * n_items * sum(shown)),
        "popularity": mean_over_users(lambda item: popularity[item], items),
        "novelty": mean_over_users(lambda item: -math.log2(max(popularity[item], 1) / N_USERS), items),
        "tail": mean_over_users(lambda item: item not in head, items),
    }
    values = beyond_accuracy(items, popularity, N_USERS, k)
    assert list(values) == [f"{name}@{k}" for name in expected]
    assert all(type(value) is float for value in values.values())
    np.testing.assert_allclose(list(values.values()), list(expected.values()), rtol=1e-12, atol=1e-12)


def head_by_hand(popularity: list[int]) -> set[int]:
    head: set[int] = set()
    for item in sorted(range(len(popularity)), key=lambda item: (-popularity[item], item)):
        if 10 * sum(popularity[other] for other in head) >= 8 * sum(popularity):
            break
        head.add(item)
    return head


@given(lists_and_popularity(), st.randoms())
@settings(max_examples=50, deadline=None)
def test_order_of_users_does_not_matter(drawn, random):
    items, popularity = drawn
    features = {"image": np.random.default_rng(0).normal(size=(len(popularity), 3))}
    shuffled = items[random.sample(range(len(items)), len(items))]
    one, other = (
        beyond_accuracy(i, popularity, N_USERS, items.shape[1], features) for i in (items, shuffled)
    )
    np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=1e-6, atol=1e-6)


@given(lists_and_popularity())
@settings(max_examples=50, deadline=None)
def test_gini_is_between_0_and_1(drawn):
    items, popularity = drawn
    assert -1e-12 <= gini(items, len(popularity)) < 1


def test_gini_of_equal_and_of_extreme_exposure():
    assert gini(np.arange(12).reshape(4, 3), n_items=12) == 0
    assert gini(np.full((9, 1), 3), n_items=10) == pytest.approx(0.9)


def test_coverage_of_everything():
    assert coverage(np.array([[0, 1], [2, 0]]), n_items=3) == 1


def test_head_ends_with_the_item_that_reaches_80_percent():
    assert popular_head(np.array([8, 1, 1])).tolist() == [True, False, False]
    assert popular_head(np.array([7, 1, 1, 1])).tolist() == [True, True, False, False]
    assert popular_head(np.array([0, 5, 0])).tolist() == [False, True, False]
    assert not popular_head(np.zeros(3, dtype=np.int64)).any()


def test_short_lists_weigh_as_much_as_full_ones():
    items, popularity = np.array([[0, 1], [1, -1], [-1, -1]]), np.array([10, 2])
    assert average_popularity(items, popularity) == (6 + 2) / 2
    assert long_tail_share(items, popularity) == (0.5 + 1) / 2


def test_an_item_without_training_interactions_is_as_novel_as_one_with_a_single():
    items = np.array([[0], [1]])
    assert novelty(items, np.array([0, 1]), n_users=64) == math.log2(64)


def pairwise(items: np.ndarray, features: np.ndarray) -> float:
    means = []
    for row in items.tolist():
        kept = [features[item] for item in row if item >= 0 and features[item].any()]
        pairs = [1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in combinations(kept, 2)]
        means += [sum(pairs) / len(pairs)] if pairs else []
    return sum(means) / len(means) if means else math.nan


@given(lists_and_popularity(), st.integers(0, 5), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_diversity_is_that_of_all_pairs(drawn, seed, per_block):
    items, popularity = drawn
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(len(popularity), 4)) * generator.integers(0, 3, (len(popularity), 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "USERS_AT_A_TIME", per_block)
        np.testing.assert_allclose(diversity(items, features), pairwise(items, features), atol=1e-5)


def test_diversity_of_alike_and_of_opposite_items():
    items = np.array([[0, 1]])
    assert diversity(items, np.array([[1.0, 2.0], [2.0, 4.0]])) == pytest.approx(0, abs=1e-6)
    assert diversity(items, np.array([[1.0, 2.0], [-2.0, -4.0]])) == pytest.approx(2)


def test_diversity_passes_over_what_has_no_direction_or_no_pair():
    features = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert diversity(np.array([[0, 1, 2], [0, 2, -1], [0, -1, -1], [-1, -1, -1]]), features) == 1
    assert math.isnan(diversity(np.array([[0], [1]]), features))
    assert math.isnan(diversity(np.array([[0, 1]]), np.zeros((3, 2))))


def test_names_and_cut_off():
    items, popularity = np.array([[0, 1, 2], [0, 2, 1]]), np.array([5, 3, 0])
    features = {"image": np.eye(3), "text": np.ones((3, 2), dtype=np.float32)}
    values = beyond_accuracy(items, popularity, 8, 2, features)
    names = ["coverage", "gini", "popularity", "novelty", "tail", "diversity-image", "diversity-text"]
    assert list(values) == [f"{name}@2" for name in names]
    assert values == beyond_accuracy(items[:, :2], popularity, 8, 2, features)
    assert first_k(items, 2).tolist() == [[0, 1], [0, 2]]


@pytest.mark.parametrize(
    ("items", "k", "features", "message"),
    [
        ([[0, 1]], 3, {}, r"cut-off 3 does not fit ranking lists of shape \(1, 2\).*lower it or rank more"),
        ([[0, 1]], 0, {}, "cut-off 0 does not fit"),
        ([0, 1], 1, {}, r"ranking lists of shape \(2,\); expected \(U, K\)"),
        ([[-1, -1]], 2, {}, "none of the 1 ranking lists holds an item"),
        ([[0, 3]], 2, {}, "hold item 3, but popularity counts only 3 items"),
        ([[0, 1]], 2, {"image": np.ones((2, 4))}, r"features 'image' must be \(3, F\).*got \(2, 4\)"),
        ([[0, 1]], 2, {"text": np.ones(3)}, r"features 'text' must be \(3, F\).*got \(3,\)"),
    ],
)
def test_faults(items, k, features, message):
    with pytest.raises(UserError, match=message):
        beyond_accuracy(np.array(items), np.array([5, 3, 0]), 8, k, features)


def test_doctests():
    failed, attempted = doctest.testmod(module)
    assert attempted >= 8
    assert failed == 0
