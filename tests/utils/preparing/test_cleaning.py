"""Filters and ids, against a plain version in pandas, and the errors of values."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from utils.errors import UserError
from utils.preparing.cleaning import Counts, Rules, clean

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "ä", "Z", "10", "9", "x y", "'"]),
        st.sampled_from(["7", "12", "100", "3", "0"]),
        st.integers(1, 5),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=60,
)


def naive(rows, rules: Rules) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["user", "item", "rating", "time"])
    frame = frame.sort_values(
        ["time", "rating"], ascending=[rules.duplicates == "first", False], kind="stable"
    )
    frame = frame.drop_duplicates(["user", "item"], keep="first")
    if rules.min_rating is not None:
        frame = frame[frame.rating >= rules.min_rating]
    while rules.k_core > 1 and len(frame):
        few = sum(
            (frame[column].map(frame[column].value_counts()) < rules.k_core).astype(int)
            for column in ("user", "item")
        )
        if not few.any():
            break
        frame = frame[few == 0]
    return frame


def order(ids, numeric):
    return {raw: number for number, raw in enumerate(sorted(set(ids), key=int if numeric else str))}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, st.integers(0, 4), st.none() | st.integers(1, 5), st.sampled_from(["first", "last"]))
def test_it_equals_a_plain_version(connection, fill, rows, k_core, min_rating, duplicates):
    rules = Rules(k_core, min_rating, duplicates)
    expected = naive(rows, rules)
    fill(rows)
    counts = Counts(len(rows))
    if expected.empty:
        with pytest.raises(UserError, match=f"no interaction is left of {len(rows)} rows"):
            clean(connection, rules, 0, counts)
        return
    clean(connection, rules, 0, counts)
    assert counts.interactions == len(expected)
    assert counts.rows == counts.interactions + counts.duplicates + counts.below + counts.outside_core
    users, items = (
        order(expected.user, all(map(str.isdigit, {r[0] for r in rows}))),
        order(expected.item, True),
    )
    maps = [dict(connection.execute(f"SELECT raw, id FROM {name}").fetchall()) for name in ("users", "items")]
    assert maps == [users, items]
    found = connection.execute("SELECT u, i, rating, time FROM interactions ORDER BY u, i").fetchall()
    rows_expected = zip(expected.user, expected.item, expected.rating, expected.time, strict=True)
    assert found == sorted((users[u], items[i], r, t) for u, i, r, t in rows_expected)


def test_ids_that_are_whole_numbers_keep_their_order(connection, fill):
    fill([(str(user), f"0{user}", 1, None) for user in (10, 9, 100, 0)])
    clean(connection, Rules(), 0, Counts(4))
    users, items = (
        [raw for (raw,) in connection.execute(f"SELECT raw FROM {name} ORDER BY id").fetchall()]
        for name in ("users", "items")
    )
    assert users == ["0", "9", "10", "100"]
    assert items == ["00", "010", "0100", "09"]  # a leading zero tells a code from a number


def test_repeated_pairs_can_be_an_error(connection, fill):
    fill([("b", "x", 1, 1), ("b", "x", 2, 2), ("a", "y", 1, 1)])
    with pytest.raises(UserError, match="1 pairs .* first is user 'b' and item 'x'"):
        clean(connection, Rules(duplicates="error"), 0, Counts(3))


def test_the_last_word_counts_against_the_threshold(connection, fill):
    fill([("a", "x", 5, 1), ("a", "x", 1, 2), ("a", "y", 4, 1)])
    clean(connection, Rules(min_rating=3, duplicates="last"), 0, Counts(3))
    assert connection.execute("SELECT raw FROM items").fetchall() == [("y",)]


def test_the_core_is_found_over_many_rounds(connection, fill):
    """A chain: each end that goes makes the next one too small."""
    rows = [(f"u{n}", f"i{n + step}", 1, 1) for n in range(30) for step in (0, 1)]
    core = [(f"v{u}", f"j{i}", 1, 1) for u in range(2) for i in range(2)]
    fill(rows + core)
    counts = Counts(len(rows) + 4)
    clean(connection, Rules(k_core=2), 0, counts)
    assert counts.rounds > 10 and (counts.users, counts.items, counts.interactions) == (2, 2, 4)
