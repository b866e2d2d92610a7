"""kNN item graphs as .npz files: those that come with a data set, and the cache of computed ones."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock

from common.graph import ItemKNN
from utils.data.features import rows_expected
from utils.errors import UserError
from utils.files import write_npz

LOCK = ".lock"  # of the folder of computed graphs
KEYS = ("neighbours", "cosine")
EXPECTED = "expected an .npz file with neighbours (items, k) int32 and cosine (items, k) float32"


def read_knn(path: Path, n_items: int, k: int) -> ItemKNN:
    """The graph of a file with `k` neighbours for each of `n_items` items. Raises UserError.

    It is taken as it is: an item need not be among its own neighbours, as graphs made elsewhere lose the self
    edge where many items have the same features. Rows that are not by falling cosine are sorted.
    """
    try:
        neighbours, cosine = _read_arrays(path)
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, UserError):
            raise
        problem = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path}: {problem}; {EXPECTED}") from error
    _check_shapes(path, neighbours, cosine, n_items, k)
    _check_values(path, neighbours, cosine, n_items)
    return _sorted(neighbours.astype(np.int32), cosine.astype(np.float32))


def _read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise UserError(f"{path} is no .npz file, or is truncated; {EXPECTED}")
        file.seek(0)
        arrays = np.load(file, allow_pickle=False)
        for key in KEYS:
            if key not in arrays.files:
                raise UserError(
                    f"{path} has no '{key}', it has {', '.join(arrays.files) or 'nothing'}; {EXPECTED}"
                )
        return np.asarray(arrays["neighbours"]), np.asarray(arrays["cosine"])


def _check_shapes(path: Path, neighbours: np.ndarray, cosine: np.ndarray, n_items: int, k: int) -> None:
    if neighbours.dtype.kind not in "iu" or cosine.dtype.kind != "f":
        raise UserError(
            f"{path} has neighbours of {neighbours.dtype} and cosine of {cosine.dtype}; {EXPECTED}"
        )
    if neighbours.ndim != 2 or cosine.shape != neighbours.shape:
        raise UserError(f"{path} has neighbours {neighbours.shape} and cosine {cosine.shape}; {EXPECTED}")
    if len(neighbours) != n_items:
        raise UserError(f"{path} has {len(neighbours)} rows; {rows_expected(n_items)}")
    if neighbours.shape[1] != k:
        raise UserError(
            f"{path} holds {neighbours.shape[1]} neighbours, its name says {k}; rename it, or build it anew"
        )


def _check_values(path: Path, neighbours: np.ndarray, cosine: np.ndarray, n_items: int) -> None:
    for row, column in np.argwhere((neighbours < -1) | (neighbours >= n_items))[:1]:
        raise UserError(
            f"{path}, row {row}: neighbour {neighbours[row, column]} is no item; "
            f"expected ids from 0 to {n_items - 1}, or -1 for none: build the file anew for these items"
        )
    bad = ((neighbours >= 0) & ~np.isfinite(cosine)).any(1)
    if bad.any():
        raise UserError(
            f"{path} has NaN or infinite cosines in {bad.sum()} rows, the first in row {bad.argmax()}; "
            f"expected numbers: build it anew from features that are finite"
        )


def _sorted(neighbours: np.ndarray, cosine: np.ndarray) -> ItemKNN:
    """By falling cosine, equal ones as they stand; places without a neighbour last, with cosine 0."""
    cosine = np.where(neighbours >= 0, cosine, -np.inf).astype(np.float32)
    order = np.argsort(-cosine, axis=1, kind="stable")
    neighbours, cosine = (np.take_along_axis(array, order, 1) for array in (neighbours, cosine))
    return ItemKNN(neighbours, np.where(neighbours >= 0, cosine, np.float32(0)))


def cached_knn(
    path: Path, n_items: int, k: int, compute: Callable[[], ItemKNN], warn: Callable[[str], None]
) -> ItemKNN:
    """The graph in the cache file `path`, or the computed one, which is then kept there.

    Of several processes one computes it and the others wait. A damaged file is replaced, and where nothing can
    be written the result is the same; both with a warning.
    """
    knn = _read_cached(path, n_items, k, warn)
    if knn is not None:
        return knn
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / LOCK):
            knn = _read_cached(
                path, n_items, k, lambda warning: None
            )  # another process may just have made it
            if knn is None:
                knn = compute()
                write_npz(path, neighbours=knn.neighbours, cosine=knn.cosine)
    except OSError as error:
        warn(
            f"kNN graph not kept, as {path.parent} cannot be written ({error.strerror}); "
            f"set cache_path=... to a folder that can be"
        )
    return knn or compute()


def _read_cached(path: Path, n_items: int, k: int, warn: Callable[[str], None]) -> ItemKNN | None:
    """The graph in the file; None where it is not there, or damaged, which is warned of."""
    try:
        return read_knn(path, n_items, k) if path.exists() else None
    except (OSError, UserError) as error:
        warn(f"cached kNN graph is computed anew: {error}")
        return None
