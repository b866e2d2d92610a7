"""Initialisation by apply: what it touches and what not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from common.init import xavier_normal_initialization, xavier_uniform_initialization


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.linear = nn.Embedding(400, 100), nn.Linear(300, 200)
        self.bare = nn.Parameter(torch.full((2, 2), 7.0))


@pytest.mark.parametrize("initialise", [xavier_normal_initialization, xavier_uniform_initialization])
def test_scale_bias_and_bare_parameters(initialise):
    model = Both().apply(initialise)
    for weight in (model.embedding.weight, model.linear.weight):
        assert weight.std().item() == pytest.approx((2 / sum(weight.shape)) ** 0.5, rel=0.03)
    assert not model.linear.bias.any()
    assert (model.bare == 7).all()


def test_uniform_is_bounded():
    weight = Both().apply(xavier_uniform_initialization).embedding.weight
    assert weight.abs().max().item() <= (6 / 500) ** 0.5
