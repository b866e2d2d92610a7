"""What today's libraries removed and others' model files still call: there inside `compat`, and nowhere else."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from utils.foreign.packages import dropout_adj

NUMPY_NAMES: dict[str, Any] = {
    "float": float, "int": int, "bool": bool, "object": object, "str": str, "complex": complex, "long": int,
    "unicode": str, "float_": np.float64, "complex_": np.complex128, "string_": np.bytes_, "unicode_": np.str_,
    "Inf": np.inf, "Infinity": np.inf, "infty": np.inf, "NaN": np.nan, "NAN": np.nan,
    "in1d": getattr(np, "isin", None), "product": np.prod, "cumproduct": np.cumprod, "row_stack": np.vstack,
    "alltrue": np.all, "sometrue": np.any, "asfarray": lambda a, dtype=np.float64: np.asarray(a, dtype=dtype),
}  # fmt: skip
"""Of numpy before 1.24 and before 2.0."""


class Patch(NamedTuple):
    """A name that an object, a module or a class, has for a while."""

    owner: Any
    name: str
    value: Any


def patches(device: torch.device) -> list[Patch]:
    """All that this machine's libraries need, for code that runs on `device`."""
    found = [Patch(np, name, value) for name, value in NUMPY_NAMES.items() if name not in vars(np)]
    if not hasattr(sp.dok_matrix, "_update"):
        found.append(Patch(sp.dok_matrix, "_update", _update))
    pyg = sys.modules.get("torch_geometric.utils")
    if pyg is not None and not hasattr(pyg, "dropout_adj"):
        found.append(Patch(pyg, "dropout_adj", dropout_adj))
    if device.type == "cpu":
        found.append(Patch(nn.Parameter, "to", _moved))
    return [
        *found,
        Patch(random, "sample", _sampler(random.sample)),
        Patch(Tensor, "cuda", lambda self, *args, **kwargs: self.to(device)),
        Patch(nn.Module, "cuda", lambda self, *args, **kwargs: self.to(device)),
    ]


@contextmanager
def compat(device: torch.device) -> Iterator[None]:
    """Inside, the removed names are there; what was there before is there again afterwards.

    `.cuda()` means the device of the run, whatever the machine has.
    """
    absent = object()
    before = []
    for owner, name, value in patches(device):
        before.append(Patch(owner, name, vars(owner).get(name, absent)))
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            if value is absent:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


def _update(self: sp.dok_matrix, entries: dict[tuple[int, int], Any]) -> None:
    """Entries by (row, column) set without a check, as scipy's `_update` did until 1.13."""
    self._dict.update(entries)


def _sampler(sample: Any) -> Any:
    def sample_too(population: Any, k: int, **kwargs: Any) -> list[Any]:
        """`random.sample`, of a set too, as before Python 3.11: in ascending order, whatever the hashes are."""
        return sample(sorted(population) if isinstance(population, Set) else population, k, **kwargs)

    return sample_too


def _moved(self: nn.Parameter, *args: Any, **kwargs: Any) -> Tensor:
    """A parameter moved to a GPU is a plain tensor, and model files count on it; so it is one on the CPU.

    Modules move their parameters without gradients, and those stay what they are.
    """
    moved = Tensor.to(self, *args, **kwargs)
    return moved.clone() if moved is self and torch.is_grad_enabled() else moved
