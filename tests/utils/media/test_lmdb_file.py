"""A file is whole after anything, readers see one commit, and what is no such file is told in a line."""

from __future__ import annotations

import os

import pytest

from utils.errors import StorageError
from utils.media.lmdb_file import LmdbFile, item_key, item_of


def put(file, pairs, table="a"):
    file.write(lambda transaction: [transaction.put(*pair, db=file.table(table)) for pair in pairs])


def pairs(file, table="a"):
    with file.read() as transaction:
        return {bytes(key): bytes(value) for key, value in transaction.cursor(file.table(table))}


@pytest.fixture
def path(tmp_path):
    """A file with 50 values of 6,000 bytes."""
    with LmdbFile(tmp_path / "x.lmdb", ["a", "b"], writing=True) as file:
        put(file, [(item_key(item), bytes([item]) * 6000) for item in range(50)])
    return tmp_path / "x.lmdb"


def test_keys_sort_as_ids_do():
    items = [0, 1, 255, 256, 70_000, 2**31]
    assert sorted(map(item_key, items)) == [item_key(item) for item in items]
    assert [item_of(b"prefix" + item_key(item)) for item in items] == items


def test_what_fails_in_the_middle_has_never_been(path):
    with LmdbFile(path, ["a", "b"], writing=True) as file:
        before = pairs(file)

        def job(transaction):
            transaction.put(b"new", b"", db=file.table("a"))
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            file.write(job)
        assert pairs(file) == before
    with LmdbFile(path, ["a", "b"]) as file:
        assert pairs(file) == before and len(before) == 50


def test_a_full_map_grows_and_the_job_is_done_once(tmp_path):
    with LmdbFile(tmp_path / "x.lmdb", ["a"], writing=True, size=2**16) as file:
        put(file, [(item_key(item), bytes(10_000)) for item in range(100)])
        assert len(pairs(file)) == 100


def test_several_readers_each_see_the_state_of_one_commit(path):
    with LmdbFile(path, ["a", "b"], writing=True) as file:
        with file.read() as first:
            put(file, [(b"new", b"1")])
            with file.read() as second:
                assert first.get(b"new", db=file.table("a")) is None
                assert bytes(second.get(b"new", db=file.table("a"))) == b"1"


def test_a_reader_in_a_folder_that_cannot_be_written(path, monkeypatch):
    (path.parent / "x.lmdb-lock").unlink()
    monkeypatch.setattr("os.access", lambda *arguments: False)
    with LmdbFile(path, ["a", "b"]) as file:
        assert len(pairs(file)) == 50
    assert not (path.parent / "x.lmdb-lock").exists()


@pytest.mark.parametrize("writing", [True, False])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:100_000], "is cut off"),
        (lambda content: content[:5_000], "is cut off"),
        (lambda content: bytes(len(content)), "damaged or no LMDB file"),
        (lambda content: b"itemID,text\n" * 1000, "damaged or no LMDB file"),
    ],
)
def test_a_damaged_file(path, fails, damage, message, writing):
    path.write_bytes(damage(path.read_bytes()))
    fails(LmdbFile, message, path, ["a", "b"], writing)


def test_a_whole_file_may_be_shorter_than_it_says(path):
    """As LMDB does not write free pages at the end; here they are cut off."""
    with LmdbFile(path, ["a", "b"], writing=True) as file:
        put(file, [(item_key(item), bytes(100_000)) for item in range(100, 103)])
        file.write(
            lambda transaction: [transaction.delete(item_key(i), db=file.table("a")) for i in (100, 101, 102)]
        )
        said = (file.env.info()["last_pgno"] + 1) * file.env.stat()["psize"]
    os.truncate(path, said - 150_000)
    with LmdbFile(path, ["a", "b"]) as file:
        assert len(pairs(file)) == 50


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (b"2", "by a newer version of this program (format 2, expected 1)"),
        (b"0", "by an older version of this program"),
        (b"x", "of another program"),
        (None, "of another program"),
    ],
)
@pytest.mark.parametrize("writing", [True, False])
def test_a_file_of_another_format(path, fails, found, message, writing):
    with LmdbFile(path, ["a", "b"], writing=True) as file:
        file.write(lambda t: t.delete(b"format") if found is None else t.put(b"format", found))
    fails(LmdbFile, message, path, ["a", "b"], writing)


def test_a_file_that_lacks_a_table_or_is_not_there(path, fails):
    fails(LmdbFile, "lacks the table 'c'", path, ["a", "b", "c"])
    fails(LmdbFile, "there is no", path.with_name("y.lmdb"), ["a"])


def test_a_full_disk_leaves_what_was_there(path):
    import lmdb

    with LmdbFile(path, ["a", "b"], writing=True) as file:

        def job(transaction):
            transaction.put(b"new", b"", db=file.table("a"))
            raise lmdb.DiskError("mdb_txn_commit: No space left on device")

        with pytest.raises(StorageError, match="No space left on device; what was committed before is kept"):
            file.write(job)
        assert len(pairs(file)) == 50


def test_a_folder_that_cannot_be_written(tmp_path, fails):
    fails(LmdbFile, "cannot open", tmp_path / "not there" / "x.lmdb", ["a"], writing=True)
