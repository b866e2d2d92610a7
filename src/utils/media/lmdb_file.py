"""One LMDB file: opened to write or to read, growing as it fills, its faults told in a line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from utils.errors import StorageError, UserError
from utils.media.packages import need

if TYPE_CHECKING:
    import lmdb

Result = TypeVar("Result")

FORMAT = 1
"""Of the tables and what they hold; kept in the file, to be raised with any change that old files do not fit."""

FIRST_SIZE = 2**26
"""Bytes of the map of a new file; it is doubled whenever it is full, and the file is only as large as its content."""

ANEW = "`python main.py features` makes it anew"
NO_SPACE = ("No space left", "Disk quota", "File too large", "Input/output error")

WALK = """
import lmdb, sys
with lmdb.open(sys.argv[1], subdir=False, readonly=True, lock=False, max_dbs=len(sys.argv)) as env:
    with env.begin() as transaction:
        names = [name for name in map(str.encode, sys.argv[2:]) if transaction.get(name)]
    tables = [env.open_db(name, create=False) for name in names]
    with env.begin(buffers=True) as transaction:
        for table in tables:
            for key, value in transaction.cursor(table):
                value[-1:].tobytes()
"""
"""Reads the last byte of every value. In a process of its own, since a page beyond the end kills the one that reads."""


class LmdbFile:
    """Named tables of sorted keys in one file, `path`; beside it lies its lock, `<path>-lock`.

    What `write` does is in the file wholly or not at all, also after a kill or a power cut, and readers in any
    process see the state of one commit and share its pages through the page cache. One object per file and
    process, never across a fork. Not for network file systems, whose locks and maps LMDB cannot rely on.
    Raises UserError for what is no such file.
    """

    def __init__(self, path: Path, tables: Sequence[str], writing: bool = False, size: int = FIRST_SIZE):
        self.path, self._lmdb = path, need("lmdb")
        if not writing and not path.is_file():
            raise UserError(f"there is no {path}; `python main.py features` makes it from items.csv")
        with self._told("open"):
            self.env = self._open_to_write(len(tables), size) if writing else self._open_to_read(len(tables))
        try:
            with self._told("open"):
                self._check_length(tables)
                self._check_format(writing)
                self._tables = {name: self._table(name, writing) for name in tables}
        except BaseException:
            self.env.close()
            raise

    def __enter__(self) -> LmdbFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.env.close()

    def table(self, name: str) -> Any:
        """To name to a transaction's get, put, delete, stat and cursor."""
        return self._tables[name]

    def names(self) -> tuple[str, ...]:
        """Of its tables."""
        return tuple(self._tables)

    def write(self, job: Callable[[lmdb.Transaction], Result]) -> Result:
        """What `job` gives for a transaction, committed; called anew, from the old state, where the map was full.

        No `read` of this object may be open. Raises StorageError where the disk is full.
        """
        while True:
            try:
                with self._told("write"), self.env.begin(write=True) as transaction:
                    return job(transaction)
            except self._lmdb.MapFullError:
                self.env.set_mapsize(2 * self.env.info()["map_size"])
            except self._lmdb.MapResizedError:  # by another process
                self.env.set_mapsize(0)

    @contextmanager
    def read(self) -> Iterator[lmdb.Transaction]:
        """A transaction on the state of the last commit; its values are views of the map, for as long as it lasts."""
        with self._told("read"):
            try:
                transaction = self.env.begin(buffers=True)
            except self._lmdb.MapResizedError:  # a writer in another process needed more space
                self.env.set_mapsize(0)
                transaction = self.env.begin(buffers=True)
            with transaction:
                yield transaction

    def _open_to_write(self, tables: int, size: int) -> lmdb.Environment:
        there = self.path.stat().st_size if self.path.is_file() else 0
        env = self._lmdb.open(
            str(self.path), subdir=False, map_size=max(size, 2 * there), max_dbs=tables, readahead=False
        )
        env.reader_check()  # frees the places of readers that were killed, whose pages would never be used again
        return env

    def _open_to_read(self, tables: int) -> lmdb.Environment:
        """With a place among the readers, so that a writer leaves the pages alone that are being read.

        Without one where the lock cannot be written, as in a folder that is only to be read.
        """
        lock = self.path.with_name(self.path.name + "-lock")
        return self._lmdb.open(
            str(self.path),
            subdir=False,
            max_dbs=tables,
            readonly=True,
            readahead=False,
            lock=os.access(lock if lock.exists() else lock.parent, os.W_OK),
        )

    def _check_format(self, writing: bool) -> None:
        with self.env.begin(write=writing) as transaction:
            found = transaction.get(b"format")
            if found is None and writing and not self.env.stat()["entries"]:
                transaction.put(b"format", b"%d" % FORMAT)
                return
        if found is None or not found.isdigit():
            raise UserError(f"{self.path} is an LMDB file of another program; move it, and {ANEW}")
        if int(found) != FORMAT:
            which = "a newer" if int(found) > FORMAT else "an older"
            raise UserError(
                f"{self.path} was written by {which} version of this program (format {int(found)}, expected {FORMAT}); "
                f"use that version, or move the file, and {ANEW}"
            )

    def _table(self, name: str, writing: bool) -> Any:
        try:
            return self.env.open_db(name.encode(), create=writing)
        except self._lmdb.NotFoundError as error:
            raise UserError(f"{self.path} lacks the table '{name}'; move it, and {ANEW}") from error

    def _check_length(self, tables: Sequence[str]) -> None:
        """Raises UserError for a file that was cut: reading a page that is not there would kill this process.

        LMDB does not write free pages at the end, so a file may be whole although it is shorter than it says.
        """
        said = (self.env.info()["last_pgno"] + 1) * self.env.stat()["psize"]
        if self.path.stat().st_size >= said:
            return
        walk = subprocess.run(
            [sys.executable, "-c", WALK, str(self.path), *tables],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
        )
        if walk.returncode:
            raise UserError(f"{self.path} is cut off: {said:,} bytes are expected; move it, and {ANEW}")

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """LMDB's errors as lines for the user, but for those that `write` and `read` mend."""
        lmdb = self._lmdb
        damaged = lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError, lmdb.PageNotFoundError
        try:
            yield
        except (lmdb.MapFullError, lmdb.MapResizedError):
            raise
        except damaged as error:
            raise UserError(
                f"{self.path} is damaged or no LMDB file ({_brief(error)}); move it, and {ANEW}"
            ) from error
        except lmdb.Error as error:
            if any(reason in str(error) for reason in NO_SPACE):
                raise StorageError(
                    f"cannot write {self.path}: {_brief(error)}; what was committed before is kept, and the same "
                    f"command goes on from there"
                ) from error
            raise UserError(
                f"cannot {doing} {self.path}: {_brief(error)}; check the file, its folder and their permissions"
            ) from error


def item_key(item: int) -> bytes:
    """Four bytes, sorted as the ids are."""
    return item.to_bytes(4, "big")


def item_of(key: bytes | memoryview) -> int:
    """The id at the end of a key."""
    return int.from_bytes(key[-4:], "big")


def _brief(error: Exception) -> str:
    return str(error).rpartition(": ")[2]
