"""Raw features of a modality: .npy files of (I, F) numbers, row = item id, read through memory maps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import UserError

BLOCK_BYTES = 2**24
MAGIC = b"\x93NUMPY"
HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class Content:
    """What reading all of a feature file shows: a hash of its values, and warnings."""

    digest: str
    warnings: list[str]


def open_features(path: Path, n_items: int) -> np.memmap:
    """The file as a read-only memory map (I, F) of its own type; values are not looked at.

    Raises UserError for what is no plain numeric matrix with a row per item.
    """
    try:
        with open(path, "rb") as file:
            shape, fortran, dtype = _read_header(path, file)
            offset, size = file.tell(), path.stat().st_size
        _check_layout(path, shape, dtype, n_items)
        if size < offset + int(np.prod(shape)) * dtype.itemsize:
            raise UserError(
                f"{path} is truncated: expected {offset + int(np.prod(shape)) * dtype.itemsize} bytes for {shape} "
                f"{dtype}, found {size}; copy or download it again"
            )
        return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; check the file and its permissions"
        ) from error


def _read_header(path: Path, file) -> tuple[tuple[int, ...], bool, np.dtype]:
    advice = "expected an (items, width) matrix of numbers saved with numpy.save"
    if file.read(len(MAGIC)) != MAGIC:
        raise UserError(f"{path} is no .npy file; {advice}")
    file.seek(0)
    try:
        return HEADER_READERS[np.lib.format.read_magic(file)](file)
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} has a damaged .npy header; {advice}") from error


def _check_layout(path: Path, shape: tuple[int, ...], dtype: np.dtype, n_items: int) -> None:
    if dtype.hasobject:
        raise UserError(
            f"{path} holds pickled Python objects, which are never loaded; expected numbers: save it again with "
            f"numpy.save(path, features.astype('float32'))"
        )
    if dtype.kind not in "fiu":
        raise UserError(f"{path} holds values of type {dtype}; expected floating-point or whole numbers")
    if len(shape) != 2:
        raise UserError(f"{path} has shape {shape}; expected two dimensions, (items, width)")
    if not shape[1]:
        raise UserError(f"{path} has rows without a value, shape {shape}; expected at least one column")
    if shape[0] != n_items:
        raise UserError(
            f"{path} has {shape[0]} rows, and the interactions have {n_items} items (the largest item id plus one); "
            f"expected a row for every item, in the order of item ids"
        )


def blocks(features: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """First row and rows of consecutive blocks of some megabytes."""
    step = max(1, BLOCK_BYTES // (features.shape[1] * 8))
    for start in range(0, len(features), step):
        yield start, features[start : start + step]


def to_float32(block: np.ndarray) -> np.ndarray:
    """A fresh, contiguous float32 copy; what is too large for float32 becomes infinite."""
    with np.errstate(over="ignore"):
        return block.astype(np.float32, order="C")


def read_content(path: Path, features: np.ndarray) -> Content:
    """Hash, all-zero and repeated rows of features (I, F), in one pass over their blocks.

    Raises UserError for values that are no finite float32 numbers.
    """
    digest = hashlib.blake2b(f"{features.dtype.str}{features.shape}".encode(), digest_size=16)
    finite, zero, repeats = [], [], []
    seen: dict[bytes, int] = {}
    for start, raw in blocks(features):
        digest.update(np.ascontiguousarray(raw))
        block = to_float32(raw)
        finite.append(np.isfinite(block).all(1))
        zero.append(~block.any(1))
        block += 0.0  # -0.0 and 0.0 are one number
        for row, values in enumerate(block, start):
            first = seen.setdefault(hashlib.blake2b(values, digest_size=16).digest(), row)
            if first != row and not zero[-1][row - start]:
                repeats.append((row, first))
    _check_finite(path, np.concatenate(finite))
    return Content(digest.hexdigest(), _row_warnings(path, np.concatenate(zero), repeats))


def _check_finite(path: Path, finite: np.ndarray) -> None:
    bad = np.flatnonzero(~finite)
    if len(bad):
        raise UserError(
            f"{path} has {len(bad)} rows with NaN or infinite values (in float32), the first in row {bad[0]}; "
            f"expected finite numbers: replace them, for instance by the column means"
        )


def _row_warnings(path: Path, zero: np.ndarray, repeats: list[tuple[int, int]]) -> list[str]:
    warnings = []
    if zero.any():
        warnings.append(
            f"{zero.sum()} all-zero rows in {path.name} (first: row {zero.argmax()}); "
            f"such an item has no neighbour but itself in kNN graphs"
        )
    if repeats:
        row, first = repeats[0]
        warnings.append(
            f"{len(repeats)} rows of {path.name} equal an earlier one (first: row {row}, equal to row {first}); "
            f"equal similarities in kNN graphs are ordered by lower id"
        )
    return warnings
