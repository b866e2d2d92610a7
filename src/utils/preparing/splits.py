"""Splits as named protocols: which interactions are for training, which for validation, which for the test.

A protocol turns `interactions` into `labelled`, the same rows with a `part`: 0 training, 1 validation, 2 test, or the
number of a fold. What is random is an order by a hash of the seed and the raw ids of user and item, so that the
order of the rows, the number of threads and, within a user, the other users change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from fractions import Fraction

from utils.data.interactions import SPLITS
from utils.errors import UserError
from utils.preparing.engine import Connection, one

RANDOM = "key, i"
LATEST = "time DESC, key, i"
FEWEST = 3
"""Interactions of a user, below which a split within users leaves all in training."""


@dataclass(frozen=True)
class Split:
    """A protocol with what it needs to know. `ratio` are the shares of training, validation and test.

    `cut` are one or two moments, seconds since 1970, or shares of the interactions; None stands for the ratio.
    """

    name: str = "mmrec"
    seed: int = 999
    ratio: tuple[Fraction, Fraction, Fraction] = (Fraction(8, 10), Fraction(1, 10), Fraction(1, 10))
    cut: tuple[float, ...] | None = None
    cut_is_time: bool = False
    folds: int = 5


def split(connection: Connection, how: Split) -> list[str]:
    """Make `labelled`; what the protocol found out, such as the moments of its cuts.

    Raises UserError for a split that the data does not allow.
    """
    if how.name in NEEDS_TIME and not _has_time(connection):
        raise UserError(
            f"--split {how.name} needs the time of each interaction; name its column with --time-col, or choose one "
            f"of {', '.join(name for name in PROTOCOLS if name not in NEEDS_TIME)}"
        )
    return PROTOCOLS[how.name].make(connection, how)


def label(how: Split, fold: int | None) -> str:
    """SQL of the label of a row of `labelled`; with folds, `fold` (from 0) is the test and the next one validation."""
    if fold is None:
        return "CAST(part AS TINYINT)"
    return f"CAST(CASE part WHEN {fold} THEN 2 WHEN {(fold + 1) % how.folds} THEN 1 ELSE 0 END AS TINYINT)"


def check_sizes(sizes: tuple[int, ...], how: Split) -> None:
    """Raises UserError for a part without interactions, in the words of its protocol."""
    for name, size in zip(SPLITS, sizes, strict=True):
        if not size:
            found = ", ".join(f"{n:,} {part}" for n, part in zip(sizes, SPLITS, strict=True))
            advice = ADVICE.get(how.name, f"users with fewer than {FEWEST} interactions are all in training")
            raise UserError(
                f"--split {how.name} leaves nothing for {name} ({found}): {advice}; choose another split, or "
                f"keep more interactions"
            )


def _mmrec(connection: Connection, how: Split) -> list[str]:
    n_valid = f"(CASE WHEN n < {FEWEST} THEN 0 WHEN n < 10 THEN 1 ELSE (n // 5) // 2 END)"
    n_test = f"(CASE WHEN n < {FEWEST} THEN 0 WHEN n < 10 THEN 1 ELSE n // 5 - (n // 5) // 2 END)"
    return _by_user(connection, RANDOM, n_valid, n_test)


def _lattice(connection: Connection, how: Split) -> list[str]:
    n_valid = f"(CASE WHEN n < {FEWEST} THEN 0 WHEN n < 10 THEN 1 ELSE n // 5 - (n // 5) // 2 END)"
    n_test = f"(CASE WHEN n < {FEWEST} THEN 0 WHEN n < 10 THEN 1 ELSE (n // 5) // 2 END)"
    return _by_user(connection, RANDOM, n_valid, n_test)


def _ratio(connection: Connection, how: Split) -> list[str]:
    total = one(connection, "SELECT count(*) FROM interactions")
    n_valid, n_test = _sizes(total, how)
    connection.execute(
        f"CREATE OR REPLACE TABLE labelled AS SELECT * EXCLUDE place, {_part(n_valid, n_test)} AS part "
        f"FROM (SELECT *, row_number() OVER () AS place FROM (SELECT * FROM interactions ORDER BY key, u, i))"
    )
    return []


def _leave_one_out(connection: Connection, how: Split) -> list[str]:
    by_time = _has_time(connection)
    one_each = f"(CASE WHEN n < {FEWEST} THEN 0 ELSE 1 END)"
    _by_user(connection, LATEST if by_time else RANDOM, one_each, one_each)
    return ["by time" if by_time else "at random, as there are no times"]


def _user_time(connection: Connection, how: Split) -> list[str]:
    valid, test = how.ratio[1:]
    share_of_test = f"((n * {test.numerator}) // {test.denominator})"
    share_of_valid = f"((n * {valid.numerator}) // {valid.denominator})"
    n_test = f"(CASE WHEN n < {FEWEST} THEN 0 ELSE greatest(1, least({share_of_test}, n - 2)) END)"
    n_valid = (
        f"(CASE WHEN n < {FEWEST} THEN 0 ELSE greatest(1, least({share_of_valid}, n - 1 - {n_test})) END)"
    )
    return _by_user(connection, LATEST, n_valid, n_test)


def _global_time(connection: Connection, how: Split) -> list[str]:
    first, second = _cuts(connection, how)
    connection.execute(
        f"CREATE OR REPLACE TABLE labelled AS SELECT *, CASE WHEN time >= {_double(second)} THEN 2 "
        f"WHEN time >= {_double(first)} THEN 1 ELSE 0 END AS part FROM interactions"
    )
    return [f"validation from {_date(first)}, test from {_date(second)} (UTC)"]


def _cold_item(connection: Connection, how: Split) -> list[str]:
    n_valid, n_test = _sizes(one(connection, "SELECT count(*) FROM items"), how)
    connection.execute(
        f"CREATE OR REPLACE TABLE labelled AS SELECT interactions.*, part FROM interactions JOIN "
        f"(SELECT id, {_part(n_valid, n_test)} AS part FROM (SELECT id, row_number() OVER () AS place "
        f"FROM (SELECT id FROM items ORDER BY key, id))) AS chosen ON i = chosen.id"
    )
    return [f"items: {n_valid:,} of validation and {n_test:,} of the test, seen nowhere else"]


def _k_fold(connection: Connection, how: Split) -> list[str]:
    # Each user begins with another fold, else the first folds would get what does not divide evenly.
    connection.execute(
        f"CREATE OR REPLACE TABLE labelled AS SELECT interactions.* EXCLUDE place, "
        f"CAST((place + users.key % {how.folds}) % {how.folds} AS INTEGER) AS part FROM "
        f"(SELECT *, row_number() OVER (PARTITION BY u ORDER BY {RANDOM}) AS place FROM interactions) "
        f"AS interactions JOIN users ON u = users.id"
    )
    return []


def _by_user(connection: Connection, order: str, n_valid: str, n_test: str) -> list[str]:
    """Of each user's n interactions the first `n_test` in `order` are the test, the next `n_valid` validation.

    There is nothing more to tell.
    """
    connection.execute(
        f"CREATE OR REPLACE TABLE labelled AS SELECT * EXCLUDE (place, n), {_part(n_valid, n_test)} AS part FROM "
        f"(SELECT *, row_number() OVER (PARTITION BY u ORDER BY {order}) AS place, "
        f"count(*) OVER (PARTITION BY u) AS n FROM interactions)"
    )
    return []


def _part(n_valid: int | str, n_test: int | str) -> str:
    return f"(CASE WHEN place <= {n_test} THEN 2 WHEN place <= {n_test} + {n_valid} THEN 1 ELSE 0 END)"


def _sizes(total: int, how: Split) -> tuple[int, int]:
    """Of validation and test, rounded down: training takes what does not divide evenly."""
    return int(total * how.ratio[1]), int(total * how.ratio[2])


def _cuts(connection: Connection, how: Split) -> tuple[float, float]:
    """The moments from which on interactions are validation and test."""
    if how.cut_is_time and len(how.cut) == 2:
        return how.cut
    if how.cut_is_time:
        later = one(connection, f"SELECT count(*) FROM interactions WHERE time >= {_double(how.cut[0])}")
        earlier = one(connection, "SELECT count(*) FROM interactions") - later
        return how.cut[0], _time_at(connection, earlier + (later + 1) // 2)
    shares = how.cut or (float(how.ratio[0]), float(how.ratio[0] + how.ratio[1]))
    shares = shares if len(shares) == 2 else (shares[0], (1 + shares[0]) / 2)
    total = one(connection, "SELECT count(*) FROM interactions")
    return tuple(_time_at(connection, round(total * share)) for share in shares)


def _time_at(connection: Connection, place: int) -> float:
    """The time of the interaction at a place, from 0, in the order of time, or infinity behind the last."""
    found = one(
        connection,
        f"SELECT time FROM (SELECT time, row_number() OVER () AS place FROM "
        f"(SELECT time FROM interactions ORDER BY time)) WHERE place = {place + 1}",
    )
    return float("inf") if found is None else found


def _date(time: float) -> str:
    try:
        return f"{datetime.fromtimestamp(time, timezone.utc):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):  # a time beyond the calendar
        return repr(time)


def _double(number: float) -> str:
    return f"CAST('{number!r}' AS DOUBLE)"  # a plain 0.1 would be a decimal, and infinity has no literal


def _has_time(connection: Connection) -> bool:
    return one(connection, "SELECT time IS NOT NULL FROM interactions LIMIT 1")


@dataclass(frozen=True)
class Protocol:
    """How a split is made, and what it promises, in a line."""

    promise: str
    make: Callable[[Connection, Split], list[str]]


PROTOCOLS = {
    "mmrec": Protocol(
        "random per user, MMRec's sizes: 1 + 1 held out below 10 interactions, else m = n // 5, m // 2 of it "
        "for validation",
        _mmrec,
    ),
    "lattice": Protocol(
        "the same with validation and test exchanged, as LATTICE's repository has it", _lattice
    ),
    "ratio": Protocol("random over all interactions, exactly by --ratio", _ratio),
    "leave-one-out": Protocol("each user's last is the test, the one before validation", _leave_one_out),
    "user-time": Protocol("each user's last ones by --ratio: none of a user's training is later", _user_time),
    "global-time": Protocol("from --cut on nothing is training, for all users", _global_time),
    "cold-item": Protocol(
        "items of test and of validation that training never saw, by --ratio of items", _cold_item
    ),
    "k-fold": Protocol("--folds data sets: each interaction is in the test of one", _k_fold),
}

WITH_RATIO = ("ratio", "user-time", "global-time", "cold-item")
NEEDS_TIME = ("user-time", "global-time")

ADVICE = {
    "global-time": "all interactions lie on one side of --cut",
    "cold-item": "there are too few items for these shares of --ratio",
    "ratio": "there are too few interactions for these shares of --ratio",
    "k-fold": "there are fewer interactions than --folds",
}
