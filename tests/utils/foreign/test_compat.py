"""Each name that libraries removed is there inside, and not outside."""

from __future__ import annotations

import random
import sys
from types import ModuleType

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn

from utils.foreign.compat import NUMPY_NAMES, compat, patches

CPU = torch.device("cpu")


def state_of_the_world():
    owners = np, sp.dok_matrix, random, torch.Tensor, nn.Module, nn.Parameter
    return [(owner, dict(vars(owner))) for owner in owners]


def test_all_is_as_before_afterwards_even_after_an_error():
    before = state_of_the_world()
    with pytest.raises(KeyError), compat(CPU):
        assert state_of_the_world() != before
        raise KeyError
    assert state_of_the_world() == before


@pytest.mark.parametrize(
    "name", ["float", "int", "object", "str", "complex", "Inf", "NaN", "float_", "product"]
)
def test_names_of_numpy(name):
    assert name not in vars(np)
    with compat(CPU):
        assert getattr(np, name) is NUMPY_NAMES[name]


def test_names_that_numpy_still_has_are_left_alone():
    with compat(CPU):
        assert np.bool is np.bool_
    assert not any(patch.owner is np and patch.name in vars(np) for patch in patches(CPU))


def test_the_update_of_a_dok_matrix():
    assert not hasattr(sp.dok_matrix, "_update")
    matrix = sp.dok_matrix((2, 3), dtype=np.float32)
    with compat(CPU):
        matrix._update({(np.int32(0), np.int32(2)): 1, (1, 0): 2})
    assert matrix.tocsr().toarray().tolist() == [[0, 0, 1], [2, 0, 0]]


def test_cuda_is_the_device_of_the_run():
    tensor, layer = torch.zeros(1), nn.Linear(1, 1)
    with compat(CPU):
        assert tensor.cuda() is tensor and layer.cuda(0) is layer
    with compat(torch.device("meta")):
        assert tensor.cuda(non_blocking=True).device.type == "meta"
    if not torch.cuda.is_available():
        with pytest.raises((AssertionError, RuntimeError)):
            tensor.cuda()


def test_a_sample_of_a_set():
    with pytest.raises(TypeError):
        random.sample({1, 2}, 1)
    with compat(CPU):
        random.seed(1)
        of_set = random.sample({5, 3, 4}, 2), random.sample({1: 2}.keys(), 1)
        random.seed(1)
        assert of_set == (random.sample([3, 4, 5], 2), [1]) and random.sample(range(3), k=0) == []


def test_a_moved_parameter_is_a_plain_tensor_that_others_may_replace():
    class Theirs(nn.Module):
        def __init__(self):
            super().__init__()
            self.kept = nn.Parameter(torch.ones(2))
            self.moved = nn.Parameter(torch.ones(2)).to(CPU)
            self.layer = nn.Linear(1, 1).to(CPU)

    model = Theirs()
    with pytest.raises(TypeError):
        model.moved = torch.zeros(2)
    with compat(CPU):
        model = Theirs()
        model.moved = torch.zeros(2)
    assert [name for name, _ in model.named_parameters()] == ["kept", "layer.weight", "layer.bias"]


def test_dropout_adj_where_pyg_has_it_no_more(monkeypatch):
    pyg = ModuleType("torch_geometric.utils")
    monkeypatch.setitem(sys.modules, "torch_geometric.utils", pyg)
    edges = torch.tensor([[0, 1, 2, 1], [1, 0, 1, 2]])
    with compat(CPU):
        kept, weights = pyg.dropout_adj(edges, torch.arange(4), p=0.0)
        assert kept is edges and weights.tolist() == [0, 1, 2, 3]
        torch.manual_seed(0)
        kept, weights = pyg.dropout_adj(edges, torch.arange(4), p=0.5)
        assert (edges[:, weights] == kept).all() and 0 < len(weights) < 4
        both, twice = pyg.dropout_adj(edges, torch.arange(4), p=1e-9, force_undirected=True)
        assert both.tolist() == [[0, 1, 1, 2], [1, 2, 0, 1]] and twice.tolist() == [0, 3, 0, 3]
        assert pyg.dropout_adj(edges, training=False) == (edges, None)
        with pytest.raises(ValueError, match="between 0 and 1, not 2"):
            pyg.dropout_adj(edges, p=2)
    assert not hasattr(pyg, "dropout_adj")
