"""The encoder, against LightGCN written densely."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from toys import BASE, ToyConfig, golden_dataset

from common.encoders import LightGCN_Encoder, adjacency
from utils.data.batches import TrainDataLoader


def encoder(**settings):
    config = ToyConfig(BASE | {"embedding_size": 4} | settings)
    return LightGCN_Encoder(config, TrainDataLoader(config, golden_dataset()))


def dense(interactions):
    a = np.block([[np.zeros((3, 3)), interactions], [interactions.T, np.zeros((4, 4))]])
    scale = 1 / np.sqrt(a.sum(1) + 1e-7)
    return torch.tensor(scale[:, None] * a * scale, dtype=torch.float32)


def test_the_graph_is_binary():
    pairs = np.array([[0, 0, 1], [1, 1, 3]])
    once = sp.coo_matrix((np.ones(3), pairs), (3, 4))
    binary = np.zeros((3, 4))
    binary[[0, 1], [1, 3]] = 1
    assert torch.allclose(adjacency(once).to_dense(), dense(binary))


def test_embeddings_are_the_mean_of_the_layers():
    model = encoder(n_layers=2)
    graph = dense(golden_interactions())
    x = torch.cat([model.embedding_dict["user_emb"], model.embedding_dict["item_emb"]])
    users, items = torch.split((x + graph @ x + graph @ graph @ x) / 3, [3, 4])
    assert all(torch.allclose(a, b) for a, b in zip(model.get_embedding(), (users, items), strict=True))
    assert not model.get_embedding()[0].requires_grad
    model.drop_flag = False
    u, i = model([torch.tensor([2, 0]), torch.tensor([1, 1])])
    assert torch.allclose(u, users[[2, 0]]) and torch.allclose(i, items[[1, 1]]) and u.requires_grad


def golden_interactions():
    found = np.zeros((3, 4))
    for user, item in golden_dataset().pairs:
        found[user, item] = 1
    return found


def test_a_dropped_graph_scales_what_is_left_and_three_layers_are_the_default():
    model = encoder()
    assert model.n_layers == 3 and encoder(n_layers=1).n_layers == 1
    whole = model.sparse_norm_adj.to_dense()
    np.random.seed(3), torch.manual_seed(3)
    rate = np.random.RandomState(3).random_sample()
    dropped = model._dropped().to_dense()
    kept = dropped != 0
    assert 0 < kept.sum() < (whole != 0).sum()
    assert torch.allclose(dropped[kept], whole[kept] / (1 - rate))
