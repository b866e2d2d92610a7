"""Checked interactions as a memory-mapped file of the cache: parsed once, its pages shared by all processes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.data.interactions import SPLITS, read_interactions
from utils.files import atomic_write

VERSION = 1
"""Of the reading and its checks: another one reads the files anew."""


@dataclass(frozen=True, eq=False)
class SplitTable:
    """Users and items (2, n) int64, training first, then validation, then test, each in file order."""

    pairs: np.ndarray
    sizes: tuple[int, ...]
    warnings: list[str] = field(default_factory=list)

    def splits(self) -> list[np.ndarray]:
        """Views (2, n) of each split."""
        return np.split(self.pairs, np.cumsum(self.sizes)[:-1], axis=1)


def read_splits(
    path: Path, columns: tuple[str, str, str], separator: str, cache: Path, warn: Callable[[str], None]
) -> SplitTable:
    """The interactions of a file, from the cache where the same content was read before. Raises UserError."""
    try:
        key = _key(path, columns, separator)
        kept = _load(cache, key)
    except OSError:
        kept = key = None  # reading says what is wrong with the file
    if kept is not None:
        return kept
    interactions = read_interactions(path, *columns, separator)
    order = np.argsort(interactions.labels, kind="stable")
    pairs = np.stack([interactions.users[order], interactions.items[order]])
    sizes = np.bincount(interactions.labels, minlength=len(SPLITS))
    table = SplitTable(pairs, tuple(map(int, sizes)), interactions.warnings)
    if key is not None:
        try:
            _save(cache, key, table)
        except OSError as error:
            warn(f"interactions not kept, as {cache} cannot be written ({error.strerror}); set cache_path=... to a "
                 f"folder that can be")  # fmt: skip
    return table


def _key(path: Path, columns: tuple[str, str, str], separator: str) -> str:
    digest = hashlib.blake2b(repr((VERSION, path.name, columns, separator)).encode(), digest_size=12)
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return f"{path.stem}-{digest.hexdigest()}"


def _load(cache: Path, key: str) -> SplitTable | None:
    """None where it is not there, or not whole."""
    try:
        about = json.loads((cache / f"{key}.json").read_text())
        pairs = np.load(cache / f"{key}.npy", mmap_mode="r", allow_pickle=False)
        whole = pairs.dtype == np.int64 and pairs.shape == (2, sum(about["sizes"]))
        return SplitTable(pairs, tuple(about["sizes"]), about["warnings"]) if whole else None
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def _save(cache: Path, key: str, table: SplitTable) -> None:
    """The table first: what is told about without being there is never believed. Raises OSError."""
    cache.mkdir(parents=True, exist_ok=True)
    atomic_write(cache / f"{key}.npy", lambda file: np.save(file, table.pairs))
    about = json.dumps({"sizes": table.sizes, "warnings": table.warnings})
    atomic_write(cache / f"{key}.json", lambda file: file.write(about.encode()))
