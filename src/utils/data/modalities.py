"""A modality as models see it: raw features of the items, kNN item graphs, or both, and which items have it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.graph import KNN_VERSION, ItemKNN, item_knn
from utils.data.approximate_knn import SAMPLED, approximate_knn, recall
from utils.data.knn_files import cached_knn
from utils.data.modality_files import ModalityFiles
from utils.data.study import Study
from utils.errors import UserError

NEIGHBOURS = 10
"""Of an item in the graph of another modality, whose mean stands for what it does not have."""


def as_seen(
    files: Mapping[str, ModalityFiles],
    study: Study,
    cache_path: Path,
    warn: Callable[[str], None],
    dataset: str,
    faiss_above: int | None = None,
) -> dict[str, Modality]:
    """Modalities by name, in the order of the files, without those that the study leaves out. Raises UserError."""
    study.check(files, dataset)
    seen: dict[str, Modality] = {}
    for name, of_modality in files.items():
        if not study.leaves_out(name):
            seen[name] = Modality(of_modality, study, cache_path, warn, seen, faiss_above)
    return seen


class Modality:
    """Content of the items of a data set: its files, changed as a study says, missing content treated.

    `together` are all modalities of the run, by name, which neighbour means look at. Of more than `faiss_above`
    items the graphs are approximate.
    """

    def __init__(
        self,
        files: ModalityFiles,
        study: Study,
        cache_path: Path,
        warn: Callable[[str], None],
        together: Mapping[str, Modality],
        faiss_above: int | None = None,
    ):
        self.files, self.study, self.cache_path = files, study, cache_path
        self.name, self.n_items = files.name, files.n_items
        self._warn, self._together, self._faiss_above = warn, together, faiss_above
        self._order = study.order(self.name, self.n_items)
        self._hidden = study.hidden(self.name, self.n_items)
        self._computed: dict[int, ItemKNN] = {}
        self._said: set[str] = set()

    @property
    def has_features(self) -> bool:
        return self.files.has_features

    @property
    def features_file(self) -> Path | None:
        return self.files.features_file

    @property
    def graph_files(self) -> dict[int, Path]:
        """By their number of neighbours."""
        return self.files.graph_files

    @property
    def shape(self) -> tuple[int, int] | None:
        """Of the raw features, None without them."""
        return self.files.shape

    @property
    def is_changed(self) -> bool:
        """Whether it is something else than its features and graph files say; reads the features, if there are any."""
        return self._order is not None or self.study.noise > 0 or self.present is not None

    @cached_property
    def present(self) -> np.ndarray | None:
        """Items (I,) bool that have content of this modality; None where all have. Raises UserError where none has."""
        present = self._after_study(self.files.present())
        if present is not None and not present.any():
            raise UserError(
                f"missing_rate={self.study.missing_rate} leaves no item with the modality '{self.name}'; "
                f"lower it, or leave the modality out with modality_ablation={self.name}"
            )
        return None if present is None or present.all() else present

    def _after_study(self, present: np.ndarray | None) -> np.ndarray | None:
        """Items that have content, from those of the files."""
        if present is not None and self._order is not None:
            present = present[self._order]
        if self._hidden is None:
            return present
        return ~self._hidden if present is None else present & ~self._hidden

    @property
    def linked(self) -> np.ndarray | None:
        """Items (I,) bool that take part in kNN graphs; None where all do."""
        return self.present if self.study.treatment == "drop" else None

    def features(self, out: Tensor | None = None) -> Tensor:
        """Raw features (I, F) float32: a fresh copy at every call, or read into `out`, which may be a view.

        Rows of items without content are zero, or what `missing_treatment` puts there.
        """
        features = self.files.read(out)
        if self._order is not None:
            features.copy_(features[torch.from_numpy(self._order)])
        present = self.present
        if self.study.noise > 0:
            known = features if present is None else features[torch.from_numpy(present)]
            self.study.add_noise(self.name, features, known.std(0, correction=0))
        if present is not None:
            missing = torch.from_numpy(np.flatnonzero(~present))
            features[missing] = 0.0  # which may have been NaN, and so in sums of anything
            if self.study.treatment in ("mean", "neighbours"):
                features[missing] = features[torch.from_numpy(present)].mean(0)
            if self.study.treatment == "neighbours":
                self._fill_with_neighbours(features, missing.numpy(), present)
        return features

    def knn(self, k: int) -> ItemKNN:
        """The k nearest items of each: from the smallest graph file with as many, else from the features.

        A graph file stands for the content as it lies there. If that is changed, features count, and without any
        the graph is renamed after the items that hold its content now, and loses the items without. Fresh copies at
        every call.
        """
        if k < 1:
            raise UserError(f"knn_k={k} was asked; expected at least 1, which is the item itself")
        knn = self._nearest(k)
        return ItemKNN(knn.neighbours[:, :k].copy(), knn.cosine[:, :k].copy())

    def _nearest(self, k: int) -> ItemKNN:
        """At least k places of neighbours of each."""
        ready = self.files.graph(k)
        if ready is not None and not self.is_changed:
            return ready
        if self.has_features:
            return self._from_features(k)
        if ready is None:
            size, path = list(self.files.graph_files.items())[-1]
            raise UserError(
                f"{path} holds {size} neighbours, knn_k={k} was asked; "
                f"provide {self.files.expected.name} or lower knn_k"
            )
        return self._changed_graph(ready)

    def _from_features(self, k: int) -> ItemKNN:
        if k not in self._computed:
            for other in self._others:
                _ = other.own_graph  # before the cache is locked for this graph, which is computed from those
            path = self.cache_path / f"{self.name}-knn{k}-{self._cache_key(k)}.npz"

            def compute() -> ItemKNN:
                find = approximate_knn if self._approximate else item_knn
                return find(self.features(), k, among=self.linked)

            self._computed[k] = knn = cached_knn(path, self.n_items, k, compute, self._warn)
            if self._approximate:
                share = recall(knn, self.features(), self.linked)
                self._warn(
                    f"{self.name}: the kNN graph is FAISS's, as there are more than faiss_above={self._faiss_above} "
                    f"items; it has {share:.1%} of the exact neighbours of {SAMPLED} sampled items"
                )
        return self._computed[k]

    def _changed_graph(self, knn: ItemKNN) -> ItemKNN:
        if self.study.noise > 0:
            self._cannot("modality_noise", f"{self.study.noise} changes")
        neighbours, cosine = knn.neighbours, knn.cosine
        if self._order is not None:
            holder = np.empty(self.n_items, dtype=np.int32)
            holder[self._order] = np.arange(self.n_items, dtype=np.int32)
            neighbours, cosine = neighbours[self._order], cosine[self._order]
            neighbours = np.where(neighbours >= 0, holder[neighbours], -1)
        if (present := self.present) is None:
            return ItemKNN(neighbours, cosine)
        if self.study.treatment in ("mean", "neighbours"):
            self._cannot("missing_treatment", f"{self.study.treatment} fills in")
        kept = (neighbours >= 0) & present[neighbours] & present[:, None]
        front = np.argsort(~kept, axis=1, kind="stable")
        kept, neighbours, cosine = (
            np.take_along_axis(array, front, axis=1) for array in (kept, neighbours, cosine)
        )
        neighbours, cosine = np.where(kept, neighbours, -1), np.where(kept, cosine, 0)
        if self.study.treatment == "zero":  # a row of zeros is near itself alone
            alone = np.flatnonzero(~present)
            neighbours[alone, 0], cosine[alone, 0] = alone, 1.0
        return ItemKNN(neighbours.astype(np.int32), cosine.astype(np.float32))

    def _cannot(self, setting: str, does: str) -> None:
        raise UserError(
            f"{setting}={does} raw features, and modality '{self.name}' of '{self.files.dataset}' has kNN graphs "
            f"alone; provide {self.files.expected}, or use modality_shuffle, modality_ablation, or missing_rate with "
            f"missing_treatment=drop"
        )

    @property
    def _approximate(self) -> bool:
        return self._faiss_above is not None and self.n_items > self._faiss_above

    @property
    def _others(self) -> list[Modality]:
        """The modalities whose graphs are looked at for what this one misses."""
        if self.study.treatment != "neighbours" or self.present is None:
            return []
        return [other for other in self._together.values() if other is not self]

    def _fill_with_neighbours(self, features: Tensor, missing: np.ndarray, present: np.ndarray) -> None:
        """Put into each missing row (n,) the mean of its neighbours in the other modalities' graphs, if it has any."""
        found = torch.zeros(len(missing))
        total = torch.zeros(len(missing), features.shape[1])
        for other in self._others:
            near = other.own_graph.neighbours[missing]  # (n, k)
            counts = (near >= 0) & present[near] & (near != missing[:, None])
            weights = torch.from_numpy(counts.astype(np.float32))
            for place in range(near.shape[1]):
                ids = torch.from_numpy(np.maximum(near[:, place], 0).astype(np.int64))
                total += weights[:, place, None] * features[ids]
            found += weights.sum(1)
        with_some = found > 0
        rows = torch.from_numpy(missing)[with_some]
        features[rows] = total[with_some] / found[with_some, None]
        if not with_some.all():
            warning = (
                f"{self.name}: {int((~with_some).sum()):,} of {len(missing):,} items without content have no "
                f"neighbour with content by another modality, and get the mean of all"
            )
            if warning not in self._said:  # features are read more than once
                self._said.add(warning)
                self._warn(warning)

    @cached_property
    def own_graph(self) -> ItemKNN:
        """The graph of the content that is there: nothing is filled in from what was itself filled in."""
        study = replace(self.study, treatment="drop")
        k = NEIGHBOURS if self.has_features else min(NEIGHBOURS, max(self.files.graph_files))
        alone = Modality(self.files, study, self.cache_path, self._warn, {}, self._faiss_above)
        return alone.knn(k)

    def describe(self) -> str:
        """Its files, and what is known to be changed without reading features, in one line."""
        parts = [self.files.describe()]
        if self._order is not None:
            parts.append("shuffled")
        if self.study.noise > 0:
            parts.append(f"noise {self.study.noise:g}")
        present = self._after_study(self.files.mask)
        if present is not None and not present.all():
            parts.append(f"{int((~present).sum()):,} items without it ({self.study.treatment})")
        return ", ".join(parts)

    def _cache_key(self, k: int) -> str:
        parts: list[object] = [self.files.content_digest(), k, KNN_VERSION]
        if self._approximate:
            parts.append("faiss")
        if self.is_changed:
            parts.append(replace(self.study, ablation=""))
            if self._others:
                parts += [other.files.digest() for other in self._others]
        return hashlib.blake2b(" ".join(map(str, parts)).encode(), digest_size=8).hexdigest()
