"""Adam by rows: the bits of dense Adam, whatever rows a step has."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from common import adam
from common.adam import RowAdam

N = 41
ROWS = [[0, 3, 4], [], [7, 40], [1, 2, 15, 16, 31, 32], list(range(N)), [8], [4]]


def table(width: int) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.randn(N, width, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("width", [1, 5, 64])
@pytest.mark.parametrize("block", [1, 64, 2**20])
def test_the_same_bits_as_dense_adam(monkeypatch, block, width, weight_decay):
    monkeypatch.setattr(adam, "BLOCK", block)
    tables, other = [table(width), table(width)], torch.nn.Parameter(torch.ones(3))
    kinds = torch.optim.Adam, RowAdam
    made = [
        kind([t], lr=0.1, fused=True, weight_decay=weight_decay)
        for kind, t in zip(kinds, tables, strict=True)
    ]
    made[1].add_param_group({"params": [other]})
    for number, rows in enumerate(ROWS):
        ids = torch.tensor(rows, dtype=torch.long)
        weights = torch.randn(len(rows), width, generator=torch.Generator().manual_seed(number))
        for sparse, (optimiser, t) in enumerate(zip(made, tables, strict=True)):
            optimiser.zero_grad()
            ((F.embedding(ids, t, sparse=bool(sparse)) * weights).sum() + sparse * other.sum()).backward()
            optimiser.step()
    assert torch.equal(*tables)
    states = [optimiser.state[t] for optimiser, t in zip(made, tables, strict=True)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert made[1].state[other]["step"] == len(ROWS) and (other < 1).all()


def test_rows_that_repeat_or_fall_are_added_up():
    tables = [table(4), table(4)]
    for sparse, (kind, t) in enumerate(zip((torch.optim.Adam, RowAdam), tables, strict=True)):
        optimiser = kind([t], lr=0.1, fused=True)
        for _ in range(2):
            optimiser.zero_grad()
            F.embedding(torch.tensor([5, 2, 5, 0]), t, sparse=bool(sparse)).pow(2).sum().backward()
            optimiser.step()
    torch.testing.assert_close(*tables)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("block", [16, 64, 2**20])
def test_steps_that_are_owed_give_the_bits_of_steps_on_zeros(monkeypatch, block, weight_decay):
    monkeypatch.setattr(adam, "OWED_BLOCK", block)
    tables = [table(5), table(5)]
    dense, owing = (RowAdam([t], lr=0.1, fused=True, weight_decay=weight_decay) for t in tables)
    owing.seldom.append(tables[1])
    for number, used in enumerate([False, True, False, False, True, True, False]):
        owing.catch_up(tables[1])
        for optimiser, t in zip((dense, owing), tables, strict=True):
            optimiser.zero_grad(set_to_none=False)
            if used:
                (t[number:] ** 2).sum().backward()
            optimiser.step()
        if number == 3:
            assert tables[1].grad is None and not torch.equal(*tables)
    owing.catch_up()
    assert torch.equal(*tables)
    states = [optimiser.state[t] for optimiser, t in zip((dense, owing), tables, strict=True)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_table_that_never_had_a_gradient_owes_nothing():
    t = table(5)
    optimiser = RowAdam([t], lr=0.1, fused=True)
    optimiser.seldom.append(t)
    optimiser.step()
    optimiser.catch_up()
    assert torch.equal(t, table(5)) and not optimiser.state.get(t)
