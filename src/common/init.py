"""Initialisation by `model.apply(...)`, under MMRec's names: embeddings and linear layers, biases to zero.

Parameters that a module holds directly are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


def _initialise(module: nn.Module, initialise: Callable[[Tensor], Tensor]) -> None:
    if isinstance(module, nn.Embedding | nn.Linear):
        initialise(module.weight.data)
        if getattr(module, "bias", None) is not None:
            module.bias.data.zero_()


def xavier_normal_initialization(module: nn.Module) -> None:
    _initialise(module, nn.init.xavier_normal_)


def xavier_uniform_initialization(module: nn.Module) -> None:
    _initialise(module, nn.init.xavier_uniform_)
