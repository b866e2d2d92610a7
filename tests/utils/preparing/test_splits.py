"""Each protocol keeps its promise, on whatever data."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from utils.errors import UserError
from utils.preparing.cleaning import Rules
from utils.preparing.splits import PROTOCOLS, Split

TIMES = st.integers(0, 6)  # so few that many are equal, as the days of Amazon's are
ROWS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 19), TIMES), min_size=1, max_size=120).map(
    lambda rows: [
        (f"u{u}", f"i{i}", float(t)) for u, i, t in {(u, i): (u, i, t) for u, i, t in rows}.values()
    ]
)
SEEDS = st.integers(0, 2**32)
RATIOS = st.tuples(*[st.integers(1, 9)] * 3).map(lambda r: tuple(Fraction(one, sum(r)) for one in r))
quick = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sizes(table: pd.DataFrame) -> dict[str, tuple[int, int, int, int]]:
    """Of each user: interactions, and those in training, validation and test."""
    return {
        user: (len(mine), *((mine.part == part).sum() for part in range(3)))
        for user, mine in table.groupby("user")
    }


def by_mmrec(n: int) -> tuple[int, int]:
    """Validation and test of n interactions, as the rule is told."""
    if n < 3:
        return 0, 0
    if n < 10:
        return 1, 1
    m = int(0.2 * n)
    return m // 2, m - m // 2


@quick
@given(ROWS, SEEDS)
def test_mmrec_has_its_exact_sizes_and_lattice_the_mirror_image(splits, rows, seed):
    for n, *found in sizes(splits(rows, Split("mmrec", seed))).values():
        valid, test = by_mmrec(n)
        assert found == [n - valid - test, valid, test]
    for n, *found in sizes(splits(rows, Split("lattice", seed))).values():
        test, valid = by_mmrec(n)
        assert found == [n - valid - test, valid, test]


@pytest.mark.parametrize("n", [1, 2, 3, 9, 10, 14, 15, 19, 20, 24, 25, 100, 505])
def test_the_sizes_of_mmrec_for_users_of_any_length(splits, n):
    found = sizes(splits([("u", f"i{i}", None) for i in range(n)], Split("mmrec")))["u"]
    assert found[2:] == by_mmrec(n)


@quick
@given(ROWS, SEEDS, RATIOS)
def test_ratio_is_exact_over_all(splits, rows, seed, ratio):
    parts = splits(rows, Split("ratio", seed, ratio)).part
    assert (parts == 1).sum() == int(len(rows) * ratio[1])
    assert (parts == 2).sum() == int(len(rows) * ratio[2])


@quick
@given(ROWS, SEEDS, st.booleans())
def test_leave_one_out_takes_the_last_and_the_one_before(splits, rows, seed, timed):
    rows = rows if timed else [(user, item, None) for user, item, _ in rows]
    table = splits(rows, Split("leave-one-out", seed))
    for _, mine in table.groupby("user"):
        n = len(mine)
        assert sorted(mine.part) == ([0] * (n - 2) + [1, 2] if n >= 3 else [0] * n)
        if timed and n >= 3:
            train, valid, test = (mine.time[mine.part == part] for part in range(3))
            assert train.max() <= valid.min() and valid.max() <= test.min()


@quick
@given(ROWS, SEEDS, RATIOS)
def test_user_time_trains_on_nothing_later_than_what_it_holds_out(splits, rows, seed, ratio):
    for _, mine in splits(rows, Split("user-time", seed, ratio)).groupby("user"):
        n = len(mine)
        train, valid, test = (mine.time[mine.part == part] for part in range(3))
        if n < 3:
            assert len(train) == n
            continue
        assert len(train) and train.max() <= valid.min() and valid.max() <= test.min()
        assert len(test) == max(1, min(int(n * ratio[2]), n - 2))


@quick
@given(ROWS, SEEDS, st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.booleans())
def test_global_time_trains_on_nothing_from_the_cut_on(splits, rows, seed, first, second, as_time):
    first, second = sorted((first, second))
    assume(first < second)
    cut = (6 * first, 6 * second) if as_time else (first, second)
    table = splits(rows, Split("global-time", seed, cut=cut, cut_is_time=as_time))
    parts = [table.time[table.part == part] for part in range(3)]
    for earlier, later in ((0, 1), (1, 2), (0, 2)):
        if len(parts[earlier]) and len(parts[later]):
            assert parts[earlier].max() < parts[later].min()  # strictly: equal times are on one side
    if as_time:
        assert (table.part == 2).equals(table.time >= cut[1]) and (table.part == 0).equals(
            table.time < cut[0]
        )


def test_one_cut_leaves_half_of_what_is_later_for_the_test(splits):
    rows = [("u", f"i{i}", float(i)) for i in range(20)]
    for how in (Split("global-time", cut=(10.0,), cut_is_time=True), Split("global-time", cut=(0.5,))):
        table = splits(rows, how)
        assert [(table.part == part).sum() for part in range(3)] == [10, 5, 5]
        assert table.time[table.part == 0].max() == 9


def test_the_cuts_of_global_time_follow_the_ratio(splits):
    rows = [("u", f"i{i}", float(i)) for i in range(100)]
    table = splits(rows, Split("global-time"))
    assert [(table.part == part).sum() for part in range(3)] == [80, 10, 10]
    assert table.attrs["told"] == ["validation from 1970-01-01 00:01:20, test from 1970-01-01 00:01:30 (UTC)"]


@quick
@given(ROWS, SEEDS, RATIOS)
def test_cold_item_shares_no_item_between_its_parts(splits, rows, seed, ratio):
    table = splits(rows, Split("cold-item", seed, ratio))
    assert (table.groupby("item").part.nunique() == 1).all()
    n = table.item.nunique()
    held_out = [table.item[table.part == part].nunique() for part in (1, 2)]
    assert held_out == [int(n * ratio[1]), int(n * ratio[2])]


@quick
@given(ROWS, SEEDS, st.integers(3, 7))
def test_folds_are_a_partition_that_is_even_within_each_user(splits, rows, seed, folds):
    table = splits(rows, Split("k-fold", seed, folds=folds))
    assert len(table) == len(rows) and table.part.between(0, folds - 1).all()
    for _, mine in table.groupby("user"):
        counts = [(mine.part == fold).sum() for fold in range(folds)]
        assert max(counts) - min(counts) <= 1


@quick
@given(ROWS, SEEDS, st.sampled_from(sorted(PROTOCOLS)), st.randoms(use_true_random=False))
def test_every_split_keeps_all_rows_and_heeds_neither_their_order_nor_chance(
    splits, rows, seed, name, random
):
    first = splits(rows, Split(name, seed))
    assert set(zip(first.user, first.item, strict=True)) == {(user, item) for user, item, _ in rows}
    shuffled = random.sample(rows, len(rows))
    assert splits(shuffled, Split(name, seed)).equals(first)


@quick
@given(ROWS, SEEDS, st.sampled_from(["mmrec", "lattice", "leave-one-out", "user-time"]))
def test_splits_within_users_do_not_heed_other_users(splits, rows, seed, name):
    mine = [row for row in rows if row[0] == rows[0][0]]
    alone, together = (
        table[table.user == rows[0][0]].set_index("item").part
        for table in (splits(mine, Split(name, seed)), splits(rows, Split(name, seed)))
    )
    assert alone.sort_index().equals(together.sort_index())


@pytest.mark.parametrize("name", ["mmrec", "lattice", "ratio", "leave-one-out", "cold-item", "k-fold"])
def test_another_seed_is_another_split(splits, name):
    rows = [(f"u{u}", f"i{i}", None) for u in range(20) for i in range(12)]
    assert not splits(rows, Split(name, 1)).part.equals(splits(rows, Split(name, 2)).part)


def test_the_order_is_that_of_md5_whatever_the_version_of_the_database(splits):
    items = [f"i{i:02}" for i in range(20)]
    table = splits([("a", item, None) for item in items], Split("mmrec", 999)).set_index("item").part
    digests = {item: hashlib.md5(f"999\x1fa\x1f{item}".encode()).digest() for item in items}
    ranked = sorted(items, key=lambda item: int.from_bytes(digests[item][8:], "little"))
    assert list(table[ranked]) == [2, 2, 1, 1] + [0] * 16


@pytest.mark.parametrize("name", ["user-time", "global-time"])
def test_splits_by_time_need_times(splits, name):
    with pytest.raises(UserError, match=f"--split {name} needs the time .* --time-col"):
        splits([("u", "i", None)], Split(name), Rules())
