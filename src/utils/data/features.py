"""Raw features of a modality: .npy files of (I, F) numbers, row = item id, read through memory maps."""

from __future__ import annotations

import hashlib
import tokenize
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from utils.errors import UserError

BLOCK_VALUES = 2**21
MAGIC = b"\x93NUMPY"
EXPECTED = "expected an (items, width) matrix of numbers, saved with numpy.save"


@dataclass(frozen=True)
class FeatureFile:
    """A .npy file whose header is right: a numeric matrix `shape` = (I, F), of which no value is read yet."""

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype
    fortran: bool
    offset: int

    @classmethod
    def open(cls, path: Path, n_items: int) -> FeatureFile:
        """Raises UserError for what is no numeric matrix with a row for each item."""
        try:
            with open(path, "rb") as file:
                shape, fortran, dtype = _read_header(path, file)
                offset = file.tell()
            _check_layout(path, shape, dtype, n_items)
            found, expected = path.stat().st_size, offset + shape[0] * shape[1] * dtype.itemsize
        except OSError as error:
            raise UserError(
                f"cannot read {path}: {error.strerror}; check the file and its permissions"
            ) from error
        if found < expected:
            raise UserError(
                f"{path} is truncated: expected {expected} bytes for shape {shape} and type {dtype}, "
                f"found {found}; copy or download it again"
            )
        return cls(path, shape, dtype, fortran, offset)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """First row and rows, as they are in the file, of consecutive blocks of some megabytes."""
        step = max(1, BLOCK_VALUES // self.shape[1])
        for start in range(0, self.shape[0], step):
            # A map for each block: the pages that were read stay in memory as long as their map does.
            rows = np.memmap(
                self.path, self.dtype, "r", self.offset, self.shape, "F" if self.fortran else "C"
            )
            yield start, rows[start : start + step]


def _read_header(path: Path, file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    if file.read(len(MAGIC)) != MAGIC:
        raise UserError(f"{path} is no .npy file; {EXPECTED}")
    file.seek(0)
    try:
        if np.lib.format.read_magic(file) == (1, 0):
            return np.lib.format.read_array_header_1_0(file)
        return np.lib.format.read_array_header_2_0(file)
    except (ValueError, SyntaxError, tokenize.TokenError) as error:  # as numpy parses the header in steps
        raise UserError(f"{path} has a damaged header; {EXPECTED}") from error


def _check_layout(path: Path, shape: tuple[int, ...], dtype: np.dtype, n_items: int) -> None:
    if dtype.hasobject:
        raise UserError(
            f"{path} holds pickled Python objects, which are never loaded; {EXPECTED}, "
            f"for instance numpy.save(path, features.astype('float32'))"
        )
    if dtype.kind not in "fiu":
        raise UserError(f"{path} holds values of type {dtype}; {EXPECTED}")
    if len(shape) != 2:
        raise UserError(f"{path} has shape {shape}, {len(shape)} dimensions; {EXPECTED}")
    if not shape[1]:
        raise UserError(f"{path} has shape {shape}, no column; {EXPECTED}")
    if shape[0] != n_items:
        raise UserError(f"{path} has {shape[0]} rows; {rows_expected(n_items)}")


def rows_expected(n_items: int) -> str:
    """What is expected of the rows of a file with a row for each item."""
    return (
        f"expected {n_items}, one for each item of the interactions (largest id plus one) in the order of ids"
    )


@dataclass(frozen=True)
class Content:
    """What reading a whole file of features shows: a hash of its values, rows that hold any, and warnings."""

    digest: str
    present: np.ndarray
    """Rows (I,) bool that are not NaN throughout, as an item without content may be written."""
    warnings: list[str]


def read_content(file: FeatureFile, mask: np.ndarray | None = None) -> Content:
    """What one pass over the values shows, of the items of a `mask` (I,) bool if there is one.

    Raises UserError for infinity, and for NaN in rows with numbers.
    """
    digest = hashlib.blake2b(f"{file.dtype.str} {file.shape}".encode(), digest_size=16)
    finite, zero, empty = np.empty((3, file.shape[0]), dtype=bool)
    first_with: dict[bytes, int] = {}
    earlier = np.arange(file.shape[0])  # the first row that equals this one
    for start, raw in file.blocks():
        digest.update(np.ascontiguousarray(raw))
        rows, place = to_float32(raw), slice(start, start + len(raw))
        finite[place], zero[place] = np.isfinite(rows).all(1), ~rows.any(1)
        empty[place] = np.isnan(rows).all(1) if not finite[place].all() else False
        rows += 0.0  # -0.0 and 0.0 are one number
        for row, values in enumerate(rows, start):
            earlier[row] = first_with.setdefault(hashlib.blake2b(values, digest_size=16).digest(), row)
    counting = ~empty if mask is None else mask & ~empty
    _check_finite(file.path, finite | ~counting)
    warnings = _row_warnings(file.path, zero & counting, np.where(counting, earlier, np.arange(len(earlier))))
    unmasked = empty if mask is None else empty & mask
    if unmasked.any():
        warnings.insert(
            0,
            f"rows of NaN in {file.path.name}: {unmasked.sum()}, the first is row {unmasked.argmax()}; these items "
            f"count as having no content, and missing_treatment says what becomes of them",
        )
    return Content(digest.hexdigest(), ~empty, warnings)


def read_mask(path: Path, n_items: int) -> np.ndarray:
    """Which items (I,) bool have a modality, by its mask file. Raises UserError."""
    expected = (
        f"expected a bool for each of {n_items} items, True where the item has content, saved with numpy.save"
    )
    try:
        mask = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, tokenize.TokenError, SyntaxError, zipfile.BadZipFile) as error:
        problem = getattr(error, "strerror", None) or "it is no .npy file of numbers, or is damaged"
        raise UserError(f"cannot read {path}: {problem}; {expected}") from error
    if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != (n_items,):
        found = f"{mask.dtype} of shape {mask.shape}" if isinstance(mask, np.ndarray) else "an archive"
        raise UserError(f"{path} holds {found}; {expected}")
    return mask


def to_float32(rows: np.ndarray) -> np.ndarray:
    """A contiguous float32 copy; what is too large for float32 becomes infinite."""
    with np.errstate(over="ignore"):
        return rows.astype(np.float32, order="C")


def _check_finite(path: Path, finite: np.ndarray) -> None:
    bad = np.flatnonzero(~finite)
    if len(bad):
        raise UserError(
            f"{path} has NaN or infinite values, as float32, in {len(bad)} of {len(finite)} rows, "
            f"the first in row {bad[0]}; write rows of NaN alone for items without content, and numbers elsewhere"
        )


def _row_warnings(path: Path, zero: np.ndarray, earlier: np.ndarray) -> list[str]:
    warnings = []
    repeated = np.flatnonzero((earlier < np.arange(len(earlier))) & ~zero)
    if zero.any():
        warnings.append(
            f"all-zero rows in {path.name}: {zero.sum()}, the first is row {zero.argmax()}; "
            f"such an item has no neighbour but itself in a kNN graph"
        )
    if len(repeated):
        warnings.append(
            f"duplicated rows in {path.name}: {len(repeated)} equal an earlier row, the first is "
            f"row {repeated[0]}, equal to row {earlier[repeated[0]]}; ties in a kNN graph break by lower id"
        )
    return warnings
