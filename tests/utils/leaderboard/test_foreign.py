"""Lists of another system."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from boards import R20, board, exported, row_of, says

from utils.data.dataset import Dataset
from utils.leaderboard.foreign import add_foreign, read_ranking


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"rank": lambda lists, rows, places: places + 1},
        {"score": lambda lists, rows, places: lists.scores[rows, places]},
    ],
)
def test_stored_lists_as_foreign_ones_have_the_stored_metrics(lab, tmp_path, columns):
    lab.trial("BPR")
    found = board(lab)
    table = exported(found, "BPR", tmp_path / "lists.tsv", **columns)
    if columns:
        table.sample(frac=1, random_state=0).to_csv(tmp_path / "lists.tsv", sep="\t", index=False)
    added = row_of(add_foreign(found, "Elsewhere", tmp_path / "lists.tsv"), "Elsewhere")
    own = found.rows[0]
    assert {n: s.mean for n, s in added.test.items()} == {n: s.mean for n, s in own.test.items()}
    assert (
        (added.lists.items == own.lists.items).all() and added.valid == {} and added.seconds_per_epoch is None
    )


@pytest.mark.parametrize("masked", [False, True])
def test_foreign_lists_against_brute_force(lab, tmp_path, masked):
    lab.trial("BPR", mask_validation_at_test=masked)
    data = Dataset.load(lab.config("BPR", "tiny"))
    rng = np.random.default_rng(0)
    ranked = {user: rng.permutation(data.n_items)[:40].tolist() for user in range(0, data.n_users, 2)}
    lines = [f"{user},{item}" for user, items in ranked.items() for item in items]
    (tmp_path / "lists.csv").write_text("\n".join(["userID,itemID", *lines]))
    found = add_foreign(board(lab), "Random", tmp_path / "lists.csv")

    splits = [data.train, data.valid] if masked else [data.train]
    seen = {pair for split in splits for pair in zip(split.users.tolist(), split.items.tolist(), strict=True)}
    hits = 0
    for user, item in zip(data.test.users.tolist(), data.test.items.tolist(), strict=True):
        left = [one for one in ranked.get(user, []) if (user, one) not in seen]
        hits += item in left[:20]
    row = row_of(found, "Random")
    assert row.test[R20].mean == pytest.approx(hits / data.n_users)
    assert says(found.warnings, "Random", "40 of 80 test users have no list")
    assert says(found.warnings, "Random", "lines left out: items that the user has already")
    assert says(found.warnings, "Random", "lists hold fewer than 50 items")
    assert found.compared[0][0].n_users == 80 and found.published == []


def test_what_a_foreign_list_should_not_hold_is_left_out_and_counted(lab, tmp_path):
    lab.trial("BPR")
    found = board(lab)
    table = exported(found, "BPR", tmp_path / "lists.tsv")
    wrong = pd.DataFrame({"userID": [-1, 80, 0, 0], "itemID": [0, 0, 60, table["itemID"][0]]})
    pd.concat([table, wrong]).to_csv(tmp_path / "lists.tsv", sep="\t", index=False)
    more = add_foreign(found, "X", tmp_path / "lists.tsv")
    assert row_of(more, "X").test[R20].mean == found.rows[0].test[R20].mean
    assert says(more.warnings, "X: 3 lines left out: tiny has no such user or item")
    assert says(more.warnings, "X: 1 line left out: the item is in the user's list already")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no table"),
        ("userID\titemID\n", "holds no ranking"),
        ("user\titemID\n0\t1\n", "no column 'userID'; its header names user, itemID; did you mean 'user'?"),
        ("userID,item\n0,1\n", "no column 'itemID'"),
        ("userID,itemID\n0,1\n0,x\n", "line 3: itemID is 'x'; expected a whole number"),
        ("userID,itemID\n0,1.5\n", "line 2: itemID is '1.5'"),
        ("userID,itemID,score\n0,1,2\n0,2,\n", "line 3: score is"),
        ("userID,itemID,rank\n0,1,first\n", "line 2: rank is 'first'; expected a number"),
        ("userID,itemID\n900,1\n", "ranks nothing for any of the 80 test users"),
        ("userID,itemID\n0,1,2,3\n0,1\n", "no table"),
    ],
)
def test_files_that_are_no_ranking(lab, tmp_path, fails, text, message):
    lab.trial("BPR")
    (tmp_path / "bad.tsv").write_text(text)
    fails(add_foreign, message, board(lab), "X", tmp_path / "bad.tsv")


def test_foreign_lists_need_a_file_a_free_name_and_the_data(lab, tmp_path, fails):
    lab.trial("BPR")
    found = board(lab)
    fails(add_foreign, "cannot read", found, "X", tmp_path / "none.tsv")
    fails(add_foreign, "a row of that name already", found, "BPR", tmp_path / "none.tsv")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    fails(read_ranking, "no table", tmp_path / "binary", "userID", "itemID")
    lab.data_set("tiny", seed=9)
    fails(add_foreign, "are not those that", found, "X", tmp_path / "none.tsv")
