"""A modality of a data set: raw features of the items, kNN item graphs, or both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from common.graph import KNN_VERSION, ItemKNN, item_knn
from utils.data.features import Content, FeatureFile, read_content
from utils.data.knn_files import cached_knn, read_knn
from utils.errors import UserError


class Modality:
    """Content of the items of a data set, as raw features (I, F), as kNN graphs by their k, or as both.

    `features_file` is where raw features are, or would be. Headers and graphs are checked at once, the values
    of features when they are first needed; `warn` takes what deserves a warning. Raises UserError.
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
        self.graph_files = dict(sorted(graph_files.items()))
        self.cache_path = cache_path
        self._raw = FeatureFile.open(features_file, n_items) if features_file.is_file() else None
        self._expected, self._warn = features_file, warn
        for k, path in self.graph_files.items():
            read_knn(path, n_items, k)
        self._content: Content | None = None
        self._computed: dict[int, ItemKNN] = {}
        self._digest: str | None = None

    @property
    def has_features(self) -> bool:
        return self._raw is not None

    @property
    def features_file(self) -> Path | None:
        return self._raw.path if self._raw else None

    @property
    def shape(self) -> tuple[int, int] | None:
        """Of the raw features, None without them."""
        return self._raw.shape if self._raw else None

    def features(self, out: Tensor | None = None) -> Tensor:
        """Raw features (I, F) float32: a fresh copy at every call, or read into `out`, which may be a view."""
        raw = self._checked()
        features = torch.empty(raw.shape, dtype=torch.float32) if out is None else out
        for start, rows in raw.blocks():
            features.numpy()[start : start + len(rows)] = rows
        return features

    def knn(self, k: int) -> ItemKNN:
        """The k nearest items of each: from the smallest graph file with as many, else from the features.

        Fresh copies at every call.
        """
        if k < 1:
            raise UserError(f"knn_k={k} was asked; expected at least 1, which is the item itself")
        knn = self._nearest(k)
        return ItemKNN(knn.neighbours[:, :k].copy(), knn.cosine[:, :k].copy())

    def _nearest(self, k: int) -> ItemKNN:
        """At least the k nearest items of each."""
        for size, path in self.graph_files.items():
            if size >= k:
                return read_knn(path, self.n_items, size)
        if not self._raw:
            size, path = list(self.graph_files.items())[-1]
            raise UserError(
                f"{path} holds {size} neighbours, knn_k={k} was asked; "
                f"provide {self._expected.name} or lower knn_k"
            )
        if k not in self._computed:
            self._checked()
            path = self.cache_path / f"{self.name}-knn{k}-{self._cache_key(k)}.npz"
            self._computed[k] = cached_knn(
                path, self.n_items, k, lambda: item_knn(self.features(), k), self._warn
            )
        return self._computed[k]

    def describe(self) -> str:
        """Name, raw features and graph files, in one line."""
        parts = [f"kNN graph {path.name}" for path in self.graph_files.values()]
        if self._raw:
            parts.insert(0, f"raw features {self._raw.path.name} {self._raw.shape} {self._raw.dtype}")
        return f"{self.name}: {', '.join(parts)}"

    def digest(self) -> str:
        """Hash of its name and of the content of all its files."""
        if self._digest is None:
            files = [self._raw.path, *self.graph_files.values()] if self._raw else self.graph_files.values()
            text = " ".join([self.name, *(f"{path.suffix} {_hash_file(path)}" for path in files)])
            self._digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return self._digest

    def _checked(self) -> FeatureFile:
        """The raw features, their values read and checked once."""
        if not self._raw:
            graphs = ", ".join(path.name for path in self.graph_files.values())
            raise UserError(
                f"modality '{self.name}' of '{self.dataset}' has only a kNN graph ({graphs}), "
                f"no raw features; this model needs {self._expected}"
            )
        if self._content is None:
            self._content = read_content(self._raw)
            for warning in self._content.warnings:
                self._warn(warning)
        return self._raw

    def _cache_key(self, k: int) -> str:
        text = f"{self._content.digest} {k} {KNN_VERSION}"
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _hash_file(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
