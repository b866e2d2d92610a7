"""The command: what it writes, that it writes all or nothing, and what it says and refuses."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading

import numpy as np
import pandas as pd
import pytest

from utils.cli import main
from utils.config import Config
from utils.data.dataset import Dataset
from utils.preparing import pipeline
from utils.preparing.card import plot, refresh_card
from utils.preparing.engine import database
from utils.preparing.splits import PROTOCOLS

COLUMNS = ["--user-col", "user", "--item-col", "item"]
ALL = [*COLUMNS, "--rating-col", "rating", "--time-col", "time"]
HEADER = ("user", "item", "rating", "time")


@pytest.fixture
def rows(write, grid):
    return ["--interactions", write(grid, header=HEADER)]


def load(path, name="set") -> Dataset:
    places = {"data_path": str(path.parent), "cache_path": str(path.parent.parent / "cache")}
    return Dataset.load(Config("BPR", name, places))


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_set_loads_at_once_and_its_hash_is_that_of_the_card(prepare, rows):
    found = prepare(*rows, *ALL)
    dataset = load(found.path)
    assert dataset.interactions_digest == found.card["hash"]
    assert not dataset.warnings
    sizes = {name: part["interactions"] for name, part in found.card["splits"].items()}
    assert sizes == {
        "training": len(dataset.train),
        "validation": len(dataset.valid),
        "test": len(dataset.test),
    }
    assert (found.card["users"], found.card["items"]) == (dataset.n_users, dataset.n_items)


def test_it_trains(prepare, rows, tmp_path, capsys):
    found = prepare(*rows, *ALL)
    places = [f"{name}_path={tmp_path / name}" for name in ("data", "runs", "cache")]
    assert (
        main(
            ["-m", "BPR", "-d", "set", "epochs=1", "threads=1", "topk=[5]", "valid_metric=Recall@5", *places]
        )
        == 0
    )
    lines = [f"{step} -d set data_path={tmp_path / 'data'}" for step in ("check", "-m LightGCN")]
    assert found.out.splitlines()[-2:] == [
        f"next       python main.py {lines[0]}",
        f"{'':10} python main.py {lines[1]}",
    ]


def test_ids_go_back_and_forth(prepare, rows, grid):
    found = prepare(*rows, *ALL)
    users, items = (
        pd.read_csv(found.path / f"{kind}_id_mapping.csv", sep="\t", dtype=str).set_index(column)[raw]
        for kind, column, raw in (("u", "userID", "user_id"), ("i", "itemID", "item_id"))
    )
    table = found.inter
    back = zip(
        users[table.userID.astype(str)],
        items[table.itemID.astype(str)],
        table.rating,
        table.timestamp,
        strict=True,
    )
    assert sorted(back) == sorted((u, i, float(r), t) for u, i, r, t in grid)
    assert (
        table.userID.is_monotonic_increasing
        and table.groupby("userID").timestamp.is_monotonic_increasing.all()
    )


def test_neither_order_of_rows_nor_threads_change_a_byte(prepare, write, grid, tmp_path, capsys):
    rng = np.random.default_rng(0)
    path = write(grid, header=HEADER)
    first = prepare("--interactions", path, *ALL)
    write([grid[n] for n in rng.permutation(len(grid))], header=HEADER)
    data = tmp_path / "other"
    words = ["--interactions", str(path), *ALL, "-d", "set", f"data_path={data}", "threads=2"]
    assert main(["prepare", "table", *words]) == 0
    assert files(first.path) == files(data / "set")


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "k-fold"])
def test_every_split_makes_a_set_that_loads(prepare, rows, name):
    found = prepare(*rows, *ALL, "--split", name)
    assert len(found.inter) == 120 and set(found.inter.x_label) == {0, 1, 2}
    load(found.path)
    assert f"split `{name}`, seed 999" in (found.path / "card.md").read_text()


def test_folds_are_sets_of_their_own_whose_tests_are_a_partition(prepare, rows, tmp_path):
    prepare(*rows, *ALL, "--split", "k-fold", "--folds", 4)
    folders = [tmp_path / "data" / f"set-{fold}" for fold in range(1, 5)]
    assert sorted((tmp_path / "data").iterdir()) == folders
    tables = [pd.read_csv(folder / f"{folder.name}.inter", sep="\t") for folder in folders]
    tests, valids = (
        [set(map(tuple, t[t.x_label == part][["userID", "itemID"]].values)) for t in tables]
        for part in (2, 1)
    )
    assert sum(map(len, tests)) == len(set.union(*tests)) == 120
    assert valids == [*tests[1:], tests[0]]
    cards = [json.loads((folder / "card.json").read_text()) for folder in folders]
    assert [card["split"]["fold"] for card in cards] == [1, 2, 3, 4]
    for folder, card in zip(folders, cards, strict=True):
        assert load(folder, folder.name).interactions_digest == card["hash"]


def test_one_fold_alone(prepare, rows, tmp_path):
    prepare(*rows, *ALL, "--split", "k-fold", "--fold", 2)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["set-2"]


def test_a_dry_run_says_all_and_writes_nothing(prepare, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    before = sorted(tmp_path.rglob("*"))
    out = prepare(*rows, *ALL, "--dry-run", "--k-core", 3).out
    assert sorted(tmp_path.rglob("*")) == before
    lines = out.splitlines()
    assert lines[:3] == [
        "columns    rows.csv: user, item, rating, time",
        "rows       120 read, 120 kept",
        "data       set: 10 users, 15 items, 120 interactions, density 80 %",
    ]
    assert lines[3].startswith(
        "split      mmrec, seed 999: 100 training, 10 validation, 10 test; cold: 0 users"
    )
    assert lines[4].startswith(
        f"would write {tmp_path / 'data' / 'set'}: set.inter, set.yaml, u_id_mapping.csv"
    )
    assert sorted(prepare(*rows, *ALL).path.iterdir()) == sorted(
        tmp_path / "data" / "set" / name for name in lines[4].split(": ")[1].split(", ")
    )


def test_a_folder_that_is_there_is_kept_unless_it_is_ours_and_forced(prepare, refused, rows, tmp_path):
    found = prepare(*rows, *ALL)
    assert "is there already; choose another name" in refused(*rows, *ALL)
    assert "is there already; choose another name" in refused(*rows, *ALL, "--dry-run")
    assert f"would replace {found.path}: set.inter" in prepare(*rows, *ALL, "--dry-run", "--force").out
    (found.path / "text_feat.npy").touch()
    again = prepare(*rows, *ALL, "--force", "--seed", 1)
    assert not (again.path / "text_feat.npy").exists() and again.card["split"]["seed"] == 1
    foreign = tmp_path / "data" / "theirs"
    foreign.mkdir()
    (foreign / "theirs.inter").touch()
    assert "--force does not replace it" in refused(*rows, *ALL, "--force", name="theirs")


@pytest.mark.parametrize("step", ["_write_yaml", "write_card", "_write_maps", "describe_modalities"])
def test_a_full_disk_leaves_nothing(refused, rows, monkeypatch, step):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pipeline, step, full)
    err = refused(*rows, *ALL)
    assert "the disk of" in err and "is full; nothing was written: free some space" in err


def test_a_folder_that_cannot_be_made(capsys, rows, tmp_path):
    (tmp_path / "file").touch()
    words = ["prepare", "table", *map(str, rows), *ALL, "-d", "x", f"data_path={tmp_path / 'file'}"]
    assert main(words) == 2
    assert "nothing was written" in capsys.readouterr().err


def test_too_small_a_limit_is_told(refused, write):
    many = write([(f"u{n % 5000}", f"i{n}") for n in range(200_000)])
    err = refused("--interactions", many, *COLUMNS, "--memory-limit", "1MB")
    assert "--memory-limit 1MB is too little" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "mmrek"], "--split mmrek is unknown; it is one of mmrec, lattice"),
        (["--split", "user-time"], "--split user-time needs the time of each interaction; name its column with"),
        (["--folds", "4"], "--folds has no effect on --split mmrec; it belongs to k-fold"),
        (["--ratio", ".8", ".1", ".1"], "--ratio has no effect on --split mmrec"),
        (["--split", "ratio", "--ratio", "1", "0", "x"], "expected three numbers above 0"),
        (["--split", "k-fold", "--folds", "2"], "expected at least 3"),
        (["--split", "k-fold", "--fold", "6"], "expected one from 1 to 5"),
        (["--split", "global-time", "--cut", "soon"], "--cut soon: expected one or two dates"),
        (["--split", "global-time", "--cut", ".9", ".8"], "in order"),
        (["--split", "global-time", "--cut", ".9", "2014-01-01"], "expected one or two dates"),
        (["--min-rating", "3"], "--min-rating needs ratings"),
        (["--k-core", "many"], "'many' is no whole number from 0"),
        (["--min-rating", "nan"], "'nan' is no number"),
        (["--split", "global-time", "--cut", "inf"], "--cut inf: expected one or two dates"),
        (["--k-core", "99"], "no interaction is left of 120 rows: 0 were duplicates, 0 below --min-rating, 120"),
        (["--reviews", "x"], "--reviews belongs to `prepare amazon`"),
        (["--memory-limit", "much"], "'much' is no size such as 500MB or 4GB"),
        (["--user-col", "users"], "no column 'users' (--user-col); found 'user', 'item', 'rating', 'time'; did"),
        (["epochs=3"], "'epochs' has no effect on prepare (command line); it takes data_path, threads"),
        (["--image-dir", "none"], "--image-dir none is no folder"),
    ],
)  # fmt: skip
def test_what_is_refused(refused, rows, words, message):
    assert message in refused(*rows, *COLUMNS, *words)


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "-x y", "demo", ""])
def test_names_that_are_none(refused, rows, name):
    assert "-d" in refused(*rows, *COLUMNS, name=name)


def test_what_a_kind_needs(refused):
    assert "prepare table needs --interactions and --user-col and --item-col" in refused()
    assert "prepare amazon needs --reviews" in refused(kind="amazon")
    assert "is not there" in refused("--reviews", "nowhere.json.gz", kind="amazon")


def test_splits_that_the_data_does_not_allow(refused, write):
    path = write([("a", "x", 1, 5), ("b", "y", 1, 5)], header=HEADER)
    for split, advice in (
        ("mmrec", "users with fewer than 3 interactions are all in training"),
        ("global-time", "all interactions lie on one side of --cut"),
        ("cold-item", "too few items for these shares"),
        ("ratio", "too few interactions for these shares"),
    ):
        err = refused("--interactions", path, *ALL, "--split", split)
        assert f"--split {split} leaves nothing for" in err and advice in err


def test_the_card_is_written_anew_with_the_features_of_the_folder(prepare, rows):
    found = prepare(*rows, *ALL)
    assert "None yet." in (found.path / "card.md").read_text()
    features = np.ones((15, 3), dtype=np.float16)
    features[:4] = [[0, 0, 0], [-0.0, 0, 0], [3, 4, 0], [np.nan, 0, 0]]
    np.save(found.path / "text_feat.npy", features)
    np.save(found.path / "text_mask.npy", np.arange(15) > 0)
    refresh_card(found.path)
    text = json.loads((found.path / "card.json").read_text())["modalities"]["text"]
    assert text.pop("hash")
    assert text == {
        "dimensions": 3, "type": "float16", "missing": 2, "not_finite": 1, "zero": 1, "duplicated": 10,
        "norm": {"min": 0, "median": pytest.approx(3**0.5), "max": 5}, "listed": None,
    }  # fmt: skip
    assert "| text | 3 | float16 | 2 | 1 | 10 | 0 / 1.732 / 5 |" in (found.path / "card.md").read_text()


def test_the_numbers_of_a_card(prepare, write):
    taken = {"a": 9, "b": 3, "c": 3, "d": 1}
    rows = [(user, f"i{n}", 1, 86_400 * n) for user, count in taken.items() for n in range(count)]
    card = prepare("--interactions", write(rows, header=HEADER), *ALL, "--split", "leave-one-out").card
    degrees = sorted(taken.values())
    gaps = sum(abs(a - b) for a in degrees for b in degrees)
    assert card["per_user"] == {
        "mean": 4, "median": 3, "min": 1, "max": 9, "gini": pytest.approx(gaps / (2 * 4 * sum(degrees))),
    }  # fmt: skip
    assert card["degree_counts"]["users"] == [[1, 3, 9], [1, 2, 1]]
    assert card["density"] == 16 / 36 and card["sparsity"] == pytest.approx(20 / 36)
    assert card["time"] == {
        "first": 0,
        "last": 86_400 * 8,
        "first_date": "1970-01-01",
        "last_date": "1970-01-09",
    }
    assert {name: part["interactions"] for name, part in card["splits"].items()} == {
        "training": 10,
        "validation": 3,
        "test": 3,
    }
    assert card["cold"] == {"users": 0, "items": 2}


def test_the_plot_is_the_same_bytes_each_time_and_takes_any_degrees(prepare, rows):
    facts = prepare(*rows, *ALL).card
    drawn = plot(facts)
    assert drawn == plot(facts) and "100 %" in drawn
    degrees = {"users": [[1], [5]], "items": [[1, 100_000], [900, 1]]}
    assert "</svg>" in plot(facts | {"degree_counts": degrees})


def test_what_a_killed_command_left_is_told_of(prepare, rows, tmp_path):
    left = tmp_path / "data" / ".set.0123456789ab.tmp"
    left.mkdir(parents=True)
    (tmp_path / "data" / ".sets.0123456789ab.tmp").mkdir()
    out = prepare(*rows, *ALL).out
    assert f"left over  {left}, of a command that was killed" in out and ".sets" not in out


class Ended(BaseException):
    """What a handler of signals raises."""


def test_a_signal_ends_a_query_as_its_handler_says(tmp_path):
    def handler(number, frame):
        raise Ended

    before = signal.signal(signal.SIGTERM, handler)
    try:
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
        with pytest.raises(Ended), database(tmp_path, "500MB", 1) as connection:
            timer.start()
            connection.execute(
                "SELECT count(*) FROM range(10_000_000) AS a, range(10_000_000) AS b WHERE a < b"
            )
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_help_says_what_each_option_is(capsys):
    assert main(["prepare", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in (*PROTOCOLS, "--image-features", "--dry-run", "data_path=..."))
