"""A modality of a data set: raw features of the items, kNN item graphs, or both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.graph import KNN_VERSION, ItemKNN, item_knn
from utils.data.features import Content, blocks, open_features, read_content
from utils.data.knn_files import cached_knn, read_knn
from utils.errors import UserError


class Modality:
    """Content of the items, as raw features (I, F), as kNN graphs, or as both.

    Shapes and graph files are checked at once, the values of features when they are first needed. `shape` is
    that of the raw features, None without them. `features_file` is where raw features are, or would be; `warn`
    takes what is worth a warning. Raises UserError.
    """

    def __init__(
        self,
        name: str,
        dataset: str,
        n_items: int,
        features_file: Path,
        graph_files: Mapping[int, Path],
        cache_path: Path,
        warn: Callable[[str], None],
    ):
        self.name, self.dataset, self.n_items = name, dataset, n_items
        self.features_file = features_file if features_file.is_file() else None
        self.graph_files = dict(sorted(graph_files.items()))
        self.cache_path, self._warn, self._expected_file = cache_path, warn, features_file
        raw = open_features(features_file, n_items) if self.has_features else None
        self.shape: tuple[int, int] | None = raw.shape if raw is not None else None
        self.dtype: np.dtype | None = raw.dtype if raw is not None else None
        for k, path in self.graph_files.items():
            read_knn(path, n_items, k)
        self._content: Content | None = None
        self._computed: dict[int, ItemKNN] = {}
        self._digest: str | None = None

    @property
    def has_features(self) -> bool:
        return self.features_file is not None

    def features(self) -> Tensor:
        """Raw features (I, F) float32, a fresh copy at every call."""
        raw = self._raw()
        self._check_content()
        features = torch.empty(raw.shape, dtype=torch.float32)
        out = features.numpy()
        for start, block in blocks(raw):
            out[start : start + len(block)] = block
        return features

    def knn(self, k: int) -> ItemKNN:
        """The k nearest items of each: from the smallest graph file with as many, else from the features."""
        if k < 1:
            raise UserError(f"knn_k must be at least 1, got {k}")
        large_enough = [size for size in self.graph_files if size >= k]
        if large_enough:
            knn = read_knn(self.graph_files[large_enough[0]], self.n_items)
            return ItemKNN(knn.neighbours[:, :k].copy(), knn.cosine[:, :k].copy())
        if not self.has_features:
            size, path = list(self.graph_files.items())[-1]
            raise UserError(
                f"{path.name} holds {size} neighbours, knn_k={k} was asked; "
                f"provide {self._expected_file} or lower knn_k"
            )
        if k not in self._computed:
            self._computed[k] = cached_knn(
                self._cache_file(k), self.n_items, k, lambda: item_knn(self.features(), k), self._warn
            )
        return self._computed[k]

    def describe(self) -> str:
        """Name, raw features and graph files, in one line."""
        parts = [f"kNN graph {path.name}" for path in self.graph_files.values()]
        if self.shape:
            parts.insert(0, f"raw features {self.shape} {self.dtype} {self.features_file.name}")
        return f"{self.name}: {'; '.join(parts)}"

    def digest(self) -> str:
        """Hash of the content of all its files."""
        if self._digest is None:
            files = [self.features_file] if self.features_file else []
            parts = [f"{path.name} {_hash_file(path)}" for path in (*files, *self.graph_files.values())]
            self._digest = hashlib.blake2b(" ".join([self.name, *parts]).encode(), digest_size=16).hexdigest()
        return self._digest

    def _raw(self) -> np.memmap:
        if self.features_file is None:
            graphs = ", ".join(path.name for path in self.graph_files.values())
            raise UserError(
                f"modality '{self.name}' of '{self.dataset}' has only a kNN graph ({graphs}), no raw features; "
                f"this model needs {self._expected_file}"
            )
        return open_features(self.features_file, self.n_items)

    def _check_content(self) -> Content:
        if self._content is None:
            self._content = read_content(self.features_file, self._raw())
            for warning in self._content.warnings:
                self._warn(warning)
        return self._content

    def _cache_file(self, k: int) -> Path:
        text = f"{self._check_content().digest} {k} {KNN_VERSION}"
        key = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        return self.cache_path / f"{self.name}-knn{k}-{key}.npz"


def _hash_file(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
