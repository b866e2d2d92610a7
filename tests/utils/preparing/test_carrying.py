"""Features that are there already: each item keeps its own over the re-indexing, and who has none is missing."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from utils.preparing import carrying

COLUMNS = ["--user-col", "user", "--item-col", "item"]


@pytest.fixture
def named(write, grid):
    """Options for `grid` with a table of items in disorder: i1 twice, i14 not at all."""
    order = [f"i{n}" for n in (3, 1, 2, 0, 1, 99, *range(4, 14))]
    rows = write([row[:2] for row in grid])
    items = write([(item,) for item in order], "items.csv", ("item",))
    return order, ["--interactions", rows, *COLUMNS, "--items", items]


@pytest.fixture
def numbered(write):
    """Options for raw ids 7 to 12 and a core of 3, outside of which 9 is."""
    rows = [(f"u{user}", item) for user in range(5) for item in (7, 8, 10, 11, 12)] + [("u0", 9)]
    return ["--interactions", write(rows, "numbers.csv"), *COLUMNS, "--k-core", 3]


def raw_ids(folder):
    with open(folder / "items.csv", newline="") as file:
        return [row["rawID"] for row in csv.DictReader(file)]


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8"])
def test_rows_in_the_order_of_the_table_of_items(prepare, named, tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(carrying, "BLOCK_VALUES", 8)  # several blocks
    order, options = named
    values = np.arange(len(order) * 3).reshape(-1, 3).astype(dtype)
    np.save(tmp_path / "mine.npy", np.asfortranarray(values))
    found = prepare(*options, "--features", f"text={tmp_path / 'mine.npy'}")
    feat, mask = (np.load(found.path / f"text_{what}.npy") for what in ("feat", "mask"))
    assert feat.dtype == values.dtype and feat.shape == (15, 3)
    for item, raw in enumerate(raw_ids(found.path)):
        assert mask[item] == (raw in order)
        assert (feat[item] == (values[order.index(raw)] if raw in order else 0)).all()
    last = raw_ids(found.path).index("i14")
    assert (found.path / "text_missing.csv").read_text() == (
        f"itemID,rawID,reason\n{last},i14,no line in the table of items\n"
    )
    assert found.card["modalities"]["text"]["missing"] == 1
    assert "text: 14 of 15 items from mine.npy" in found.out


def test_rows_in_the_order_of_whole_ids_and_a_mask_beside_them(prepare, numbered, tmp_path):
    values = np.random.default_rng(0).random((13, 4))
    values[8, 2] = np.inf
    values[10] = np.nan
    np.save(tmp_path / "audio_feat.npy", values)
    np.save(tmp_path / "audio_mask.npy", np.arange(13) != 11)
    found = prepare(*numbered, "--features", f"sound={tmp_path / 'audio_feat.npy'}")
    assert raw_ids(found.path) == ["7", "8", "10", "11", "12"]
    feat, mask = (np.load(found.path / f"sound_{what}.npy") for what in ("feat", "mask"))
    assert mask.tolist() == [True, False, False, False, True]
    assert (feat[mask] == values[[7, 12]]).all() and not feat[~mask].any()
    assert [line.split(",") for line in (found.path / "sound_missing.csv").read_text().splitlines()[1:]] == [
        ["1", "8", "numbers that are not finite"],
        ["2", "10", "numbers that are not finite"],
        ["3", "11", "masked in the file given"],
    ]


def test_a_dry_run_names_what_would_be_written(prepare, numbered, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((13, 4)))
    out = prepare(*numbered, f"--features=a={tmp_path / 'x.npy'}", "--dry-run").out
    assert "features   x.npy: 13 x 4 float64" in out and "a_feat.npy, a_mask.npy, a_missing.csv" in out


def test_what_is_refused(refused, named, numbered, tmp_path):
    _, options = named
    x = tmp_path / "x.npy"
    np.save(x, np.ones((12, 2)))
    given = ["--features", f"text={x}"]
    assert "x.npy has 12 rows and" in (err := refused(*options, *given)) and "16 items; expected a row" in err
    assert "12 rows, in the order of item ids from 0, and '12' is the id of none" in refused(
        *numbered, *given
    )
    assert "and 'i0' is the id of none; expected whole numbers, or name the table" in refused(
        *options[:-2], *given
    )
    for word in ("text", "a/b=x.npy", "text="):
        assert ": expected NAME=FILE, such as" in refused(*numbered, "--features", word)
    assert "--features needs NAME=FILE" in refused(*numbered, "--features")
    assert "a is given twice" in refused(*numbered, "--features", f"a={x}", f"a={x}")
    assert "is not there" in refused(*numbered, "--features", f"a={tmp_path / 'y.npy'}")
    assert "belongs to `prepare table`" in refused("--reviews", x, *given, kind="amazon")
    for content in (np.array([{}], dtype=object), np.ones(3), np.array([["a"]]), np.ones((3, 0))):
        np.save(x, content, allow_pickle=True)
        assert "expected a matrix of numbers, a row per item" in refused(*numbered, *given)
    x.write_bytes(b"\x93NUMPY and nothing else")
    assert "or is damaged; expected a matrix" in refused(*numbered, *given)
    np.save(x, np.full((13, 2), np.nan))
    assert "has features of no item that is left (numbers that are not finite)" in refused(*numbered, *given)
