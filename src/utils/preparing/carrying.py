"""Features that a user has already, in the order of their own table or ids: carried over the re-indexing."""

from __future__ import annotations

import tokenize
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.data.features import BLOCK_VALUES, read_mask, to_float32
from utils.errors import UserError
from utils.preparing.engine import Connection, one
from utils.preparing.presence import NOT_FINITE, write_presence
from utils.preparing.sources import Table, check_file

EXPECTED = "expected a matrix of numbers, a row per item, saved with numpy.save"
NO_LINE, MASKED = "no line in the table of items", "masked in the file given"


@dataclass(frozen=True)
class Rows:
    """A file of features (N, F) and, if `<name>_mask.npy` lies beside `<name>_feat.npy`, which rows count."""

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype
    mask: np.ndarray | None

    @classmethod
    def open(cls, path: Path) -> Rows:
        """Look at the header. Raises UserError for what is no matrix of numbers."""
        check_file(path)
        found = _map(path)
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
            raise UserError(f"{path} holds no numbers alone; {EXPECTED}")
        if found.ndim != 2 or not found.shape[1]:
            raise UserError(f"{path} has shape {found.shape}; {EXPECTED}")
        beside = path.with_name(path.name.removesuffix("_feat.npy") + "_mask.npy")
        has_mask = path.name.endswith("_feat.npy") and beside.is_file()
        mask = read_mask(beside, len(found)) if has_mask else None
        return cls(path, found.shape, found.dtype, mask)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """A copy of these rows (n, F). Mapped anew each time, or all pages that were read would stay in memory."""
        return np.asarray(_map(self.path)[rows])


def carry(connection: Connection, name: str, source: Rows, folder: Path, table: Table | None) -> str:
    """Write <name>_feat.npy (I, F) in the order of ids, its mask and the list of what is missing; a line about them.

    Rows are in the order of the lines of `table`, the table of items, or of raw ids where there is none. Missing are
    items without a line, rows that the mask beside the file leaves out, and rows that are not finite as float32:
    they become zeros. Raises UserError.
    """
    place = _by_line(connection, source, table) if table else _by_raw_id(connection, source)  # (I,), -1: none
    missing = dict.fromkeys(np.flatnonzero(place < 0).tolist(), NO_LINE)
    if source.mask is not None:
        missing |= dict.fromkeys(np.flatnonzero((place >= 0) & ~source.mask[place]).tolist(), MASKED)
    step = max(1, BLOCK_VALUES // source.shape[1])
    with open(folder / f"{name}_feat.npy", "wb") as file:
        header = {"descr": source.dtype.str, "fortran_order": False, "shape": (len(place), source.shape[1])}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(place), step):
            rows = source.take(place[start : start + step])
            wrong = np.flatnonzero(~np.isfinite(to_float32(rows)).all(1)) + start
            missing = dict.fromkeys(wrong.tolist(), NOT_FINITE) | missing
            rows[[item - start for item in range(start, start + len(rows)) if item in missing]] = 0
            file.write(np.ascontiguousarray(rows))
    if len(missing) == len(place):
        raise UserError(
            f"{source.path} has features of no item that is left ({next(iter(missing.values()))})"
        )
    write_presence(connection, folder, name, missing)
    return f"features   {name}: {len(place) - len(missing):,} of {len(place):,} items from {source.path.name}"


def _by_line(connection: Connection, source: Rows, table: Table) -> np.ndarray:
    lines = one(connection, f"SELECT count(*) FROM {table.sql}")
    if lines != source.shape[0]:
        raise UserError(
            f"{source.path} has {source.shape[0]:,} rows and {table.path}, in whose order they stand, {lines:,} items; "
            f"expected a row for each line"
        )
    return _places(
        connection, "SELECT coalesce(line - 1, -1) FROM items LEFT JOIN meta USING (raw) ORDER BY id"
    )


def _by_raw_id(connection: Connection, source: Rows) -> np.ndarray:
    row = "TRY_CAST(raw AS BIGINT)"
    other = one(
        connection,
        f"SELECT raw FROM items WHERE NOT coalesce(regexp_full_match(raw, '[0-9]+') AND {row} < {source.shape[0]}, "
        f"false) ORDER BY id LIMIT 1",
    )
    if other is not None:
        raise UserError(
            f"{source.path} has {source.shape[0]:,} rows, in the order of item ids from 0, and {other!r} is the id of "
            f"none; expected whole numbers, or name the table in whose order the rows stand with --items"
        )
    return _places(connection, f"SELECT {row} FROM items ORDER BY id")


def _places(connection: Connection, query: str) -> np.ndarray:
    return np.array([place for (place,) in connection.execute(query).fetchall()], dtype=np.int64)


def _map(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, tokenize.TokenError, SyntaxError, zipfile.BadZipFile) as error:
        problem = getattr(error, "strerror", None) or "it is no .npy file of numbers, or is damaged"
        raise UserError(f"cannot read {path}: {problem}; {EXPECTED}") from error
