"""A modality of a data set: raw features, a ready kNN graph, or both."""

from __future__ import annotations

import hashlib
import logging
import re
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.graph import KNN_VERSION, ItemKNN, item_knn
from utils.errors import UserError
from utils.files import write_npz

log = logging.getLogger("benchmark")
BLOCK = 4096  # rows of a feature file that are looked at in one go


class Modality:
    """One modality of the items; what is read of its files is read when asked for, and checked then.

    `shape` (I, F) and `dtype` describe the raw features, None without them. Raises UserError.
    """

    def __init__(
        self, name: str, n_items: int, features_file: Path | None, graph_files: dict[int, Path], cache: Path
    ):
        self.name, self.n_items, self.features_file, self.graph_files = name, n_items, features_file, graph_files
        self.warnings: list[str] = []
        self._cache, self._checked = cache, False
        self._knn: dict[int, ItemKNN] = {}
        self._digest: str | None = None
        raw = None if features_file is None else self._open(features_file)
        self.shape = None if raw is None else raw.shape
        self.dtype = None if raw is None else raw.dtype

    @property
    def has_features(self) -> bool:
        return self.features_file is not None

    def features(self) -> Tensor:
        """Raw features (I, F) as float32, a copy of one's own."""
        if self.features_file is None:
            graph = next(iter(self.graph_files.values()))
            raise UserError(
                f"modality '{self.name}' has only a kNN graph ({graph.name}), no raw features; this model needs "
                f"{graph.with_name(self.name + '_feat.npy')}"
            )
        raw = self._open(self.features_file)
        self._check_content(raw)
        return torch.from_numpy(np.array(raw, dtype=np.float32))

    def knn(self, k: int) -> ItemKNN:
        """The k nearest items of every item: from the smallest ready graph that has them, else from the features."""
        if k not in self._knn:
            wide_enough = [size for size in sorted(self.graph_files) if size >= k]
            if wide_enough:
                self._knn[k] = read_graph(self.graph_files[wide_enough[0]], self.n_items, k)
            else:
                self._knn[k] = self._computed(k)
        return self._knn[k]

    def digest(self) -> str:
        """16 hex digits of the content of all files of the modality."""
        if self._digest is None:
            content = hashlib.blake2b(self.name.encode(), digest_size=8)
            for path in filter(None, [self.features_file, *(self.graph_files[k] for k in sorted(self.graph_files))]):
                with open(path, "rb") as file:
                    while block := file.read(2**22):
                        content.update(block)
            self._digest = content.hexdigest()
        return self._digest

    def describe(self) -> str:
        """One line: raw features and graphs."""
        parts = []
        if self.features_file is not None:
            parts.append(f"{self.shape[0]:,} x {self.shape[1]:,} {self.dtype} ({self.features_file.name})")
        parts += [f"kNN graph k={k} ({path.name})" for k, path in sorted(self.graph_files.items())]
        return ", ".join(parts) + ("" if self.features_file else "; no raw features")

    def _open(self, path: Path) -> np.ndarray:
        """The memory-mapped array of a feature file, of the right shape and kind."""
        try:
            raw = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise UserError(f"{path} cannot be read as a plain .npy array of numbers: {error}") from error
        if not isinstance(raw, np.ndarray) or raw.ndim != 2 or raw.shape[1] == 0:
            found = f"shape {raw.shape}" if isinstance(raw, np.ndarray) else "an archive of several arrays"
            raise UserError(f"{path} has {found}, expected two dimensions: a row per item, a column per feature")
        if raw.dtype.kind not in "fiu":
            raise UserError(f"{path} has elements of type {raw.dtype}, expected numbers")
        if len(raw) != self.n_items:
            raise UserError(
                f"{path} has {len(raw):,} rows, but the interactions have {self.n_items:,} items (highest id + 1); "
                f"rows must be in the order of item ids, one for each"
            )
        return raw

    def _check_content(self, raw: np.ndarray) -> None:
        """NaN and infinity are errors; zero and repeated rows are told of, once."""
        if self._checked:
            return
        prints, n_zero = [], 0
        for start in range(0, len(raw), BLOCK):
            block = np.asarray(raw[start : start + BLOCK], dtype=np.float32)
            bad = ~np.isfinite(block).all(axis=1)
            if bad.any():
                row = int(bad.argmax())
                value = block[row][~np.isfinite(block[row])][0]
                raise UserError(
                    f"{self.features_file}: row {start + row} (item id) holds {value}, expected finite numbers; "
                    f"give items without a {self.name} zeros or the mean row"
                )
            n_zero += int((~block.any(axis=1)).sum())
            prints += [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in block]
        n_repeated = len(prints) - len(set(prints)) - max(n_zero - 1, 0)
        if n_zero:
            self._warn(f"{n_zero} all-zero rows: such an item has no neighbour but itself in the kNN graph")
        if n_repeated:
            self._warn(f"{n_repeated} rows repeat an earlier one: ties in the kNN graph break by lower id")
        self._checked = True

    def _warn(self, text: str) -> None:
        self.warnings.append(f"{self.features_file.name}: {text}")
        log.warning(f"warning: {self.warnings[-1]}")

    def _computed(self, k: int) -> ItemKNN:
        """kNN of the raw features, kept under a hash of them, of k and of the version of the code."""
        if self.features_file is None:
            widest = self.graph_files[max(self.graph_files)]
            raise UserError(
                f"{widest.name} holds {max(self.graph_files)} neighbours per item, knn_k={k} was asked; provide "
                f"{widest.with_name(self.name + '_feat.npy')} or lower knn_k"
            )
        features = self.features()
        content = hashlib.blake2b(f"{KNN_VERSION} {k} {tuple(features.shape)}".encode(), digest_size=8)
        content.update(memoryview(features.numpy()).cast("B"))
        path = self._cache / f"{self.name}-knn{k}-{content.hexdigest()}.npz"
        if path.exists():
            try:
                return read_graph(path, self.n_items, k)
            except UserError as error:
                log.warning(f"warning: the cached graph is made anew: {error}")
        knn = item_knn(features, k)
        try:
            write_npz(path, neighbours=knn.neighbours, cosine=knn.cosine)
        except OSError as error:
            log.warning(f"warning: the kNN graph of {self.name} cannot be kept in {self._cache}: {error.strerror}")
        return knn


def graph_files(folder: Path, name: str) -> dict[int, Path]:
    """The files `<name>_knn<k>.npz` of a folder, by k."""
    pattern = re.compile(re.escape(name) + r"_knn(\d+)\.npz")
    found = ((pattern.fullmatch(path.name), path) for path in folder.glob("*.npz"))
    return {int(match[1]): path for match, path in found if match}


def read_graph(path: Path, n_items: int, k: int) -> ItemKNN:
    """The first k neighbours of a graph file, taken as they are. Raises UserError."""
    neighbours, cosine = _arrays(path)
    if neighbours.shape != cosine.shape or neighbours.ndim != 2 or neighbours.dtype.kind not in "iu":
        raise UserError(
            f"{path}: neighbours has shape {neighbours.shape} and type {neighbours.dtype}, cosine {cosine.shape}; "
            f"expected whole numbers and numbers of one shape, items x neighbours"
        )
    if len(neighbours) != n_items:
        raise UserError(f"{path} has {len(neighbours):,} rows, but the interactions have {n_items:,} items; "
                        f"rows must be in the order of item ids, one for each")  # fmt: skip
    if neighbours.shape[1] < k:
        raise UserError(f"{path} has {neighbours.shape[1]} columns, fewer than the {k} of its name or of knn_k")
    bad = (neighbours < -1) | (neighbours >= n_items)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise UserError(
            f"{path}: row {row} names item {neighbours[row, column]}, expected ids from 0 to {n_items - 1} "
            f"(-1 where there is no neighbour)"
        )
    if not np.isfinite(cosine).all():
        raise UserError(f"{path}: row {np.argwhere(~np.isfinite(cosine))[0][0]} has a cosine that is no number")
    cosine = np.where(neighbours < 0, -np.inf, cosine)
    if (cosine[:, 1:] > cosine[:, :-1]).any():
        order = np.argsort(-cosine, axis=1, kind="stable")
        neighbours, cosine = (np.take_along_axis(a, order, axis=1) for a in (neighbours, cosine))
    neighbours, cosine = neighbours[:, :k], cosine[:, :k]
    return ItemKNN(
        np.ascontiguousarray(neighbours, dtype=np.int32),
        np.where(neighbours < 0, 0.0, cosine).astype(np.float32),
    )


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive["neighbours"], archive["cosine"]
    except KeyError as error:
        raise UserError(f"{path} lacks the array {error.args[0].split(' ')[0]}; expected neighbours and cosine") from error
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise UserError(f"{path} cannot be read as an .npz archive of plain arrays: {error}") from error
