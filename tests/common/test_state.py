"""What training changes of a model beside its weights comes back; what it leaves alone is not kept."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch
from torch import nn

from common.state import Attributes, random_states, set_random_states
from utils.errors import UserError


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


class Caching(nn.Module):
    """Holds parts of its weights, and a few tensors together."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.raw = self.layer.weight.data  # written to by the optimiser
        self.first_rows, self.outputs, self.table, self.pair, self.many = None, [], {}, (1, 2), [0] * 101


def test_views_of_weights_stay_views_and_few_tensors_together_are_kept():
    model = Caching()
    attributes = Attributes(model)
    with torch.no_grad():
        model.layer.weight += 1
    assert attributes.changed() == {}
    model.first_rows = model.layer.weight[1:].detach()
    model.outputs = [torch.ones(2), model.layer.bias.detach(), np.arange(2)]
    model.table["x"] = torch.zeros(1, requires_grad=True)
    model.pair, model.many = (3, torch.ones(1)), [1] * 101
    kept = through_a_file(attributes.changed())
    assert set(kept) == {"first_rows", "outputs", "table", "pair"}

    again = Caching()
    again.load_state_dict(model.state_dict())
    Attributes(again).restore(kept)
    assert torch.equal(again.first_rows, model.first_rows) and again.pair == (3, torch.ones(1))
    assert torch.equal(again.raw, model.layer.weight)
    with torch.no_grad():
        again.layer.weight += 1
        again.layer.bias += 1
    assert torch.equal(again.first_rows, again.layer.weight[1:])
    assert torch.equal(again.outputs[1], again.layer.bias) and again.outputs[2].tolist() == [0, 1]
    assert again.table["x"].tolist() == [0] and isinstance(again.outputs, list)


def test_parameters_that_training_adds_come_before_the_weights():
    model = Caching()
    attributes = Attributes(model)
    model.first_rows = model.layer.weight  # a second name, as some of MMRec's models give
    model.extra = nn.Parameter(torch.ones(1))
    kept, weights = through_a_file(attributes.changed()), model.state_dict()
    assert kept == {"first_rows": {"parameter": "layer.weight"}, "extra": {"parameter": torch.ones(1)}}

    again = Caching()
    Attributes(again).restore(kept)
    again.load_state_dict(weights)
    assert again.first_rows is again.layer.weight and torch.equal(again.layer.weight, model.layer.weight)
    attributes.restore({})
    assert model.first_rows is None and not hasattr(model, "extra")
    model.load_state_dict(Caching().state_dict())


def test_what_is_not_among_the_values_is_as_it_was_at_first():
    model = Stateful()
    attributes = Attributes(model)
    model.inner.step, model.cached, model.new = 4, torch.ones(1), 5
    attributes.restore({})
    assert model.inner.step == 0 and model.cached is None and not hasattr(model, "new")
    model.counts[0] = 1
    with pytest.raises(UserError, match="Stateful.counts was first written to after the best epoch"):
        attributes.restore({})


def test_global_generators_go_on_where_they_were():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    random.gauss(0, 1), np.random.normal(), torch.rand(3)
    states = through_a_file(random_states())
    expected = random.random(), random.gauss(0, 1), np.random.normal(), np.random.rand(), torch.rand(2)
    random.seed(2), np.random.seed(2), torch.manual_seed(2)
    set_random_states(states)
    found = random.random(), random.gauss(0, 1), np.random.normal(), np.random.rand(), torch.rand(2)
    assert found[:4] == expected[:4] and torch.equal(found[4], expected[4])
