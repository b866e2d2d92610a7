"""Dense products on a CPU by the BLAS that numpy brings, whatever code asks for them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor
from torch.overrides import TorchFunctionMode

SMALL = 1 << 18
"""Results of fewer numbers than a megabyte's are torch's: there is nothing to gain."""


@contextmanager
def numpy_products() -> Iterator[None]:
    """Inside there are no gradients, and with one torch thread `a @ b` of float32 matrices on a CPU is numpy's.

    Torch's x86 builds bring MKL, which on AMD's processors gives users @ items.T less than half the speed of numpy's
    OpenBLAS. With more threads the two libraries' pools get in each other's way, and torch's alone is faster
    (docs/performance.md); the trials of a sweep have one. A context and not a function, for models score with `@`,
    those of others too.
    """
    with torch.no_grad():
        if torch.get_num_threads() > 1:
            yield
            return
        with _blas().limit(limits=1, user_api="blas"), _NumpyProducts():
            yield


@functools.cache
def _blas() -> ThreadpoolController:
    """Found once: it looks through all the libraries of the process."""
    return ThreadpoolController()


class _NumpyProducts(TorchFunctionMode):
    NAMES = {torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__}

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in self.NAMES and not kwargs and all(map(_is_fit, args)) and _is_large(*args):
            a, b = (matrix.detach().numpy() for matrix in args)
            return torch.from_numpy(a @ b)
        return func(*args, **(kwargs or {}))


def _is_fit(matrix: Any) -> bool:
    return (
        isinstance(matrix, Tensor)
        and matrix.device.type == "cpu"
        and matrix.dtype == torch.float32
        and matrix.layout == torch.strided
        and matrix.ndim == 2
    )


def _is_large(a: Tensor, b: Tensor) -> bool:
    return a.shape[1] == b.shape[0] and a.shape[0] * b.shape[1] >= SMALL
