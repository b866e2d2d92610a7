"""Adam for large tables: the same steps as dense Adam's, with fewer bytes moved.

A batch gives gradients to the rows of a feature table that it contains, and Adam moves all others too, by their
momentum. Written out, such a gradient is as large as the table, most of it zeros that are written, read and added up.
Here it stays a list of rows, and every block of the table meets its part of it in the processor's cache.

A table that few steps of an epoch use at all moves by its momentum in the others (zero_grad: zeros). Nobody reads it
there, so these steps are owed, and taken together, block by block, before it is read again.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim.adam import Adam

BLOCK = 2**22
"""Entries of a table that are updated at a time; smaller blocks spend more on calls than the cache saves."""

OWED_BLOCK = 2**16
"""Entries of a table that take all the steps owed at a time: with both moments, what a core's cache holds."""

VECTOR = 16
"""Numbers that the processor takes at once, at most: what is left over may be rounded otherwise."""


class RowAdam(Adam):
    """Fused Adam on the CPU; a parameter (R, F) with a gradient sparse in its rows gets the bits of a dense one.

    Tables in `seldom` may be without a gradient, which means zeros once they have had one: they are behind then, and
    whoever reads them calls `catch_up` first.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seldom: list[Tensor] = []
        self._owed: dict[Tensor, int] = {}

    @property
    def takes_rows(self) -> bool:
        """Whether its parameters are where it knows how: on the CPU, for its fused form."""
        groups = self.param_groups
        return all(
            group["fused"] and all(p.device.type == "cpu" for p in group["params"]) for group in groups
        )

    def zero_grad(self, set_to_none: bool = True) -> None:
        for table in self.seldom:
            table.grad = None
        super().zero_grad(set_to_none)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        tables = [
            (group, parameter, parameter.grad)
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None and parameter.grad.is_sparse
        ]
        for _, parameter, _ in tables:
            parameter.grad = None  # which dense Adam passes over
        for table in self.seldom:
            if table.grad is not None:
                self.catch_up(table)
            elif self.state.get(table):
                self._owed[table] = self._owed.get(table, 0) + 1
        loss = super().step(closure)
        for group, parameter, grad in tables:
            self._step_by_rows(group, parameter, grad)
            parameter.grad = grad
        return loss

    @torch.no_grad()
    def catch_up(self, table: Tensor | None = None) -> None:
        """Take the steps that a table, or any, owes; the learning rate must still be that of these steps."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter in self._owed and (table is None or parameter is table):
                    self._take_owed(group, parameter, self._owed.pop(parameter))

    def _take_owed(self, group: dict, parameter: Tensor, n_steps: int) -> None:
        state = self.state[parameter]
        steps = [state["step"] + number for number in range(1, n_steps + 1)]
        block = VECTOR * max(1, OWED_BLOCK // VECTOR)
        flat = [x.view(-1) for x in (parameter.detach(), state["exp_avg"], state["exp_avg_sq"])]
        zeros = parameter.new_zeros(min(block, parameter.numel()))
        for start in range(0, parameter.numel(), block):
            weights, mean, square = (x[start : start + block] for x in flat)
            for step in steps:
                fused_adam(group, weights, zeros[: len(weights)], mean, square, step)
        state["step"].copy_(steps[-1])

    def _step_by_rows(self, group: dict, parameter: Tensor, grad: Tensor) -> None:
        state = self.state[parameter]
        if not state:  # as dense Adam begins
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        rows, values = _ascending(grad)
        n, width = parameter.shape
        block = VECTOR * max(1, BLOCK // (VECTOR * width))
        scratch = parameter.new_zeros(block, width)
        starts = torch.arange(0, n + block, block)
        bounds = torch.searchsorted(rows, starts).tolist()
        for number, start in enumerate(range(0, n, block)):
            stop, mine = min(start + block, n), slice(bounds[number], bounds[number + 1])
            here = rows[mine] - start
            scratch.index_copy_(0, here, values[mine])
            moments = state["exp_avg"][start:stop], state["exp_avg_sq"][start:stop]
            fused_adam(group, parameter[start:stop], scratch[: stop - start], *moments, state["step"])
            scratch.index_fill_(0, here, 0)


def fused_adam(
    group: dict, parameter: Tensor, grad: Tensor, mean: Tensor, square: Tensor, step: Tensor
) -> None:
    """torch's fused step on one tensor, or a part of one; `step` is its number, from 1."""
    torch._fused_adam_(
        [parameter], [grad], [mean], [square], [], [step], lr=group["lr"], beta1=group["betas"][0],
        beta2=group["betas"][1], weight_decay=group["weight_decay"], eps=group["eps"], amsgrad=False, maximize=False,
    )  # fmt: skip


def _ascending(grad: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (n,) of a sparse gradient, each once and rising, and their values (n, F)."""
    rows = grad._indices()[0]
    if bool((rows[1:] > rows[:-1]).all()):
        return rows, grad._values()
    grad = grad.coalesce()
    return grad.indices()[0], grad.values()
