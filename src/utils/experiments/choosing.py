"""Which setting validation chooses, where some were run with more seeds than others."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, variance

ERRORS = 2.0
"""Standard errors of a mean that are held against it."""


def choose(groups: Sequence[Sequence[float]]) -> int:
    """Index of the setting chosen by the validation metric of its seeds, a group for each setting.

    The largest mean, less twice its standard error: of a single seed that is the largest of a few, part is luck,
    which the next seeds take away. The deviation is pooled over the settings that have several seeds; where none has,
    or all have as many, plain means decide.

    >>> choose([[0.1100, 0.1094, 0.1096, 0.1095, 0.1095], [0.1098]])
    0
    >>> choose([[0.05, 0.06, 0.05], [0.11]])
    1
    >>> choose([[0.1], [0.2]])
    1
    """
    several = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    pooled = sum(variance(group) * (len(group) - 1) for group in several) / freedom if freedom else 0.0
    values = [(fmean(group) - ERRORS * sqrt(pooled / len(group)), len(group)) for group in groups]
    return max(range(len(values)), key=values.__getitem__)
