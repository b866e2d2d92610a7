"""Numbers and names in words."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def join(names: Sequence[str]) -> str:
    """
    >>> join(["A", "B", "C"])
    'A, B and C'
    """
    return " and ".join([*filter(None, [", ".join(names[:-1])]), *names[-1:]])
