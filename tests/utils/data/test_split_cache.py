"""The cache of interactions: the same splits, shared pages, never believed where it is not whole."""

from __future__ import annotations

import numpy as np
import pytest

from utils.data import split_cache as module
from utils.data.split_cache import read_splits

COLUMNS = ("userID", "itemID", "x_label")
ROWS = [(2, 1, 2), (0, 0, 0), (1, 3, 0), (0, 2, 1), (0, 0, 0), (1, 1, 0)]
SPLITS = [[[0, 1, 1], [0, 3, 1]], [[0], [2]], [[2], [1]]]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "toy.inter"
    path.write_text("\t".join(COLUMNS) + "\n" + "".join("{}\t{}\t{}\n".format(*row) for row in ROWS))
    return path


@pytest.fixture
def reads(monkeypatch):
    calls = []
    original = module.read_interactions
    monkeypatch.setattr(module, "read_interactions", lambda *a: calls.append(a) or original(*a))
    return calls


def read(path, warn=pytest.fail, columns=COLUMNS):
    return read_splits(path, columns, "\t", path.parent / "cache", warn)


def test_parsed_once_then_mapped(path, reads):
    first, again = read(path), read(path)
    for table in (first, again):
        assert [split.tolist() for split in table.splits()] == SPLITS
    assert len(reads) == 1 and first.warnings == again.warnings and "duplicated rows" in again.warnings[0]
    assert isinstance(again.pairs, np.memmap) and not again.pairs.flags.writeable
    assert all(np.shares_memory(split, again.pairs) for split in again.splits())


def test_other_content_or_columns_are_read_anew(path, reads):
    read(path)
    path.write_text(path.read_text() + "2\t2\t0\n")
    assert read(path).sizes == (4, 1, 1)
    path.write_text(path.read_text().replace("itemID\t", "item\t"))
    assert read(path, columns=("userID", "item", "x_label")).sizes == (4, 1, 1)
    assert len(reads) == 3


@pytest.mark.parametrize("file", ["npy", "json"])
@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: b"", None])
def test_what_is_not_whole_is_made_anew(path, reads, file, damage):
    read(path)
    (kept,) = (path.parent / "cache").glob(f"*.{file}")
    if damage:
        kept.write_bytes(damage(kept.read_bytes()))
    else:
        kept.unlink()
    assert [split.tolist() for split in read(path).splits()] == SPLITS
    assert len(reads) == 2 and read(path).sizes == (3, 1, 1) and len(reads) == 2


def test_a_cache_that_cannot_be_written_is_a_warning(path):
    (path.parent / "cache").write_text("")
    warnings = []
    assert read(path, warnings.append).sizes == (3, 1, 1)
    assert "interactions not kept" in warnings[0] and "cache_path=" in warnings[0]
