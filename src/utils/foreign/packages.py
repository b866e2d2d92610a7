"""Stand-ins for packages that others' model files import and that are hard to install today.

Each does what the files of this field use of it, with torch and scipy alone. An installed package is preferred.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import svds
from torch import Tensor

REDUCTIONS = {"sum": "sum", "add": "sum", "mean": "mean", "mul": "prod", "min": "amin", "max": "amax"}
"""Of torch_scatter, and what torch calls them."""


def scatter(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    reduce: str = "sum",
) -> Tensor:
    """The entries of `src` along `dim` that share an index, reduced; places without any are 0.

    `out` is added to and given back, of a sum. Raises ValueError for another reduction.
    """
    if reduce not in REDUCTIONS:
        raise ValueError(f"scatter knows the reductions {', '.join(REDUCTIONS)}, not '{reduce}'")
    index = _like(index, src, dim)
    if out is None:
        shape = list(src.shape)
        shape[dim] = _size(index, dim_size)
        out = src.new_full(shape, 1 if reduce == "mul" else 0)
    elif REDUCTIONS[reduce] != "sum":
        raise ValueError(f"scatter into `out` is there for sums, not for '{reduce}'")
    if REDUCTIONS[reduce] == "sum":
        return out.scatter_add(dim, index, src)
    return out.scatter_reduce(dim, index, src, REDUCTIONS[reduce], include_self=reduce == "mul")


def scatter_sum(src: Tensor, index: Tensor, dim: int = -1, out=None, dim_size: int | None = None) -> Tensor:
    return scatter(src, index, dim, out, dim_size, "sum")


def scatter_mul(src: Tensor, index: Tensor, dim: int = -1, out=None, dim_size: int | None = None) -> Tensor:
    return scatter(src, index, dim, out, dim_size, "mul")


def scatter_mean(src: Tensor, index: Tensor, dim: int = -1, out=None, dim_size: int | None = None) -> Tensor:
    return scatter(src, index, dim, out, dim_size, "mean")


def scatter_max(
    src: Tensor, index: Tensor, dim: int = -1, out=None, dim_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """The largest entry of each index, and its place along `dim`; the length of `dim` where there is none."""
    values = scatter(src, index, dim, out, dim_size, "max")
    return values, _places(src, _like(index, src, dim), values, dim)


def scatter_min(
    src: Tensor, index: Tensor, dim: int = -1, out=None, dim_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """The smallest entry of each index, and its place as in `scatter_max`."""
    values = scatter(src, index, dim, out, dim_size, "min")
    return values, _places(src, _like(index, src, dim), values, dim)


def scatter_softmax(src: Tensor, index: Tensor, dim: int = -1, dim_size: int | None = None) -> Tensor:
    """Softmax over the entries that share an index; the shape of `src`."""
    index = _like(index, src, dim)
    highest = scatter(src.detach(), index, dim, None, dim_size, "max").gather(dim, index)
    powers = (src - highest).exp()
    return powers / scatter(powers, index, dim, None, dim_size, "sum").gather(dim, index)


def _like(index: Tensor, src: Tensor, dim: int) -> Tensor:
    """The index in the shape of `src`: one along `dim` holds for all other dimensions."""
    if index.dim() == 1 and src.dim() > 1:
        shape = [1] * src.dim()
        shape[dim] = -1
        index = index.reshape(shape)
    return index.expand_as(src)


def _size(index: Tensor, dim_size: int | None) -> int:
    if dim_size is not None:
        return dim_size
    return int(index.max()) + 1 if index.numel() else 0


def _places(src: Tensor, index: Tensor, values: Tensor, dim: int) -> Tensor:
    length = src.shape[dim]
    shape = [1] * src.dim()
    shape[dim] = -1
    place = torch.arange(length, device=src.device).reshape(shape).expand_as(src)
    place = torch.where(src == values.gather(dim, index), place, length)
    nowhere = torch.full_like(values, length, dtype=torch.long)
    return nowhere.scatter_reduce(dim, index, place, "amin")


def sparsesvd(matrix: sp.spmatrix, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k largest singular triplets of a matrix (R, C), largest first: left (k, R), values (k,), right (k, C)."""
    k = min(k, min(matrix.shape) - 1)
    start = np.ones(min(matrix.shape))  # the solver would draw one, and give other signs each time
    left, values, right = svds(sp.csc_matrix(matrix, dtype=np.float64), k=k, v0=start)
    return left.T[::-1], values[::-1], right[::-1]


def dropout_adj(
    edge_index: Tensor,
    edge_attr: Tensor | None = None,
    p: float = 0.5,
    force_undirected: bool = False,
    num_nodes: int | None = None,
    training: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Each edge of edge_index (2, E) dropped with probability p, its attribute (E, ...) with it.

    With `force_undirected` the edges from a lower to a higher node are drawn from, and come in both directions.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"the probability to drop an edge is between 0 and 1, not {p}")
    if not training or p == 0:
        return edge_index, edge_attr
    kept = torch.rand(edge_index.shape[1], device=edge_index.device) >= p
    if force_undirected:
        kept &= edge_index[0] <= edge_index[1]
    edge_index = edge_index[:, kept]
    edge_attr = None if edge_attr is None else edge_attr[kept]
    if force_undirected:
        edge_index = torch.cat([edge_index, edge_index.flip(0)], dim=1)
        edge_attr = None if edge_attr is None else torch.cat([edge_attr, edge_attr])
    return edge_index, edge_attr


def _module(name: str, *functions) -> ModuleType:
    module = ModuleType(name, f"Stand-in for the package {name}.")
    for function in functions:
        setattr(module, function.__name__, function)
    return module


def stand_ins() -> dict[str, ModuleType]:
    """The packages by name, each a module of its own."""
    scatters = scatter, scatter_sum, scatter_mul, scatter_mean, scatter_max, scatter_min, scatter_softmax
    torch_scatter = _module("torch_scatter", *scatters)
    torch_scatter.scatter_add = scatter_sum
    composite = _module("torch_scatter.composite", scatter_softmax)
    torch_scatter.composite = composite
    return {
        "torch_scatter": torch_scatter,
        "torch_scatter.composite": composite,
        "sparsesvd": _module("sparsesvd", sparsesvd),
    }
