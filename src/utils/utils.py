"""Helpers that model files import from `utils.utils`, under MMRec's names.

They are here for those files. Our own models use `common.graph`, whose graphs are never dense.

Notation: I items, k neighbours, E entries of a graph.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import torch
from torch import Tensor

from common.registry import get_model
from common.trainer import Trainer
from utils.experiments.building import seed_everything as init_seed

__all__ = [
    "build_knn_neighbourhood", "build_knn_normalized_graph", "build_sim", "compute_normalized_laplacian",
    "dict2str", "early_stopping", "get_dense_laplacian", "get_local_time", "get_model", "get_sparse_laplacian",
    "get_trainer", "init_seed",
]  # fmt: skip


def build_sim(context: Tensor) -> Tensor:
    """Cosine (I, I) of all pairs of rows (I, F), a row with itself too.

    A row of zeros is near nothing, 0; in MMRec it is NaN and ends the training.
    """
    norms = torch.linalg.vector_norm(context, dim=-1, keepdim=True)
    unit = context / norms.masked_fill(norms == 0, 1)
    return unit @ unit.T


def build_knn_neighbourhood(adj: Tensor, topk: int) -> Tensor:
    """The k largest entries of each row of adj (I, I), the others zero; differentiable, not made symmetric."""
    values, places = torch.topk(adj, topk, dim=-1)
    return torch.zeros_like(adj).scatter(-1, places, values)


def compute_normalized_laplacian(adj: Tensor) -> Tensor:
    """D^-1/2 A D^-1/2 of a dense A (N, N), D its row sums; rows that sum to 0 stay 0."""
    scale = _inverse(adj.sum(-1), 0.5)
    return scale[:, None] * adj * scale


def get_dense_laplacian(adj: Tensor, normalization: str = "none") -> Tensor:
    """A dense A (N, N) as it is ('none'), D^-1/2 A D^-1/2 ('sym') or D^-1 A ('rw')."""
    if _checked(normalization) == "sym":
        return compute_normalized_laplacian(adj)
    return _inverse(adj.sum(-1), 1)[:, None] * adj if normalization == "rw" else adj


def get_sparse_laplacian(
    edge_index: Tensor, edge_weight: Tensor, num_nodes: int, normalization: str = "none"
) -> tuple[Tensor, Tensor]:
    """The same of a graph given by edge_index (2, E) and edge_weight (E,): the edges, and their new weights."""
    rows, columns = edge_index
    sums = torch.zeros(num_nodes, dtype=edge_weight.dtype, device=edge_weight.device)
    sums = sums.index_add(0, rows, edge_weight)
    if _checked(normalization) == "sym":
        scale = _inverse(sums, 0.5)
        return edge_index, scale[rows] * edge_weight * scale[columns]
    return edge_index, _inverse(sums, 1)[rows] * edge_weight if normalization == "rw" else edge_weight


def build_knn_normalized_graph(adj: Tensor, topk: int, is_sparse: bool, norm_type: str) -> Tensor:
    """The k largest entries of each row of a dense adj (I, I), normalised: dense, or a COO tensor not coalesced."""
    if not is_sparse:
        return get_dense_laplacian(build_knn_neighbourhood(adj, topk), norm_type)
    values, places = torch.topk(adj, topk, dim=-1)
    rows = torch.arange(len(adj), device=adj.device).repeat_interleave(topk)
    edges, weights = get_sparse_laplacian(
        torch.stack([rows, places.flatten()]), values.flatten(), len(adj), norm_type
    )
    return torch.sparse_coo_tensor(edges, weights, adj.shape, check_invariants=False)


def early_stopping(
    value: float, best: float, cur_step: int, max_step: int, bigger: bool = True
) -> tuple[float, int, bool, bool]:
    """The best value now, evaluations since it, whether to stop, and whether `value` is it.

    Only a strictly better value counts; more than `max_step` evaluations without one are the end.
    """
    if value > best if bigger else value < best:
        return value, 0, False, True
    return best, cur_step + 1, cur_step + 1 > max_step, False


def dict2str(result_dict: Mapping[str, float]) -> str:
    """Metrics in one line, with four decimals and as many spaces behind each."""
    return "".join(f"{name}: {value:.4f}    " for name, value in result_dict.items())


def get_local_time() -> str:
    """Now, as a part of file names."""
    return datetime.datetime.now().strftime("%b-%d-%Y-%H-%M-%S")


def get_trainer() -> type[Trainer]:
    """One for all models."""
    return Trainer


def _inverse(sums: Tensor, power: float) -> Tensor:
    """sums^-power, 0 where that is infinite."""
    inverse = sums.pow(-power)
    return inverse.masked_fill(torch.isinf(inverse), 0)


def _checked(normalization: str) -> str:
    if normalization not in ("none", "sym", "rw"):
        raise ValueError(f"normalization is one of none, sym and rw, not '{normalization}'")
    return normalization
