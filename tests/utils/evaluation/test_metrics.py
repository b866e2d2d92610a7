"""Metrics against hand-computed values, six-line references and pytrec_eval."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.errors import UserError
from utils.evaluation import metrics
from utils.evaluation.metrics import METRICS, evaluate, metric_name, parse_metric

# Two users, four ranks: the second has five relevant items, so its ideal list is longer than the list it got.
HITS = np.array([[1, 0, 1, 0], [0, 0, 0, 1]], dtype=bool)
N_RELEVANT = np.array([2, 5])


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("recall", [0.25, 0.25, 0.5, 0.6]),
        ("ndcg", [0.5, 0.3065736, 0.4598604, 0.5439242]),
        ("precision", [0.5, 0.25, 1 / 3, 0.375]),
        ("map", [0.5, 0.25, 0.4166667, 0.4479167]),
        ("hit", [0.5, 0.5, 0.5, 1]),
        ("mrr", [0.5, 0.5, 0.5, 0.625]),
    ],
)
def test_oracle(name, means):
    values = METRICS[name].function(HITS, N_RELEVANT)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values.mean(axis=0), means, atol=5e-8)


def test_ndcg_normalises_by_what_is_relevant_not_by_what_was_found():
    values = METRICS["ndcg"].function(HITS, N_RELEVANT)[:, 3]
    np.testing.assert_allclose(values, [0.9197208, 0.1681275], atol=5e-8)
    by_what_was_found = (1 / math.log2(5)) / 1  # LATTICE's evaluation: the hits in hand, sorted to the top
    assert by_what_was_found == pytest.approx(0.4306766, abs=5e-8)
    assert abs(values[1] - by_what_was_found) > 0.2


def reference(name: str, hits: list[bool], n: int, k: int) -> float:
    """The textbook, one user and one cut-off at a time."""
    hits = hits[:k]
    ranks = [rank for rank, is_hit in enumerate(hits, start=1) if is_hit]
    return {
        "recall": lambda: len(ranks) / n,
        "precision": lambda: len(ranks) / k,
        "hit": lambda: float(len(ranks) > 0),
        "mrr": lambda: 1 / ranks[0] if ranks else 0.0,
        "map": lambda: sum(sum(hits[:rank]) / rank for rank in ranks) / min(n, k),
        "ndcg": lambda: (
            sum(1 / math.log2(rank + 1) for rank in ranks)
            / sum(1 / math.log2(rank + 1) for rank in range(1, min(n, k) + 1))
        ),
    }[name]()


@st.composite
def rankings(draw):
    """Hits of complete rankings (U, I), so that a row's hits are all of the user's relevant items."""
    n_items = draw(st.integers(1, 12))
    user = st.lists(st.booleans(), min_size=n_items, max_size=n_items).filter(any)
    return np.array(draw(st.lists(user, min_size=1)), dtype=bool)


@given(rankings(), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_textbook(hits, not_ranked):
    n_relevant = hits.sum(axis=1) + not_ranked
    cutoffs = list(range(1, hits.shape[1] + 1))
    values = evaluate(hits, n_relevant, list(METRICS), cutoffs)
    assert set(values) == {f"{name}@{k}" for name in METRICS for k in cutoffs}
    for key, of_users in values.items():
        name, k = parse_metric(key)
        expected = [reference(name, row.tolist(), int(n), k) for row, n in zip(hits, n_relevant, strict=True)]
        np.testing.assert_allclose(of_users, expected, rtol=1e-12, atol=0)


@given(rankings(), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_pytrec_eval(hits, k):
    """trec_eval's MAP divides by all relevant items, ours by those that fit in k: compared after rescaling.
    Its reciprocal rank knows no cut-off, so it gets the list cut at k.
    """
    k = min(k, hits.shape[1])
    n = hits.sum(axis=1)
    ours = evaluate(hits, n, list(METRICS), [k])
    names = {"recall": f"recall_{k}", "precision": f"P_{k}", "ndcg": f"ndcg_cut_{k}", "map": f"map_cut_{k}"}
    names |= {"hit": f"success_{k}", "mrr": "recip_rank"}
    theirs = trec(hits, k, [f"{name}.{k}" for name in ("recall", "P", "ndcg_cut", "map_cut", "success")])
    for name, trec_name in names.items():
        expected = np.array([theirs[f"u{row}"][trec_name] for row in range(len(hits))])
        if name == "map":
            expected = expected * n / np.minimum(n, k)
        np.testing.assert_allclose(ours[f"{name}@{k}"], expected, rtol=1e-6, atol=1e-9)


def trec(hits: np.ndarray, k: int, measures: list[str]) -> dict[str, dict[str, float]]:
    """pytrec_eval's values by user 'u<row>', where item 'i<rank>' stands at each rank."""
    relevant = {f"u{u}": {f"i{i}": int(is_hit) for i, is_hit in enumerate(row)} for u, row in enumerate(hits)}
    run = {f"u{u}": {f"i{i}": float(-i) for i in range(k)} for u in range(len(hits))}
    return pytrec_eval.RelevanceEvaluator(relevant, {*measures, "recip_rank"}).evaluate(run)


def test_cutoffs_below_the_list_do_not_see_its_rest():
    full = evaluate(HITS, N_RELEVANT, ["map", "ndcg"], [2])
    cut = evaluate(HITS[:, :2], N_RELEVANT, ["map", "ndcg"], [2])
    for name in full:
        np.testing.assert_array_equal(full[name], cut[name])


def test_every_metric_grows_with_a_better_ranking():
    hits = np.array([[0, 0, 0], [1, 1, 0]], dtype=bool)
    for name, metric in METRICS.items():
        worse, better = metric.function(hits, np.array([3, 3]))[:, 2]
        assert better > worse, name


def test_user_without_relevant_items():
    hits, n_relevant = np.zeros((3, 2), bool), np.array([1, 0, 0])
    with pytest.raises(
        UserError, match=r"in row 1 has no relevant items \(2 such users\).*leave such users out"
    ):
        evaluate(hits, n_relevant, ["recall"], [1])


def test_names_are_read_in_any_case():
    assert parse_metric("NDCG@5") == ("ndcg", 5)
    assert parse_metric("mrr@100") == ("mrr", 100)
    assert metric_name("Precision") == "precision"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Recal@20", "unknown metric 'Recal'; did you mean 'recall'"),
        ("auc@20", "unknown metric 'auc'; known: recall, ndcg, precision, map, hit, mrr"),
        ("", "unknown metric ''; known"),
        ("recall", "metric 'recall' has no cut-off; write it as recall@20"),
        ("recall@", "metric 'recall@' needs a positive whole number behind the @, got ''"),
        ("recall@020", "needs a positive whole number behind the @, got '020'"),
        ("recall@0", "needs a positive whole number behind the @, got '0'"),
        ("recall@-5", "needs a positive whole number behind the @, got '-5'"),
        ("recall@2.5", "got '2.5'"),
        ("recall@1_0", "got '1_0'"),
        ("recall@5@6", "got '5@6'"),
    ],
)
def test_wrong_metric(text, message):
    with pytest.raises(UserError) as caught:
        parse_metric(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("topk", "message"),
    [
        ([2, 5], "cut-off 5 is larger than the ranking lists, which hold 4 items"),
        ([0, 2], r"cut-offs must be positive, at least one of them; got \[0, 2\]"),
        ([], r"cut-offs must be positive, at least one of them; got \[\]"),
    ],
)
def test_wrong_cutoffs(topk, message):
    with pytest.raises(UserError, match=message):
        evaluate(HITS, N_RELEVANT, ["recall"], topk)


def test_wrong_shapes():
    with pytest.raises(UserError, match=r"must be \(U, K\) and \(U,\), got \(2, 4\) and \(3,\)"):
        evaluate(HITS, np.ones(3, int), ["recall"], [1])


def test_doctests():
    failed, attempted = doctest.testmod(metrics)
    assert attempted > len(METRICS)
    assert failed == 0
