"""The files of a modality: raw features of the items, kNN item graphs, and a mask of the items that have it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.graph import ItemKNN
from utils.data.features import Content, FeatureFile, read_content, read_mask
from utils.data.knn_files import read_knn
from utils.errors import UserError


class ModalityFiles:
    """Content of the items of a data set as it lies in files: raw features (I, F), graphs by their k, or both.

    `features_file` is where raw features are, or would be; `<name>_mask.npy` beside it says which items have any.
    Headers, graphs and the mask are checked at once, the values of features when they are first needed; `warn`
    takes what deserves a warning. Raises UserError.
    """

    def __init__(
        self,
        name: str,
        dataset: str,
        n_items: int,
        features_file: Path,
        graph_files: Mapping[int, Path],
        warn: Callable[[str], None],
    ):
        self.name, self.dataset, self.n_items = name, dataset, n_items
        self.expected = features_file
        self.graph_files = dict(sorted(graph_files.items()))
        self._raw = FeatureFile.open(features_file, n_items) if features_file.is_file() else None
        self._warn = warn
        for k, path in self.graph_files.items():
            read_knn(path, n_items, k)
        self.mask_file = features_file.with_name(f"{name}_mask.npy")
        self.mask = read_mask(self.mask_file, n_items) if self.mask_file.is_file() else None
        self._content: Content | None = None
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

    def read(self, out: Tensor | None = None) -> Tensor:
        """Raw features (I, F) float32, a fresh copy or into `out`; NaN in rows that hold nothing else."""
        raw = self._checked()
        features = torch.empty(raw.shape, dtype=torch.float32) if out is None else out
        for start, rows in raw.blocks():
            features.numpy()[start : start + len(rows)] = rows
        return features

    def content_digest(self) -> str:
        """Hash of the values of the features and of the mask."""
        self._checked()
        mask = b"" if self.mask is None else self.mask.tobytes()
        return self._content.digest + (hashlib.blake2b(mask, digest_size=8).hexdigest() if mask else "")

    def present(self) -> np.ndarray | None:
        """Items (I,) bool that have content: those of the mask whose row is not all NaN. None where all have.

        Raises UserError where none has.
        """
        rows = self._checked() and self._content.present if self._raw else None
        both = [part for part in (self.mask, rows) if part is not None]
        present = np.logical_and.reduce(both) if both else None
        if present is not None and not present.any():
            raise UserError(
                f"no item has the modality '{self.name}' of '{self.dataset}': {self.mask_file.name} and all-NaN rows "
                f"mark every one as missing; in a mask True is present; modality_ablation={self.name} goes without it"
            )
        return None if present is None or present.all() else present

    def graph(self, k: int) -> ItemKNN | None:
        """The smallest graph with k neighbours or more, None where there is none."""
        for size, path in self.graph_files.items():
            if size >= k:
                return read_knn(path, self.n_items, size)
        return None

    def describe(self) -> str:
        """Name, raw features and graph files, in one line."""
        parts = [f"kNN graph {path.name}" for path in self.graph_files.values()]
        if self._raw:
            parts.insert(0, f"raw features {self._raw.path.name} {self._raw.shape} {self._raw.dtype}")
        return f"{self.name}: {', '.join(parts)}"

    def digest(self) -> str:
        """Hash of its name and of the content of all its files."""
        if self._digest is None:
            files = (
                [self._raw.path, *self.graph_files.values()] if self._raw else [*self.graph_files.values()]
            )
            if self.mask is not None:
                files.append(self.mask_file)
            text = " ".join([self.name, *(f"{path.suffix} {_hash_file(path)}" for path in files)])
            self._digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return self._digest

    def _checked(self) -> FeatureFile:
        """The raw features, their values read and checked once."""
        if not self._raw:
            graphs = ", ".join(path.name for path in self.graph_files.values())
            raise UserError(
                f"modality '{self.name}' of '{self.dataset}' has only a kNN graph ({graphs}), "
                f"no raw features; this model needs {self.expected}"
            )
        if self._content is None:
            self._content = read_content(self._raw, self.mask)
            for warning in self._content.warnings:
                self._warn(warning)
        return self._raw


def _hash_file(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
