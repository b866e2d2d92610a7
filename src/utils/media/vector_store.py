"""`features.lmdb`: the vector of every item's text or image, by the encoder that made it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from utils.media.lmdb_file import LmdbFile, item_key, item_of
from utils.media.media_store import DIGEST
from utils.media.problems import Problem

if TYPE_CHECKING:
    import lmdb

NAME = "features.lmdb"
VECTOR, NONE = b"v", b"x"
HEAD = DIGEST + 4
"""Bytes in front of a vector: the hash of what was encoded, and whether a vector or a problem follows, padded."""


class Record(NamedTuple):
    """What an encoder made of the content of an item with this hash: a vector (F,) float32, or a problem."""

    item: int
    digest: bytes
    vector: np.ndarray | None
    problem: Problem | None = None


class VectorStore:
    """Vectors by kind (text or image), encoder and item id, so that those of two encoders are never mixed.

    An encoder's key is a hash of its identity: its weights, settings and width. Raises UserError.
    """

    def __init__(self, folder: Path, writing: bool = False):
        self.file = LmdbFile(folder / NAME, ["encoder", "vector", "output"], writing)

    def __enter__(self) -> VectorStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def register(self, identity: Mapping[str, Any], about: Mapping[str, Any]) -> str:
        """The key of an encoder, and its record kept: `about` says more of it without making it another one."""
        key = encoder_key(identity)
        content = json.dumps({"identity": identity, "about": about}, sort_keys=True).encode()
        self.file.write(
            lambda transaction: transaction.put(key.encode(), content, db=self.file.table("encoder"))
        )
        return key

    def encoders(self) -> dict[str, dict[str, Any]]:
        """The records of all encoders by their keys."""
        with self.file.read() as transaction:
            cursor = transaction.cursor(self.file.table("encoder"))
            return {bytes(key).decode(): json.loads(bytes(value)) for key, value in cursor}

    def put(self, kind: str, encoder: str, records: Iterable[Record]) -> None:
        """Keep records, all of them or none, in the place of older ones of the same items."""
        pairs = [(_prefix(kind, encoder) + item_key(record.item), _encode(record)) for record in records]

        def job(transaction: lmdb.Transaction) -> None:
            for key, value in pairs:
                transaction.put(key, value, db=self.file.table("vector"))

        self.file.write(job)

    def digests(self, kind: str, encoder: str) -> dict[int, bytes]:
        """Hash of what was encoded, by item id, also where a problem came of it."""
        with self.file.read() as transaction:
            return {item: bytes(value[:DIGEST]) for item, value in self._values(transaction, kind, encoder)}

    def records(self, kind: str, encoder: str) -> Iterator[Record]:
        """All of an encoder by rising item id. A vector is a view of the file's pages, until the next one is taken."""
        with self.file.read() as transaction:
            for item, value in self._values(transaction, kind, encoder):
                yield _decode(item, value)

    def outputs(self) -> dict[str, tuple[str, str]]:
        """Kind and encoder of each exported file, by its name, the last one last."""
        with self.file.read() as transaction:
            cursor = transaction.cursor(self.file.table("output"))
            found = {bytes(name).decode(): json.loads(bytes(value)) for name, value in cursor}
        return {
            name: (kind, encoder)
            for name, (_, kind, encoder) in sorted(found.items(), key=lambda one: one[1])
        }

    def claim(self, name: str, kind: str, encoder: str) -> None:
        """Remember that the file of this name is exported from here; before it is, so that a kill changes nothing."""

        def job(transaction: lmdb.Transaction) -> None:
            table = self.file.table("output")
            numbers = [json.loads(bytes(value))[0] for _, value in transaction.cursor(table)]
            value = json.dumps([max(numbers, default=0) + 1, kind, encoder]).encode()
            transaction.put(name.encode(), value, db=table)

        self.file.write(job)

    def _values(
        self, transaction: lmdb.Transaction, kind: str, encoder: str
    ) -> Iterator[tuple[int, memoryview]]:
        prefix = _prefix(kind, encoder)
        cursor = transaction.cursor(self.file.table("vector"))
        if cursor.set_range(prefix):
            for key, value in cursor:
                if key[: len(prefix)] != prefix:
                    return
                yield item_of(key), value


def encoder_key(identity: Mapping[str, Any]) -> str:
    """16 hexadecimal digits."""
    return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=8).hexdigest()


def _prefix(kind: str, encoder: str) -> bytes:
    return f"{kind}\0{encoder}\0".encode()


def _encode(record: Record) -> bytes:
    if record.vector is None:
        return record.digest + NONE.ljust(HEAD - DIGEST, b"\0") + record.problem.encode()
    return record.digest + VECTOR.ljust(HEAD - DIGEST, b"\0") + record.vector.astype("<f4").tobytes()


def _decode(item: int, value: memoryview) -> Record:
    digest, content = bytes(value[:DIGEST]), value[HEAD:]
    if bytes(value[DIGEST : DIGEST + 1]) == VECTOR:
        return Record(item, digest, np.frombuffer(content, dtype="<f4"))
    return Record(item, digest, None, Problem.decode(bytes(content)))
