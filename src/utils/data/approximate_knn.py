"""kNN item graphs by FAISS for catalogues whose exact graph takes too long, and how near they come to it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common.graph import ItemKNN, stable_topk
from utils.errors import UserError

PROBED = 32  # of about 4 sqrt(I) lists: recall over .9 on clustered features, see docs/performance.md
TRAINED = 64  # rows per list that the lists are made of
SAMPLED = 500
BLOCK = 50


def approximate_knn(features: Tensor, k: int, among: np.ndarray | None = None) -> ItemKNN:
    """As `common.graph.item_knn`, of lists of near items alone (FAISS, inverted file over normalised rows).

    The item itself is first, rows of zeros have no neighbour but themselves. Raises UserError without FAISS.
    """
    if among is not None:
        items = np.flatnonzero(among)
        return approximate_knn(features[torch.from_numpy(items)], k).spread(items, len(features))
    faiss = _faiss()
    unit = F.normalize(features.float(), dim=1).numpy()
    directed = np.flatnonzero(unit.any(1))
    rows = unit if len(directed) == len(unit) else unit[directed]
    if not len(rows):
        return _alone(len(unit), k)
    n_lists = max(1, min(int(4 * np.sqrt(len(rows))), len(rows) // TRAINED))
    index = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(unit.shape[1]), unit.shape[1], n_lists, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.min_points_per_centroid, index.cp.seed = 1, 1
    faiss.omp_set_num_threads(torch.get_num_threads())
    step = max(1, len(rows) // (TRAINED * n_lists))
    index.train(np.ascontiguousarray(rows[::step]))
    index.add(rows)
    index.nprobe = min(PROBED, n_lists)
    cosine, found = index.search(rows, k + 1)
    graph = _alone(len(unit), k)
    near = _with_itself(found, cosine, k).spread(directed, len(unit))
    graph.neighbours[directed], graph.cosine[directed] = near.neighbours[directed], near.cosine[directed]
    return graph


def _with_itself(found: np.ndarray, cosine: np.ndarray, k: int) -> ItemKNN:
    """The k - 1 first others of each row (n, k + 1), the row itself in front of them."""
    own = np.arange(len(found))[:, None]
    others = np.argsort((found == own) | (found < 0), axis=1, kind="stable")[:, : k - 1]
    found, cosine = np.take_along_axis(found, others, 1), np.take_along_axis(cosine, others, 1)
    found = np.where(found == own, -1, found)
    neighbours = np.concatenate([own, found], axis=1).astype(np.int32)
    values = np.concatenate([np.ones_like(own, dtype=np.float32), cosine], axis=1)
    return ItemKNN(neighbours, np.where(neighbours >= 0, np.clip(values, -1, 1), 0).astype(np.float32))


def _alone(n_items: int, k: int) -> ItemKNN:
    neighbours = np.full((n_items, k), -1, dtype=np.int32)
    neighbours[:, 0] = np.arange(n_items)
    cosine = np.zeros((n_items, k), dtype=np.float32)
    cosine[:, 0] = 1.0
    return ItemKNN(neighbours, cosine)


def recall(knn: ItemKNN, features: Tensor, among: np.ndarray | None = None) -> float:
    """Share of the exact neighbours, the items themselves not counted, that the graph has: of SAMPLED items, seeded."""
    unit = F.normalize(features.float(), dim=1)
    there = unit.any(1).numpy() if among is None else among & unit.any(1).numpy()
    items = np.flatnonzero(there)
    sample = np.sort(np.random.default_rng(0).choice(items, min(SAMPLED, len(items)), replace=False))
    found = wanted = 0
    for start in range(0, len(sample), BLOCK):
        rows = sample[start : start + BLOCK]
        cosine = unit[torch.from_numpy(rows)] @ unit.T
        cosine[:, torch.from_numpy(~there)] = -torch.inf
        cosine[torch.arange(len(rows)), torch.from_numpy(rows)] = -torch.inf
        exact = stable_topk(cosine, min(knn.k - 1, len(items) - 1))[1].numpy()
        found += sum(len(np.intersect1d(*pair)) for pair in zip(exact, knn.neighbours[rows, 1:], strict=True))
        wanted += exact.size
    return found / wanted if wanted else 1.0


def _faiss():
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            "faiss_above needs FAISS, which is not installed; pip install '.[faiss]', or set faiss_above=null for "
            "exact graphs"
        ) from error
    return faiss
