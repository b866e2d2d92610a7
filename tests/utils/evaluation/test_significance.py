"""Comparisons against SciPy's tests, a plain bootstrap and Holm's definition; their wording; faults."""

from __future__ import annotations

import doctest
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from utils.errors import UserError
from utils.evaluation import significance
from utils.evaluation.significance import Comparison, bootstrap_interval, compare, holm, in_words

shares = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def recall_like(seed: int, n_users: int, better: float = 0.0) -> np.ndarray:
    """Shares (U,) of few distinct values, most of them 0."""
    generator = np.random.default_rng(seed)
    n = generator.integers(1, 4, n_users)
    return generator.binomial(n, 0.1 + better) / n


@pytest.mark.parametrize("n_users", [30, 400])
def test_p_values_are_scipys(n_users):
    a, b = recall_like(0, n_users, better=0.05), recall_like(1, n_users)
    [result] = compare({"A": a, "B": b}, first="A")
    assert result.p_t == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    d = np.round(a - b, 12)
    assert result.p_wilcoxon == pytest.approx(stats.wilcoxon(d[d != 0]).pvalue, rel=1e-9)
    assert (result.mean_first, result.mean_other) == (a.mean(), b.mean())
    assert result.difference == pytest.approx(a.mean() - b.mean())
    assert result.n_users == n_users


@pytest.mark.parametrize("differences", [recall_like(0, 500) - recall_like(1, 500), np.linspace(-1, 2, 200)])
def test_interval_is_that_of_a_plain_bootstrap(differences):
    generator = np.random.default_rng(1)
    n = len(differences)
    means = [differences[generator.integers(n, size=n)].mean() for _ in range(4000)]
    expected = np.quantile(means, [0.025, 0.975])
    tolerance = 0.1 * np.std(means)  # a quantile of 4,000 draws is known to about .04 standard deviations
    np.testing.assert_allclose(bootstrap_interval(differences, 10_000, 0, 0.95), expected, atol=tolerance)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_interval_holds_the_mean_difference(differences, seed):
    differences = np.round(differences, significance.DECIMALS)
    low, high = bootstrap_interval(differences, 1000, seed, 0.95)
    assert differences.min() - 1e-9 <= low <= differences.mean() + 1e-9
    assert differences.mean() - 1e-9 <= high <= differences.max() + 1e-9


def test_interval_narrows_with_less_confidence():
    differences = recall_like(0, 300) - recall_like(1, 300)
    wide, narrow = (bootstrap_interval(differences, 2000, 0, c) for c in (0.95, 0.5))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_blocks_draw_what_one_block_draws(monkeypatch):
    differences = recall_like(0, 300) - recall_like(1, 300)
    whole = bootstrap_interval(differences, 500, 0, 0.95)
    monkeypatch.setattr(significance, "DRAWS_AT_A_TIME", 1000)
    np.testing.assert_allclose(bootstrap_interval(differences, 500, 0, 0.95), whole, atol=0.01)


def test_only_the_seed_matters():
    values = {"A": recall_like(0, 200, 0.1), "B": recall_like(1, 200), "C": recall_like(2, 200)}
    once, again, otherwise = (compare(values, "A", 500, seed) for seed in (3, 3, 4))
    assert once == again
    assert [c.low for c in once] != [c.low for c in otherwise]
    [alone] = compare({name: values[name] for name in "AB"}, "A", 500, 3)
    assert (alone.low, alone.high, alone.p_t) == (once[0].low, once[0].high, once[0].p_t)


def test_order_of_users_does_not_matter_to_the_tests():
    values = {"A": recall_like(0, 200, 0.1), "B": recall_like(1, 200)}
    shuffled = np.random.default_rng(0).permutation(200)
    [one], [other] = compare(values), compare({name: v[shuffled] for name, v in values.items()})
    assert (one.p_t, one.p_wilcoxon) == pytest.approx((other.p_t, other.p_wilcoxon))
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.01)


def test_the_best_is_compared_with_all_others_in_their_order():
    values = {"B": recall_like(1, 100), "A": recall_like(0, 100, 0.3), "C": recall_like(2, 100)}
    results = compare(values, n_bootstrap=100)
    assert [result.other for result in results] == ["B", "C"]
    assert [result.p_t_holm for result in results] == holm([r.p_t for r in results]).tolist()
    assert [result.p_wilcoxon_holm for result in results] == holm([r.p_wilcoxon for r in results]).tolist()
    assert [result.other for result in compare(values, "C", n_bootstrap=100)] == ["B", "A"]


@pytest.mark.parametrize(
    ("a", "b", "p_t", "p_wilcoxon", "interval"),
    [
        ([0.5, 0.0, 1.0], [0.5, 0.0, 1.0], 1, 1, (0, 0)),  # identical
        ([0.1 + 0.2, 0.5], [0.3, 0.5], 1, 1, (0, 0)),  # but for the last bit
        ([0.7], [0.2], 1, 1, (0.5, 0.5)),  # one user
        ([0.7], [0.7], 1, 1, (0, 0)),
        ([0.5] * 4, [0.25] * 4, 0, 0.125, (0.25, 0.25)),  # the same difference for everyone
    ],
)
def test_edges_come_without_warnings(a, b, p_t, p_wilcoxon, interval):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [result] = compare({"A": np.array(a), "B": np.array(b)}, first="A", n_bootstrap=200)
    assert (result.p_t, result.p_wilcoxon) == (p_t, p_wilcoxon)
    assert (result.low, result.high) == interval


def test_nobody_to_compare_with():
    assert compare({"A": np.array([0.5])}) == []
    assert compare({}) == []


def holm_by_definition(p: list[float]) -> list[float]:
    """Of each p, the largest of (m - rank) * p over those no larger than it."""
    m, ordered = len(p), sorted(p)
    return [min(1.0, max((m - i) * q for i, q in enumerate(ordered) if q <= value)) for value in p]


@given(shares)
@settings(max_examples=100, deadline=None)
def test_holm(p):
    corrected = holm(p)
    np.testing.assert_allclose(corrected, holm_by_definition(p), rtol=1e-12)
    assert (corrected >= p).all() and corrected.max() <= 1
    order = np.argsort(p)
    assert (np.diff(corrected[order]) >= 0).all()
    np.testing.assert_array_equal(holm(p[::-1])[::-1], corrected)


def test_holm_of_one_and_of_none():
    assert holm([0.3]).tolist() == [0.3]
    assert holm([]).tolist() == []


SURE = Comparison("FREEDOM", 0.1, 0.0979, 0.0021, 0.0008, 0.0034, 0.0, 0.002, 0.0001, 0.004, 19_412, 0.95)
BY_BOTH = "significant at .05 after Holm's correction by both tests (t-test p < .001, Wilcoxon p = .004)"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {},
            "TMFUN is ahead of FREEDOM by 0.0021 recall@20 (95 % interval 0.0008 to 0.0034); " + BY_BOTH,
        ),
        (
            {"difference": -0.0021, "low": -0.0034, "high": -0.0008},
            "TMFUN is behind FREEDOM by 0.0021 recall@20 (95 % interval 0.0008 to 0.0034); " + BY_BOTH,
        ),
        (
            {"p_wilcoxon_holm": 0.12},
            "TMFUN is ahead of FREEDOM by 0.0021 recall@20 (95 % interval 0.0008 to 0.0034); significant at .05 "
            "after Holm's correction by t-test only (t-test p < .001, Wilcoxon p = .120)",
        ),
        (
            {"p_t_holm": 0.05, "confidence": 0.9},
            "TMFUN is ahead of FREEDOM by 0.0021 recall@20 (90 % interval 0.0008 to 0.0034); significant at .05 "
            "after Holm's correction by Wilcoxon only (t-test p = .050, Wilcoxon p = .004)",
        ),
        (
            {"p_t_holm": 0.4, "p_wilcoxon_holm": 1.0, "low": -0.001},
            "TMFUN is ahead of FREEDOM by 0.0021 recall@20 (95 % interval -0.0010 to 0.0034); no difference that "
            "these users could show, by either test after Holm's correction (t-test p = .400, Wilcoxon p = 1.000)",
        ),
        (
            {"p_t_holm": 1.0, "p_wilcoxon_holm": 1.0, "difference": 0.0, "low": -0.001, "high": 0.001},
            "TMFUN is level with FREEDOM in recall@20 (95 % interval -0.0010 to 0.0010); no difference that "
            "these users could show, by either test after Holm's correction (t-test p = 1.000, Wilcoxon p = 1.000)",
        ),
        (
            {"difference": 0.0, "low": 0.0, "high": 0.0},
            "TMFUN and FREEDOM have the same recall@20 for every one of 19,412 users",
        ),
    ],
)
def test_in_words(changes, sentence):
    assert in_words(replace(SURE, **changes), "recall@20", "TMFUN") == sentence


@pytest.mark.parametrize(
    ("values", "first", "message"),
    [
        ({"A": [0.1, 0.2], "B": [0.1]}, None, r"over the same users.*got shapes A \(2,\), B \(1,\); compare"),
        ({"A": [], "B": []}, None, r"at least one user; got shapes A \(0,\), B \(0,\)"),
        ({"A": [[0.1]], "B": [[0.1]]}, None, r"a value for each.*A \(1, 1\)"),
        ({"A": [0.1, 0.2], "B": [0.1, np.nan]}, None, r"B has the value nan in row 1 \(1 such rows\)"),
        ({"A": [np.inf, np.inf]}, None, r"A has the value inf in row 0 \(2 such rows\), expected finite"),
        ({"FREEDOM": [0.1]}, "FREDOM", "no values of the model 'FREDOM'.*; did you mean 'FREEDOM'"),
        ({"FREEDOM": [0.1], "BPR": [0.1]}, "X", "no values of the model 'X'.*; there are: FREEDOM, BPR"),
        ({}, "X", "no values of the model 'X'.*there are: none"),
    ],
)
def test_faults(values, first, message):
    with pytest.raises(UserError, match=message):
        compare({name: np.array(v) for name, v in values.items()}, first)


def test_doctests():
    failed, attempted = doctest.testmod(significance)
    assert attempted >= 8
    assert failed == 0
