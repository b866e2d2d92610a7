"""kNN item graphs as .npz files: those that come with a data set, and the cache of computed ones."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common.graph import ItemKNN
from utils.errors import UserError
from utils.files import write_npz

KEYS = ("neighbours", "cosine")


def read_knn(path: Path, n_items: int, k: int | None = None) -> ItemKNN:
    """The graph of a file, checked; rows are put in order of falling cosine where they are not.

    `k` is the number of neighbours that the file's name promises. An item need not be among its own
    neighbours: where many items have the same features, ready-made graphs leave it out. Raises UserError.
    """
    neighbours, cosine = _read_arrays(path)
    _check_shapes(path, neighbours, cosine, n_items, k)
    _check_values(path, neighbours, cosine, n_items)
    return _in_order(neighbours.astype(np.int32), cosine.astype(np.float32))


def _read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    advice = "expected an .npz file with neighbours (I, k) and cosine (I, k)"
    try:
        with np.load(path, allow_pickle=False) as file:
            found = getattr(file, "files", None)
            if found is None or not set(KEYS) <= set(found):
                missing = " and ".join(key for key in KEYS if key not in (found or ()))
                raise UserError(
                    f"{path} has no {missing}; found {', '.join(found or ()) or 'nothing'}; {advice}"
                )
            return file["neighbours"], file["cosine"]
    except UserError:
        raise
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise UserError(f"{path} cannot be read ({error}); {advice}") from error


def _check_shapes(
    path: Path, neighbours: np.ndarray, cosine: np.ndarray, n_items: int, k: int | None
) -> None:
    shape = neighbours.shape
    if neighbours.dtype.kind not in "iu" or cosine.dtype.kind not in "fiu":
        raise UserError(
            f"{path} has neighbours of type {neighbours.dtype} and cosine of type {cosine.dtype}; "
            f"expected int32 and float32"
        )
    if len(shape) != 2 or not shape[1] or cosine.shape != shape:
        raise UserError(f"{path} has neighbours {shape} and cosine {cosine.shape}; expected both (items, k)")
    if shape[0] != n_items:
        raise UserError(
            f"{path} has {shape[0]} rows, and the interactions have {n_items} items (the largest item id plus one); "
            f"expected a row for every item, in the order of item ids"
        )
    if k is not None and shape[1] != k:
        raise UserError(
            f"{path} has {shape[1]} neighbours per item, and its name says {k}; rename or rebuild it"
        )


def _check_values(path: Path, neighbours: np.ndarray, cosine: np.ndarray, n_items: int) -> None:
    for wrong in np.argwhere((neighbours < -1) | (neighbours >= n_items))[:1]:
        raise UserError(
            f"{path}, row {wrong[0]}: neighbour {neighbours[tuple(wrong)]} is no item; expected ids 0 to "
            f"{n_items - 1}, or -1 for none: rebuild the file for these items"
        )
    bad = ((neighbours >= 0) & ~np.isfinite(cosine)).any(1)
    if bad.any():
        raise UserError(
            f"{path} has {bad.sum()} rows with NaN or infinite cosines, the first in row {bad.argmax()}; "
            f"rebuild it from features without such values"
        )


def _in_order(neighbours: np.ndarray, cosine: np.ndarray) -> ItemKNN:
    """By falling cosine, ties as they stand, places without a neighbour last and 0."""
    value = np.where(neighbours >= 0, cosine, -np.inf).astype(np.float32)
    order = np.argsort(-value, axis=1, kind="stable")
    neighbours, value = np.take_along_axis(neighbours, order, 1), np.take_along_axis(value, order, 1)
    return ItemKNN(neighbours, np.where(neighbours >= 0, value, np.float32(0)))


def cached_knn(
    path: Path, n_items: int, k: int, compute: Callable[[], ItemKNN], warn: Callable[[str], None]
) -> ItemKNN:
    """The graph in the cache file `path`, or else the computed one, kept there.

    A damaged file is replaced; where nothing can be written, the graph is computed anew each time.
    """
    if path.exists():
        try:
            return read_knn(path, n_items, k)
        except UserError as error:
            warn(f"cached kNN graph computed anew: {error}")
    knn = compute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_npz(path, neighbours=knn.neighbours, cosine=knn.cosine)
    except OSError as error:
        warn(
            f"kNN graph not cached: cannot write to {path.parent} ({error.strerror}); set cache_path=... elsewhere"
        )
    return knn
