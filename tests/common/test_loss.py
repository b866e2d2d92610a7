"""Losses by their hand-checkable values."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from common.loss import BPRLoss, EmbLoss, L2Loss, bpr, embedding_norm, squared_norm


@pytest.mark.parametrize(
    ("difference", "expected"), [(0.0, math.log(2)), (1.0, 0.3132617), (-1.0, 1.3132617)]
)
def test_both_bpr_losses_agree(difference, expected):
    positive, negative = torch.full((3,), difference), torch.zeros(3)
    assert bpr(positive, negative).item() == pytest.approx(expected, abs=1e-6)
    assert BPRLoss()(positive, negative).item() == pytest.approx(expected, abs=1e-6)


def test_mmrecs_bpr_has_a_floor_where_logsigmoid_goes_on():
    positive, negative = torch.tensor([-200.0]), torch.tensor([0.0])
    assert BPRLoss()(positive, negative).item() == pytest.approx(23.0258509, abs=1e-5)
    assert bpr(positive, negative).item() == pytest.approx(200.0)


def test_embedding_norm_is_not_squared():
    x = torch.tensor([[3.0, 0], [0, 4.0]])
    assert embedding_norm(x, x, x).item() == pytest.approx(7.5)
    assert EmbLoss()(x, x, x).tolist() == [7.5]
    assert EmbLoss(norm=1)(x).tolist() == [3.5]


def test_embedding_norm_divides_by_the_rows_of_the_last():
    assert embedding_norm(torch.ones(4, 1), torch.ones(1, 1)).item() == pytest.approx(3.0)


def test_squared_norm_divides_by_the_configured_batch_and_l2_by_nothing():
    x = torch.tensor([[3.0, 4.0]])
    assert squared_norm(10, x, x).item() == pytest.approx(2.5)
    assert L2Loss()(x, x).tolist() == [25.0]


def test_gradient_of_the_norm_has_constant_length():
    x = torch.tensor([[3.0, 4.0]], requires_grad=True)
    embedding_norm(x).backward()
    assert_close(x.grad.norm(), torch.tensor(1.0))
