"""Groups of users and items against plain loops, their labels, and faults."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.errors import UserError
from utils.evaluation import groups
from utils.evaluation.beyond_accuracy import popular_head
from utils.evaluation.groups import by_item_group, by_user_group, user_groups
from utils.evaluation.metrics import evaluate
from utils.evaluation.ranking import Truth, hit_matrix


def test_every_bin_and_its_ends():
    n_train = np.array([0, 1, 4, 5, 9, 10, 19, 20, 1000])
    assert {group.label: n_train[group.rows].tolist() for group in user_groups(n_train)} == {
        "0 interactions": [0],
        "1-4 interactions": [1, 4],
        "5-9 interactions": [5, 9],
        "10-19 interactions": [10, 19],
        "20+ interactions": [20, 1000],
    }
    assert user_groups(np.array([], dtype=np.int64)) == []


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 1)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_groups_share_out_the_users_and_their_mean(users):
    n_train, values = (np.array(column) for column in zip(*users, strict=True))
    rows = np.concatenate([group.rows for group in user_groups(n_train)])
    assert sorted(rows.tolist()) == list(range(len(users)))
    results = by_user_group(values, n_train)
    assert sum(count for _, count in results.values()) == len(users)
    assert sum(mean * count for mean, count in results.values()) == pytest.approx(values.sum())


@st.composite
def rankings(draw):
    """Lists (U, K) of distinct items, some short; what is relevant, pairs of user row and item; counts (I,)."""
    n_users, n_items = draw(st.integers(1, 5)), draw(st.integers(1, 10))
    length = draw(st.integers(1, n_items))
    some_items = st.lists(st.integers(0, n_items - 1), unique=True)
    items = np.full((n_users, length), -1)
    for row in items:
        listed = draw(some_items)[:length]
        row[: len(listed)] = listed
    relevant = [draw(some_items.filter(any) | st.just([0])) for _ in range(n_users)]
    counts = st.lists(st.sampled_from([0, 0, 1, 2, 5, 30]), min_size=n_items, max_size=n_items)
    return items, relevant, np.array(draw(counts))


def truth_of(relevant: list[list[int]]) -> Truth:
    users = np.repeat(np.arange(len(relevant)), [len(row) for row in relevant])
    return Truth.from_split(users, np.concatenate(relevant).astype(np.int64))


@given(rankings(), st.integers(1, 10))
@settings(max_examples=100, deadline=None)
def test_recall_by_item_group_is_that_of_plain_loops(drawn, k):
    items, relevant, popularity = drawn
    k = min(k, items.shape[1])
    head = popular_head(popularity)
    expected: dict[str, list[bool]] = {"popular": [], "long tail": [], "cold": []}
    for row, of_user in zip(items.tolist(), relevant, strict=True):
        for item in of_user:
            group = "popular" if head[item] else "long tail" if popularity[item] else "cold"
            expected[group].append(item in row[:k])
    assert by_item_group(items, truth_of(relevant), popularity, k) == {
        group: (sum(found) / len(found), len(found)) for group, found in expected.items() if found
    }


@given(rankings())
@settings(max_examples=40, deadline=None)
def test_item_groups_add_up_to_all_hits(drawn):
    items, relevant, popularity = drawn
    truth, k = truth_of(relevant), items.shape[1]
    results = by_item_group(items, truth, popularity, k)
    hits = hit_matrix(items, truth, len(popularity))
    assert sum(count for _, count in results.values()) == len(truth.items)
    assert sum(recall * count for recall, count in results.values()) == pytest.approx(hits.sum())
    if len(results) == 1 and set(truth.n_relevant.tolist()) == {1}:
        [(recall, _)] = results.values()
        assert recall == pytest.approx(
            evaluate(hits, truth.n_relevant, ["recall"], [k])[f"recall@{k}"].mean()
        )


def test_pairs_count_alike_not_users():
    truth = truth_of([[0], [0, 1, 2]])
    results = by_item_group(np.array([[0, 3, 4], [3, 4, 0]]), truth, np.array([1, 1, 1, 1, 1]), 2)
    assert results == {"popular": (0.25, 4)}


TRUTH = Truth.from_split(np.array([0, 1]), np.array([0, 4]))


@pytest.mark.parametrize(
    ("items", "truth", "n_items", "k", "message"),
    [
        (
            [[0, 1]],
            TRUTH,
            5,
            2,
            "a ranking list for each user.*got 1 lists and 2 users with 2 relevant items",
        ),
        ([[0, 1], [1, 2]], TRUTH, 3, 2, "item 4 is ranked or relevant, but popularity counts only 3 items"),
        ([[0, 7], [1, 2]], TRUTH, 5, 2, "item 7 is ranked or relevant"),
        ([[0, 1], [1, 2]], TRUTH, 5, 3, r"cut-off 3 does not fit ranking lists of shape \(2, 2\)"),
        (np.empty((0, 2)), Truth.from_split(*np.empty((2, 0), np.int64)), 5, 2, "got 0 lists and 0 users"),
    ],
)
def test_faults_of_item_groups(items, truth, n_items, k, message):
    with pytest.raises(UserError, match=message):
        by_item_group(np.array(items), truth, np.ones(n_items, dtype=np.int64), k)


def test_faults_of_user_groups():
    with pytest.raises(UserError, match=r"of the same users, got \(2,\) and \(3,\); n_train\[users\] picks"):
        by_user_group(np.ones(2), np.ones(3))
    with pytest.raises(
        UserError, match=r"n_train must be \(U,\) counts from 0 up, got shape \(2,\), lowest -1"
    ):
        user_groups(np.array([3, -1]))
    with pytest.raises(UserError, match=r"got shape \(1, 2\)"):
        user_groups(np.ones((1, 2)))


def test_doctests():
    failed, attempted = doctest.testmod(groups)
    assert attempted >= 3
    assert failed == 0
