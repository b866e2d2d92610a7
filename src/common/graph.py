"""Graphs that models stand on: sparse products, normalised adjacency, propagation, kNN item graphs.

This module needs torch, numpy and scipy alone, and no other module of the project: a model file that
imports it runs in an MMRec checkout when this one file is copied beside it.

Notation: U users, I items, d embedding size, N nodes of a graph, E its stored entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor

# Raise it when item_knn would give other neighbours: caches of older versions are then unused.
KNN_VERSION = 2

# As torch says it since 2.0; before, it checked nothing.
UNCHECKED = {"check_invariants": False} if hasattr(torch.sparse, "check_sparse_tensor_invariants") else {}


# ---------------------------------------------------------------------------------------------------------
# sparse products


class SparseMatrix:
    """A CSR matrix (R, C) to multiply dense matrices with: `matrix @ x`, differentiable in x and in values.

    On the CPU a product is one `embedding_bag` over the rows' column ids, and its gradient the same call on
    the transposed CSR: several times faster than torch's own CSR and COO products, and deterministic. On
    CUDA the product is torch's CSR one. Entries of one row may repeat a column; they add up.
    """

    def __init__(self, indptr: Tensor, indices: Tensor, values: Tensor, shape: tuple[int, int]):
        self.indptr, self.indices, self.values, self.shape = indptr, indices, values, shape
        self._rows: Tensor | None = None
        # indptr, indices, order of values
        self._transposed_pattern: tuple[Tensor, Tensor, Tensor] | None = None
        self._transposed_values: Tensor | None = None

    @classmethod
    def from_coo(cls, rows: Tensor, cols: Tensor, values: Tensor, shape: tuple[int, int]) -> SparseMatrix:
        """Entries (E,) in any order; differentiable in `values`."""
        order = torch.sort(rows, stable=True)[1]
        return cls(_indptr(rows, shape[0]), cols[order].to(torch.int32), values[order], shape)

    @classmethod
    def from_scipy(cls, matrix: sp.spmatrix) -> SparseMatrix:
        csr = sp.csr_matrix(matrix).astype(np.float32)
        indptr, indices = (torch.from_numpy(ids.astype(np.int32)) for ids in (csr.indptr, csr.indices))
        return cls(indptr, indices, torch.from_numpy(csr.data), csr.shape)

    def to_scipy(self) -> sp.csr_matrix:
        parts = (self.values.detach(), self.indices, self.indptr)
        return sp.csr_matrix(tuple(part.cpu().numpy() for part in parts), shape=self.shape)

    def to(self, device: torch.device | str) -> SparseMatrix:
        return SparseMatrix(*(t.to(device) for t in (self.indptr, self.indices, self.values)), self.shape)

    @property
    def rows(self) -> Tensor:
        """Row id of every entry, (E,)."""
        if self._rows is None:
            counts = self.indptr[1:] - self.indptr[:-1]
            self._rows = torch.repeat_interleave(torch.arange(self.shape[0], device=counts.device), counts)
        return self._rows

    def with_values(self, values: Tensor) -> SparseMatrix:
        """The same pattern with other values (E,); what is known of the pattern is shared."""
        other = SparseMatrix(self.indptr, self.indices, values, self.shape)
        other._rows, other._transposed_pattern = self.rows, self._transpose()
        return other

    def take(self, rows: Tensor) -> SparseMatrix:
        """Its rows (n,) of these ids, in this order, each as often as it is named: (n, C)."""
        counts = (self.indptr[1:] - self.indptr[:-1])[rows]
        indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0).to(counts.dtype)])
        ids = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), counts)
        entries = torch.arange(len(ids), device=rows.device) + (self.indptr[rows] - indptr[:-1])[ids]
        taken = SparseMatrix(indptr, self.indices[entries], self.values[entries], (len(rows), self.shape[1]))
        taken._rows = ids
        return taken

    def _transpose(self) -> tuple[Tensor, Tensor, Tensor]:
        if self._transposed_pattern is None:
            order = torch.sort(self.indices, stable=True)[1]
            indptr, indices = _indptr(self.indices, self.shape[1]), self.rows[order].to(torch.int32)
            self._transposed_pattern = indptr, indices, order
        return self._transposed_pattern

    def product(self, x: Tensor) -> Tensor:
        """self @ x without gradient."""
        return csr_product(self.indptr, self.indices, self.values.detach(), x.detach())

    def transposed_product(self, x: Tensor) -> Tensor:
        """self^T @ x without gradient."""
        indptr, indices, order = self._transpose()
        if self._transposed_values is None:
            self._transposed_values = self.values.detach()[order]
        return csr_product(indptr, indices, self._transposed_values, x.detach())

    def __matmul__(self, x: Tensor) -> Tensor:
        """(R, C) @ (C, d) -> (R, d)."""
        return _SparseProduct.apply(self.values, x, self)


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, x: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.matrix = matrix
        ctx.save_for_backward(x if ctx.needs_input_grad[0] else None)
        return matrix.product(x)

    @staticmethod
    def backward(ctx, grad: Tensor):
        matrix, grad_values, grad_x = ctx.matrix, None, None
        if ctx.needs_input_grad[0]:
            (x,) = ctx.saved_tensors
            grad_values = (F.embedding(matrix.rows, grad) * F.embedding(matrix.indices, x)).sum(1)
        if ctx.needs_input_grad[1]:
            grad_x = matrix.transposed_product(grad)
        return grad_values, grad_x, None


def csr_product(indptr: Tensor, indices: Tensor, values: Tensor, x: Tensor) -> Tensor:
    """Product of a CSR matrix and x (C, d), without gradient: the one place that knows the device."""
    if x.is_cuda:
        shape = len(indptr) - 1, len(x)
        return torch.sparse_csr_tensor(indptr, indices, values, shape, **UNCHECKED) @ x
    return F.embedding_bag(
        indices, x.contiguous(), indptr, mode="sum", per_sample_weights=values, include_last_offset=True
    )


def _indptr(ids: Tensor, size: int) -> Tensor:
    counts = torch.bincount(ids, minlength=size)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]).to(torch.int32)


class Mixture:
    """Weighted sums of matrices of one shape, over the union of their entries, found once.

    `mixture(weights)` is sum_m weights[m] * matrices[m]; differentiable in the weights.
    """

    def __init__(self, matrices: Sequence[SparseMatrix]):
        first = matrices[0]
        keys = torch.cat([m.rows * m.shape[1] + m.indices for m in matrices])
        union, self._position = torch.unique(keys, return_inverse=True)
        rows, cols = union // first.shape[1], union % first.shape[1]
        self._values = [m.values for m in matrices]
        zeros = torch.zeros(len(union), device=rows.device)
        self._pattern = SparseMatrix.from_coo(rows, cols, zeros, first.shape)

    def __call__(self, weights: Tensor | Sequence[float]) -> SparseMatrix:
        parts = torch.cat([w * v for w, v in zip(weights, self._values)])
        zeros = torch.zeros_like(self._pattern.values)
        return self._pattern.with_values(zeros.index_add(0, self._position, parts))


# ---------------------------------------------------------------------------------------------------------
# the user-item graph


def normalised_adjacency(interactions: sp.spmatrix, self_loops: bool = False) -> SparseMatrix:
    """Adjacency (U+I, U+I) of the bipartite graph of `interactions` (U, I), users first.

    Without self loops A_hat = D^-1/2 A D^-1/2 (LightGCN, eq. 6; symmetric); with them D^-1 (A + I), the row
    mean over a node and its neighbours (LATTICE). Isolated nodes have empty rows, or their loop alone.
    """
    coo = interactions.tocoo()
    n_users, n_items = coo.shape
    users, items = coo.row.astype(np.int64), coo.col.astype(np.int64) + n_users
    ones = np.ones(len(users))
    n = n_users + n_items
    adjacency = sp.csr_matrix((np.r_[ones, ones], (np.r_[users, items], np.r_[items, users])), shape=(n, n))
    if self_loops:
        adjacency = adjacency + sp.identity(n, format="csr")
    degree = np.asarray(adjacency.sum(1)).ravel()
    if self_loops:
        return SparseMatrix.from_scipy(sp.diags(1.0 / degree) @ adjacency)
    scale = sp.diags(np.divide(1.0, np.sqrt(degree), out=np.zeros(n), where=degree > 0))
    return SparseMatrix.from_scipy(scale @ adjacency @ scale)


class EdgeDropout:
    """Degree-sensitive edge dropout of the user-item graph (FREEDOM, section 3.3).

    `sample()` draws int(E * (1 - rate)) edges without replacement, an edge (u, i) with probability in
    proportion to 1 / sqrt(d_u d_i), and normalises by the degrees of the edges kept; rate 0 keeps the graph.
    """

    def __init__(self, interactions: sp.spmatrix, rate: float, generator: torch.Generator | None = None):
        coo = interactions.tocoo()
        self.full = normalised_adjacency(interactions)
        self._users, self._items, self._shape = coo.row, coo.col, coo.shape
        degree_u = np.bincount(coo.row, minlength=coo.shape[0])
        degree_i = np.bincount(coo.col, minlength=coo.shape[1])
        self.weights = torch.from_numpy(1.0 / np.sqrt(degree_u[coo.row] * degree_i[coo.col])).float()
        if generator is not None:
            self.weights = self.weights.to(generator.device)
        self.rate, self._generator = rate, generator
        self.n_kept = int(len(coo.row) * (1.0 - rate))  # in floating point, as FREEDOM: 19 of 100 at .8

    def sample(self) -> SparseMatrix:
        if self.rate <= 0:
            return self.full
        # The smallest of Exp(1) / weight: a draw without replacement, with no limit on the number of edges.
        arrival = torch.empty_like(self.weights).exponential_(generator=self._generator) / self.weights
        kept = torch.topk(arrival, self.n_kept, largest=False, sorted=False).indices.cpu().numpy()
        ones = np.ones(len(kept), dtype=np.float32)
        edges = self._users[kept], self._items[kept]
        return normalised_adjacency(sp.coo_matrix((ones, edges), self._shape))


def propagate(graph: SparseMatrix, x: Tensor, n_layers: int) -> Tensor:
    """LightGCN propagation: mean of graph^l x for l = 0..n_layers; x and result (N, d); the graph is constant."""
    if graph.values.requires_grad:
        raise ValueError("propagate takes a constant graph; use `graph @ x` layer by layer for a learned one")
    return _Propagation.apply(x, graph, n_layers)


class _Propagation(torch.autograd.Function):
    """All layers at once: sums are taken in place, and the gradient is the same propagation over the transpose."""

    @staticmethod
    def forward(ctx, x: Tensor, graph: SparseMatrix, n_layers: int) -> Tensor:
        ctx.graph, ctx.n_layers = graph, n_layers
        return _layer_mean(graph.product, x, n_layers)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return _layer_mean(ctx.graph.transposed_product, grad, ctx.n_layers), None, None


def _layer_mean(product: Callable[[Tensor], Tensor], x: Tensor, n_layers: int) -> Tensor:
    total = x.clone()
    for _ in range(n_layers):
        x = product(x)
        total += x
    return total.div_(n_layers + 1)


def hops(graph: SparseMatrix, x: Tensor, n_layers: int) -> Tensor:
    """graph^n_layers x: the last layer alone; x and result (N, d)."""
    for _ in range(n_layers):
        x = graph @ x
    return x


# ---------------------------------------------------------------------------------------------------------
# kNN item graphs


@dataclass(frozen=True)
class ItemKNN:
    """The k nearest items of every item by cosine, of raw features with the item itself as the first.

    neighbours (I, k) int32, -1 where an item has fewer; cosine (I, k) float32, 0 there; by falling cosine.
    """

    neighbours: np.ndarray
    cosine: np.ndarray

    @property
    def k(self) -> int:
        return self.neighbours.shape[1]

    def edges(self) -> tuple[Tensor, Tensor, Tensor]:
        """rows, columns and cosines of the directed edges, each (E,), by rising row."""
        real = self.neighbours >= 0
        rows, cols = np.nonzero(real)[0], self.neighbours[real].astype(np.int64)
        return torch.from_numpy(rows), torch.from_numpy(cols), torch.from_numpy(self.cosine[real])

    def spread(self, items: np.ndarray, n_items: int) -> ItemKNN:
        """This graph of n items as one of `n_items`, of which they are `items` (n,); the others have no neighbours."""
        neighbours = np.full((n_items, self.k), -1, dtype=np.int32)
        neighbours[items] = np.where(self.neighbours >= 0, items[self.neighbours], -1)
        cosine = np.zeros((n_items, self.k), dtype=np.float32)
        cosine[items] = self.cosine
        return ItemKNN(neighbours, cosine)


def knn_graph(knn: ItemKNN, weighting: str = "binary") -> SparseMatrix:
    """Normalised item graph (I, I), S_ij = x_ij / sqrt(r_i r_j) with r the row sums of the directed graph.

    x_ij is 1 (`binary`: with k neighbours each, every entry is 1/k; FREEDOM) or the cosine (`cosine`; LATTICE).
    """
    rows, cols, cosine = knn.edges()
    x = {"binary": torch.ones_like(cosine), "cosine": cosine}[weighting]
    n = len(knn.neighbours)
    return SparseMatrix.from_coo(rows, cols, symmetric_normalise(rows, cols, x, n), (n, n))


def symmetric_normalise(rows: Tensor, cols: Tensor, values: Tensor, n: int) -> Tensor:
    """x_ij / sqrt(r_i r_j) for entries (E,) of an (n, n) matrix, r its row sums; 0 where a sum is not positive."""
    sums = torch.zeros(n, dtype=values.dtype, device=values.device).index_add(0, rows, values)
    positive = sums > 0
    scale = torch.where(positive, sums, torch.ones_like(sums)).rsqrt() * positive
    return values * scale[rows] * scale[cols]


def modality_knn(model: torch.nn.Module, k: int) -> dict[str, ItemKNN]:
    """kNN of every modality that a model was given, by name.

    Here they come from the data set, cached or ready-made; MMRec's base class has v_feat and t_feat instead.
    """
    modalities = getattr(model, "modalities", None)
    if modalities is not None:
        return {name: modality.knn(k) for name, modality in modalities.items()}
    features = {"image": model.v_feat, "text": model.t_feat}
    return {name: item_knn(x.detach().cpu(), k) for name, x in features.items() if x is not None}


def item_knn(features: Tensor, k: int, block: int | None = None, among: np.ndarray | None = None) -> ItemKNN:
    """Exact kNN by cosine of the rows of `features` (I, F), in row blocks: never an I x I matrix.

    The item itself is always first. Ties break by lower id, exactly so for identical rows. An all-zero row
    has no direction: it has no neighbour but itself and is no other item's neighbour. Items that are not
    `among` (I,) bool have no neighbour at all.
    """
    if among is not None:
        items = np.flatnonzero(among)
        return item_knn(features[torch.from_numpy(items)], k, block).spread(items, len(features))
    x = features.float()
    group, first = _distinct_rows(x)
    distinct = x if len(first) == len(x) else x[first]
    norm = distinct.norm(dim=1)
    members = _lowest_members(group, len(first), k)
    by_group = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=len(first)))
    neighbours = np.full((len(x), k), -1, dtype=np.int32)
    cosine = np.zeros((len(x), k), dtype=np.float32)
    block = block or max(1, 2**24 // max(len(first), 1))  # a block of similarities takes 64 MB
    for start in range(0, len(first), block):
        stop = min(start + block, len(first))
        top, groups = _nearest_groups(distinct, norm, start, stop, k)
        items = by_group[ends[start - 1] if start else 0 : ends[stop - 1]]
        row = group[items] - start
        neighbours[items], cosine[items] = _expand(items, top[row], members[groups[row]], k)
    return ItemKNN(neighbours, cosine)


def _distinct_rows(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Group id of every row (I,) and first row of every group (G,), groups by rising first row.

    Rows are compared by a random 64-bit fingerprint of their bits. A product alone would not do: where the values of
    a column differ in high bits only, as 1 and -1 do, its low bits say nothing.
    """
    drawn = np.random.default_rng(0).integers(2**63, size=x.shape[1], dtype=np.uint64)
    odd = drawn * np.uint64(2) + np.uint64(1)
    prints = np.empty(len(x), dtype=np.uint64)
    for start in range(0, len(x), 1024):
        bits = (x[start : start + 1024] + 0.0).numpy().view(np.uint32)  # + 0.0: -0 and 0 are one number
        mixed = bits * odd
        mixed ^= mixed >> np.uint64(32)
        mixed *= odd
        prints[start : start + 1024] = mixed.sum(1, dtype=np.uint64)
    _, first, group = np.unique(prints, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[group], first[order]


def _lowest_members(group: np.ndarray, n_groups: int, k: int) -> np.ndarray:
    """The up to k lowest item ids of every group, (G, at most k), -1 where there are fewer."""
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group, minlength=n_groups)
    place = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    members = np.full((n_groups, min(k, sizes.max(initial=1))), -1, dtype=np.int64)
    kept = place < k
    members[group[order][kept], place[kept]] = order[kept]
    return members


def _nearest_groups(x: Tensor, norm: Tensor, start: int, stop: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and ids of the groups nearest to groups start..stop, both (stop - start, min(k, G))."""
    inverse = torch.where(norm > 0, 1 / norm, torch.zeros_like(norm))
    similarity = (x[start:stop] @ x.T).mul_(inverse[start:stop, None]).mul_(inverse).clamp_(-1.0, 1.0)
    similarity[:, norm == 0] = -torch.inf
    own = torch.arange(start, stop)
    similarity[own - start, own] = torch.where(norm[own] > 0, 1.0, -torch.inf)
    similarity[norm[own] == 0] = -torch.inf
    values, ids = stable_topk(similarity, min(k, len(x)))
    return values.numpy(), ids.numpy()


def _expand(
    items: np.ndarray, cosine: np.ndarray, members: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours and cosines of items (n,) from those of their groups (n, K) and the groups' members (n, K, m)."""
    candidates = members.reshape(len(items), -1)
    value = np.repeat(cosine, members.shape[2], axis=1)
    value = np.where((candidates < 0) | (candidates == items[:, None]), -np.inf, value)
    candidates = np.concatenate([items[:, None], candidates], axis=1)
    value = np.concatenate([np.full((len(items), 1), np.inf), value], axis=1)
    order = np.lexsort((candidates, -value), axis=-1)[:, :k]
    value, candidates = np.take_along_axis(value, order, 1), np.take_along_axis(candidates, order, 1)
    value[:, 0] = 1.0
    absent = np.isneginf(value)
    shape = ((0, 0), (0, k - value.shape[1]))
    return (
        np.pad(np.where(absent, -1, candidates), shape, constant_values=-1),
        np.pad(np.where(absent, 0.0, value), shape),
    )


def stable_topk(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row of (n, m) and their columns, by falling value, ties by lower column.

    torch.topk leaves the order of ties open; only the rows that have one are sorted in full.
    """
    m = values.shape[1]
    top, ids = torch.topk(values, min(k + 1, m), dim=1)
    tied = (top[:, 1:] == top[:, :-1]).any(1).nonzero().squeeze(1)
    top, ids = top[:, :k].clone(), ids[:, :k].clone()
    if len(tied):
        ordered, columns = torch.sort(values[tied], dim=1, descending=True, stable=True)
        top[tied], ids[tied] = ordered[:, :k], columns[:, :k]
    return top, ids


def co_occurrence_knn(interactions: sp.spmatrix, k: int, block: int = 4096) -> ItemKNN:
    """The up to k items that share most users with every item of `interactions` (U, I), by cosine, the item left out.

    The cosine of items i and j is n_ij / sqrt(n_i n_j), with n the numbers of their users. Ties break by lower id;
    items that share no user are no neighbours. Found in blocks of rows.
    """
    taken = sp.csr_matrix(interactions, dtype=np.float64, copy=True)
    taken.data[:] = 1.0
    n_users_of = np.asarray(taken.sum(0)).ravel()
    n_items = taken.shape[1]
    neighbours = np.full((n_items, k), -1, dtype=np.int32)
    cosine = np.zeros((n_items, k), dtype=np.float32)
    by_item = taken.T.tocsr()
    for start in range(0, n_items, block):
        shared = (by_item[start : start + block] @ taken).tocoo()
        row, col = shared.row.astype(np.int64) + start, shared.col
        value = np.sqrt(shared.data**2 / (n_users_of[row] * n_users_of[col]))  # equal fractions, equal floats
        others = row != col
        row, col, value = row[others], col[others], value[others]
        order = np.lexsort((col, -value, row))
        row, col, value = row[order], col[order], value[order]
        place = np.arange(len(row)) - np.searchsorted(row, row)  # in its row, by falling cosine
        near = place < k
        neighbours[row[near], place[near]] = col[near]
        cosine[row[near], place[near]] = value[near]
    return ItemKNN(neighbours, cosine)


def agreement(knn: ItemKNN, interactions: sp.spmatrix, block: int = 2**16) -> float:
    """How well a graph knows what is taken together: the mean over its edges of the cosine of co-occurrence.

    That of items i and j is n_ij / sqrt(n_i n_j), as in `co_occurrence_knn` of `interactions` (U, I), 0 where either
    has no user. What an item has with itself does not count; a graph without edges has 0. In blocks of edges.
    """
    taken = sp.csr_matrix(interactions.T, dtype=np.float64, copy=True)
    taken.data[:] = 1.0
    n_users_of = np.asarray(taken.sum(1)).ravel()
    rows, cols, _ = (part.numpy() for part in knn.edges())
    others = rows != cols
    rows, cols = rows[others], cols[others]
    total = 0.0
    for start in range(0, len(rows), block):
        i, j = rows[start : start + block], cols[start : start + block]
        shared = np.asarray(taken[i].multiply(taken[j]).sum(1)).ravel()
        total += (shared / np.sqrt(np.maximum(n_users_of[i] * n_users_of[j], 1.0))).sum()
    return float(total / max(len(rows), 1))


# ---------------------------------------------------------------------------------------------------------
# contrast between representations of the same nodes


def info_nce(anchors: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """InfoNCE: mean over rows n of -log exp(cos(a_n, p_n)/t) / sum_m exp(cos(a_n, p_m)/t).

    anchors, positives (n, d): row n of both is one node in two views, the other rows are the negatives.
    It stands here and not with the losses so that this file alone carries a contrastive model to MMRec.
    """
    return _InfoNCE.apply(
        F.normalize(anchors, dim=1) / temperature, F.normalize(positives, dim=1), temperature
    )


class _InfoNCE(torch.autograd.Function):
    """Of rows a (n, d) of length 1 / t and p (n, d) of length 1: one (n, n) matrix for both directions, in place."""

    @staticmethod
    def forward(ctx, a: Tensor, p: Tensor, temperature: float) -> Tensor:
        weights = a @ p.T
        # No product is above 1 / t, which spares a search for the largest; below .025 powers could all be 0.
        shift = 1 / temperature if temperature >= 0.025 else weights.amax(1, keepdim=True)
        weights.sub_(shift).exp_()
        total = weights.sum(1, keepdim=True)
        ctx.save_for_backward(a, p, weights, total)
        return (total.log() + shift - (a * p).sum(1, keepdim=True)).mean()

    @staticmethod
    def backward(ctx, grad: Tensor):
        a, p, weights, total = ctx.saved_tensors
        one = grad / len(a)
        grad_a = (weights @ p).mul_(one / total).sub_(p * one)
        grad_p = (weights.T @ (a * (one / total))).sub_(a * one)
        return grad_a, grad_p, None
