"""Is one model better than another for these users? Paired tests over per-user values, and an interval.

Everywhere `values` (U,) of each model are a metric of the same users in the same order. What is compared are the
differences of each user, so that how hard a user is to serve cancels out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from utils.errors import UserError, did_you_mean

ALPHA = 0.05
"""A corrected p below this is called significant."""

DECIMALS = 12
"""Differences are rounded to as many: noise of the last bits neither breaks a tie nor makes a difference."""

DRAWS_AT_A_TIME = 1 << 20  # bounds the memory of the bootstrap, which needs 28 bytes a draw


@dataclass(frozen=True)
class Comparison:
    """The first model against an `other`, over the same users; `difference` is first - other.

    p values are two-sided. Those with `_holm` are corrected for comparing the first model with several.
    """

    other: str
    mean_first: float
    mean_other: float
    difference: float
    low: float  # ends of the bootstrap interval of the mean difference
    high: float
    p_t: float
    p_wilcoxon: float
    p_t_holm: float
    p_wilcoxon_holm: float
    n_users: int
    confidence: float


def compare(
    values: Mapping[str, np.ndarray],
    first: str | None = None,
    n_bootstrap: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Comparison]:
    """Values (U,) of the first model, by default the one of highest mean, against those of every other.

    A comparison's interval and raw p values do not depend on which other comparisons there are. Raises UserError.

    >>> [result] = compare({"A": np.array([0.5, 1.0, 0.5]), "B": np.array([0.5, 0.5, 0.0])})
    >>> result.other, round(result.difference, 4), round(result.p_t, 4), result.p_wilcoxon
    ('B', 0.3333, 0.1835, 0.5)
    """
    values = {name: np.asarray(of_users, dtype=np.float64) for name, of_users in values.items()}
    _check(values, first)
    if not values:
        return []
    means = {name: float(of_users.mean()) for name, of_users in values.items()}
    if first is None:
        first = max(means, key=means.__getitem__)
    others = [name for name in values if name != first]
    differences = [np.round(values[first] - values[name], DECIMALS) for name in others]
    p_t, p_wilcoxon = [t_test(d) for d in differences], [wilcoxon_test(d) for d in differences]
    p_t_holm, p_wilcoxon_holm = holm(p_t).tolist(), holm(p_wilcoxon).tolist()
    comparisons = []
    for i, (name, difference) in enumerate(zip(others, differences, strict=True)):
        low, high = bootstrap_interval(difference, n_bootstrap, seed, confidence)
        comparisons.append(
            Comparison(
                other=name,
                mean_first=means[first],
                mean_other=means[name],
                difference=float(difference.mean()),
                low=low,
                high=high,
                p_t=p_t[i],
                p_wilcoxon=p_wilcoxon[i],
                p_t_holm=p_t_holm[i],
                p_wilcoxon_holm=p_wilcoxon_holm[i],
                n_users=len(difference),
                confidence=confidence,
            )
        )
    return comparisons


def t_test(differences: np.ndarray) -> float:
    """Two-sided p of the paired t-test of differences (U,); 1 where none differs from 0, or of a single user.

    >>> round(t_test(np.array([0.0, 0.5, 0.5])), 4)
    0.1835
    """
    n = len(differences)
    if n < 2 or not differences.any():
        return 1.0
    with np.errstate(divide="ignore"):  # the same difference for everyone: t is infinite, p is 0
        t = differences.mean() / (differences.std(ddof=1) / np.sqrt(n))
    return float(2 * stats.t.sf(abs(t), n - 1))


def wilcoxon_test(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test of differences (U,), zeros left out; 1 where no other is left.

    >>> wilcoxon_test(np.array([0.0, 0.5, 0.5]))
    0.5
    """
    nonzero = differences[differences != 0]
    return float(stats.wilcoxon(nonzero).pvalue) if len(nonzero) else 1.0


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down correction (1979) of p values (m,), in their order: 1 is the cap.

    The smallest counts m times, the next m - 1 times, and none less than a smaller one.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    raw = np.asarray(p, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    corrected = np.empty_like(raw)
    corrected[order] = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    return np.minimum(corrected, 1)


def bootstrap_interval(
    differences: np.ndarray, n_bootstrap: int, seed: int, confidence: float
) -> tuple[float, float]:
    """Percentile interval of the mean of differences (U,) over resampled users (Efron, 1979).

    Of a single user, or of equal differences, it is that one difference.

    >>> bootstrap_interval(np.array([0.5, 0.5]), 100, 0, 0.95)
    (0.5, 0.5)
    """
    means = _bootstrap_means(differences, n_bootstrap, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _bootstrap_means(differences: np.ndarray, n_bootstrap: int, generator: np.random.Generator) -> np.ndarray:
    """Mean difference (n_bootstrap,) of as many resamples of the users (U,).

    Most users' differences are 0, as a rule. How many of the others a resample holds is binomial, and only these
    are drawn: the same distribution in a fraction of the time.
    """
    nonzero = differences[differences != 0]
    n_users, n_nonzero = len(differences), len(nonzero)
    if not n_nonzero:
        return np.zeros(n_bootstrap)
    sizes = generator.binomial(n_users, n_nonzero / n_users, n_bootstrap)
    per_block = max(1, DRAWS_AT_A_TIME // n_nonzero)
    sums = np.empty(n_bootstrap)
    for start in range(0, n_bootstrap, per_block):
        ends = np.append(0, sizes[start : start + per_block].cumsum())
        drawn = nonzero[generator.integers(n_nonzero, size=ends[-1], dtype=np.int32)]
        sums[start : start + per_block] = np.diff(np.append(0, drawn.cumsum())[ends])
    return np.round(sums / n_users, DECIMALS)


def in_words(comparison: Comparison, metric: str, first: str) -> str:
    """One plain sentence on a comparison of the model `first` by a metric such as 'recall@20'.

    >>> [result] = compare({"A": np.array([0.5, 1.0]), "B": np.array([0.5, 1.0])})
    >>> in_words(result, "recall@20", "A")
    'A and B have the same recall@20 for every one of 2 users'
    """
    c = comparison
    if c.difference == c.low == c.high == 0:
        return f"{first} and {c.other} have the same {metric} for every one of {c.n_users:,} users"
    tests = {"t-test": c.p_t_holm, "Wilcoxon": c.p_wilcoxon_holm}
    found = [name for name, p in tests.items() if p < ALPHA]
    if found:
        by = "both tests" if len(found) == 2 else f"{found[0]} only"
        verdict = f"significant at {_without_zero(f'{ALPHA:.2f}')} after Holm's correction by {by}"
    else:
        verdict = "no difference that these users could show, by either test after Holm's correction"
    shown = ", ".join(f"{name} {_p(p)}" for name, p in tests.items())
    return f"{_standing(c, metric, first)}; {verdict} ({shown})"


def _standing(c: Comparison, metric: str, first: str) -> str:
    """Who is ahead by how much, with the interval seen from that side."""
    low, high = (c.low, c.high) if c.difference >= 0 else (-c.high, -c.low)
    size = f"{abs(c.difference):.4f}"
    place = f"ahead of {c.other} by {size}" if c.difference > 0 else f"behind {c.other} by {size}"
    if float(size) == 0:
        place = f"level with {c.other} in"
    return f"{first} is {place} {metric} ({100 * c.confidence:g} % interval {low:.4f} to {high:.4f})"


def _p(p: float) -> str:
    return "p < .001" if p < 0.001 else f"p = {_without_zero(f'{p:.3f}')}"


def _without_zero(number: str) -> str:
    return number.removeprefix("0")


def _check(values: Mapping[str, np.ndarray], first: str | None) -> None:
    if first is not None and first not in values:
        known = did_you_mean(first, values) or f"; there are: {', '.join(values) or 'none'}"
        raise UserError(f"no values of the model '{first}' to compare with{known}")
    lengths = {name: of_users.shape for name, of_users in values.items()}
    if any(len(shape) != 1 or shape == (0,) for shape in lengths.values()) or len(set(lengths.values())) > 1:
        shapes = ", ".join(f"{name} {shape}" for name, shape in lengths.items())
        raise UserError(
            f"models are compared over the same users, a value for each and at least one user; got shapes "
            f"{shapes}; compare trials of one data set, split and setting of filter_out_cod_start_users"
        )
    for name, of_users in values.items():
        bad = np.flatnonzero(~np.isfinite(of_users))
        if len(bad):
            raise UserError(
                f"{name} has the value {of_users[bad[0]]} in row {bad[0]} ({len(bad)} such rows), expected "
                f"finite numbers; leave these users out of all models"
            )
