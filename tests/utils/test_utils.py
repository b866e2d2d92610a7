"""MMRec's helpers, against their formulas."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from common.registry import get_model
from common.trainer import Trainer
from utils import utils

X = torch.tensor([[1.0, 0, 2], [0, 3, 1], [2, 2, 0], [0, 0, 0]])


def test_cosines_of_all_pairs_a_row_of_zeros_near_nothing():
    sim = utils.build_sim(X)
    for i in range(3):
        for j in range(3):
            assert sim[i, j] == pytest.approx(float(torch.cosine_similarity(X[i], X[j], dim=0)), abs=1e-6)
    assert (sim[3] == 0).all() and (sim[:, 3] == 0).all()


def test_neighbourhoods_keep_weights_and_gradients():
    adj = torch.tensor([[1.0, 0.5, 0.2], [0.4, 1, 0.9], [0, 0.1, 1]], requires_grad=True)
    kept = utils.build_knn_neighbourhood(adj, 2)
    assert kept.tolist() == [[1, 0.5, 0], [0, 1, pytest.approx(0.9)], [0, pytest.approx(0.1), 1]]
    kept.sum().backward()
    assert adj.grad.tolist() == [[1, 1, 0], [0, 1, 1], [0, 1, 1]]


ADJ = torch.tensor([[0.0, 2, 2], [1, 0, 0], [0, 0, 0]])
NORMALISED = {
    "none": ADJ,
    "sym": torch.tensor([[0.0, 1, 0], [0.5, 0, 0], [0, 0, 0]]),
    "rw": torch.tensor([[0.0, 0.5, 0.5], [1, 0, 0], [0, 0, 0]]),
}


@pytest.mark.parametrize("kind", NORMALISED)
def test_laplacians_dense_and_sparse(kind):
    assert torch.allclose(utils.get_dense_laplacian(ADJ, kind), NORMALISED[kind])
    edges = ADJ.nonzero().T
    same, weights = utils.get_sparse_laplacian(edges, ADJ[edges[0], edges[1]], 3, normalization=kind)
    assert same is edges
    again = torch.zeros(3, 3).index_put(tuple(edges), weights)
    assert torch.allclose(again, NORMALISED[kind])
    if kind == "sym":
        assert torch.allclose(utils.compute_normalized_laplacian(ADJ), NORMALISED[kind])
    with pytest.raises(ValueError, match="none, sym and rw, not 'other'"):
        utils.get_dense_laplacian(ADJ, "other")


@pytest.mark.parametrize("kind", NORMALISED)
def test_knn_graphs_dense_and_sparse_are_the_same(kind):
    sim = utils.build_sim(torch.rand(6, 4, generator=torch.Generator().manual_seed(1)))
    sparse = utils.build_knn_normalized_graph(sim, 3, True, kind)
    assert not sparse.is_coalesced() and sparse._indices()[0].tolist() == [
        i for i in range(6) for _ in range(3)
    ]
    assert torch.allclose(sparse.to_dense(), utils.build_knn_normalized_graph(sim, 3, False, kind))


def test_seeds_stopping_and_the_rest():
    draws = []
    for _ in range(2):
        utils.init_seed(5)
        draws.append((random.random(), np.random.rand(), float(torch.rand(1))))
    assert draws[0] == draws[1]
    assert utils.early_stopping(0.2, 0.1, 3, 5) == (0.2, 0, False, True)
    assert utils.early_stopping(0.1, 0.1, 4, 5) == (0.1, 5, False, False)
    assert utils.early_stopping(0.1, 0.1, 5, 5) == (0.1, 6, True, False)
    assert utils.early_stopping(0.1, 0.2, 5, 5, bigger=False) == (0.1, 0, False, True)
    assert utils.dict2str({"recall@20": 0.12345, "map@5": 1}) == "recall@20: 0.1235    map@5: 1.0000    "
    assert utils.get_trainer() is Trainer and utils.get_model is get_model and "-" in utils.get_local_time()
