"""What training changes of a model beside its weights comes back; what it leaves alone is not kept."""

from __future__ import annotations

import io
import random

import numpy as np
import torch
from torch import nn

from common.state import Attributes, random_states, set_random_states


class Stateful(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.inner.step = 0
        self.features, self.cached = torch.ones(3), None
        self.counts = np.zeros(3)
        self.generator, self.rng = torch.Generator().manual_seed(1), np.random.default_rng(1)


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_only_what_has_changed_is_kept_and_comes_back():
    model = Stateful()
    attributes = Attributes(model)
    assert set(attributes.changed()) == {"generator", "rng"}
    model.inner.step += 3
    model.cached = (torch.ones(2, requires_grad=True) * 2).to_sparse()
    model.counts[1] = 5
    torch.rand(4, generator=model.generator), model.rng.random()
    kept = through_a_file(attributes.changed())
    assert set(kept) == {"inner.step", "cached", "counts", "generator", "rng"}
    expected = torch.rand(2, generator=model.generator), model.rng.random()

    again = Stateful()
    Attributes(again).restore(kept)
    assert again.inner.step == 3 and (again.counts == [0, 5, 0]).all()
    assert again.cached.to_dense().tolist() == [2, 2]
    assert torch.equal(torch.rand(2, generator=again.generator), expected[0])
    assert again.rng.random() == expected[1]


def test_writing_into_a_tensor_counts_as_a_change():
    model = Stateful()
    attributes = Attributes(model)
    model.features[0] = 7
    assert attributes.changed()["features"].tolist() == [7, 1, 1]


def test_global_generators_go_on_where_they_were():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    random.gauss(0, 1), np.random.normal(), torch.rand(3)
    states = through_a_file(random_states())
    expected = random.random(), random.gauss(0, 1), np.random.normal(), np.random.rand(), torch.rand(2)
    random.seed(2), np.random.seed(2), torch.manual_seed(2)
    set_random_states(states)
    found = random.random(), random.gauss(0, 1), np.random.normal(), np.random.rand(), torch.rand(2)
    assert found[:4] == expected[:4] and torch.equal(found[4], expected[4])
