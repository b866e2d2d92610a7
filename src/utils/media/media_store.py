"""`media.lmdb`: the text and the image of every item of a data set, and why an item has none."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from utils.media.images import Stamp
from utils.media.lmdb_file import LmdbFile, item_key, item_of
from utils.media.problems import Problem

if TYPE_CHECKING:
    import lmdb

NAME = "media.lmdb"
KINDS = ("text", "image")
DIGEST = 16
"""Bytes of the hash that stands for a text or an image."""


class Origin(NamedTuple):
    """The file that an image was read from: its name in the table, and its stamp."""

    name: str
    stamp: Stamp

    def encode(self) -> bytes:
        return struct.pack("<3q", *self.stamp) + self.name.encode("utf-8", "surrogateescape")

    @classmethod
    def decode(cls, content: bytes) -> Origin:
        return cls(
            content[24:].decode("utf-8", "surrogateescape"), Stamp(*struct.unpack("<3q", content[:24]))
        )


class Entry(NamedTuple):
    """What is to be kept of one item and kind: its content, or else why there is none."""

    kind: str
    item: int
    content: bytes | None
    problem: Problem | None = None
    origin: Origin | None = None


class MediaStore:
    """Texts (UTF-8) and images (bytes of the file) by item id. Raises UserError for a file that is none.

    Their hashes have a table of their own, so that what has changed is found without a look at every image.
    """

    def __init__(self, folder: Path, writing: bool = False):
        tables = [f"{kind}{part}" for kind in KINDS for part in ("", " digest", " problem")]
        self.file = LmdbFile(folder / NAME, [*tables, "image origin"], writing)

    def __enter__(self) -> MediaStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def put(self, entries: Iterable[Entry]) -> int:
        """Keep entries, all of them or none; those that are there already are left. How many were new or changed."""
        entries = list(entries)
        return self.file.write(lambda transaction: sum(self._put(transaction, entry) for entry in entries))

    def count(self, kind: str) -> int:
        """How many items have one."""
        with self.file.read() as transaction:
            return transaction.stat(self.file.table(kind))["entries"]

    def digests(self, kind: str) -> dict[int, bytes]:
        """Hash of the content of every item that has one, by rising id."""
        with self.file.read() as transaction:
            cursor = transaction.cursor(self.file.table(f"{kind} digest"))
            return {item_of(key): bytes(value) for key, value in cursor}

    def contents(self, kind: str, items: Iterable[int]) -> list[tuple[bytes, bytes]]:
        """Hash and content of items that have one. Raises KeyError for another."""
        with self.file.read() as transaction:
            return [self._content(transaction, kind, item) for item in items]

    def problems(self, kind: str) -> dict[int, Problem]:
        """Why items have none, by rising id."""
        with self.file.read() as transaction:
            cursor = transaction.cursor(self.file.table(f"{kind} problem"))
            return {item_of(key): Problem.decode(bytes(value)) for key, value in cursor}

    def origins(self) -> dict[int, Origin]:
        """The files that images were read from."""
        with self.file.read() as transaction:
            cursor = transaction.cursor(self.file.table("image origin"))
            return {item_of(key): Origin.decode(bytes(value)) for key, value in cursor}

    def forget(self, n_items: int) -> None:
        """Remove items from `n_items` on, of a data set that was larger once."""

        def job(transaction: lmdb.Transaction) -> None:
            for name in self.file.names():
                cursor = transaction.cursor(self.file.table(name))
                found = cursor.set_range(item_key(n_items))
                while found:
                    found = cursor.delete()

        self.file.write(job)

    def _content(self, transaction: lmdb.Transaction, kind: str, item: int) -> tuple[bytes, bytes]:
        digest, content = (
            transaction.get(item_key(item), db=self.file.table(name)) for name in (f"{kind} digest", kind)
        )
        if content is None:
            raise KeyError(item)
        return bytes(digest), bytes(content)

    def _put(self, transaction: lmdb.Transaction, entry: Entry) -> bool:
        """Whether anything is new."""
        key = item_key(entry.item)
        contents, digests, problems = (
            self.file.table(f"{entry.kind}{part}") for part in ("", " digest", " problem")
        )
        if entry.content is None:
            problem = entry.problem.encode()
            if transaction.get(key, db=problems) == problem:
                return False
            transaction.delete(key, db=contents)
            transaction.delete(key, db=digests)
            if entry.kind == "image":
                transaction.delete(key, db=self.file.table("image origin"))
            return transaction.put(key, problem, db=problems)
        if entry.origin is not None:
            transaction.put(key, entry.origin.encode(), db=self.file.table("image origin"))
        digest = content_digest(entry.content)
        if transaction.get(key, db=digests) == digest:
            return False
        transaction.delete(key, db=problems)
        transaction.put(key, digest, db=digests)
        return transaction.put(key, entry.content, db=contents)


def content_digest(content: bytes) -> bytes:
    """The hash that stands for a text or an image."""
    return hashlib.blake2b(content, digest_size=DIGEST).digest()
