"""The golden fixture and the oracles of single models: numbers derived by hand or printed by MMRec's classes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close
from toys import GOLDEN_BATCH, ToyDataset, ToyModality, golden_dataset, make, set_embeddings

from common.graph import hops, propagate
from models.freedom import modality_weights

USERS, ITEMS = [1, 2, 3], [1, 0, -1, 2]
LATTICE = {
    "cf_model": "lightgcn", "feat_embed_dim": 2, "knn_k": 2, "lambda_coeff": 1.0, "n_layers": 1, "n_ui_layers": 2,
    "reg_weight": 0.0, "embedding_size": 1,
}  # fmt: skip
FREEDOM = {
    "knn_k": 2, "n_mm_layers": 1, "n_ui_layers": 2, "mm_image_weight": 0.1, "dropout": 0.0, "reg_weight": 0.0,
    "embedding_size": 1,
}  # fmt: skip
BM3 = {"n_layers": 1, "dropout": 0.0, "reg_weight": 0.1, "cl_weight": 2.0, "use_neg_sampling": False}


def near(actual: torch.Tensor, expected, tolerance: float = 1e-6) -> None:
    assert_close(actual.detach().squeeze(), torch.tensor(expected), atol=tolerance, rtol=0)


def dense(graph) -> torch.Tensor:
    return torch.from_numpy(graph.to_scipy().toarray())


@pytest.mark.parametrize(
    ("n_layers", "users", "items"),
    [
        (1, [0.853553, 0.75, 1.957107], [0.853553, 0.75, 0.75, 2.06066]),
        (2, [0.985702, 1.166667, 2.221404], [0.735702, 0.534518, 0.569035, 1.589256]),
        (3, [0.840609, 0.913832, 1.806218], [0.772747, 0.807138, 1.020527, 1.678077]),
    ],
)
def test_lightgcn_golden(n_layers, users, items):
    model = make("LightGCN", golden_dataset(), n_layers=n_layers, reg_weight=0.0, is_multimodal_model=False)
    set_embeddings(model, USERS, ITEMS)
    near(model()[0], users)
    near(model()[1], items)


def test_lightgcn_without_layers_is_matrix_factorisation():
    model = make("LightGCN", golden_dataset(), n_layers=0, reg_weight=0.1, is_multimodal_model=False)
    bpr = make("BPR", golden_dataset(), reg_weight=0.1, is_multimodal_model=False)
    bpr.load_state_dict(model.state_dict())
    assert_close(model.calculate_loss(GOLDEN_BATCH), bpr.calculate_loss(GOLDEN_BATCH))


def test_lightgcn_fixed_point():
    """sqrt(degree) is an eigenvector of A_hat with eigenvalue 1."""
    model = make("LightGCN", golden_dataset(), n_layers=3, reg_weight=0.0, is_multimodal_model=False)
    users, items = [2**0.5] * 3, [1.0, 2**0.5, 2**0.5, 1.0]
    set_embeddings(model, users, items)
    near(model()[0], users)
    near(model()[1], items)


def test_freedom_golden():
    model = make("FREEDOM", golden_dataset(), **FREEDOM)
    set_embeddings(model, USERS, ITEMS)
    expected = [[0.5, 0.05, 0.45, 0], [0.05, 0.5, 0, 0.45], [0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]]
    near(dense(model.item_graph), expected)
    near(hops(model.item_graph, model.item_embedding.weight, 1), [0.05, 0.95, 0.5, 0.5])
    near(model()[1], [0.785702, 1.484518, 1.069035, 2.089256])
    near(model.full_sort_predict([torch.tensor([0])]), [0.774468, 1.463292, 1.053751, 2.059384], 2e-6)
    near(model.calculate_loss(GOLDEN_BATCH), 0.896614)
    near(model.edges.weights, [0.707107, 0.5, 0.5, 0.5, 0.5, 0.707107])


def test_freedom_golden_with_features():
    model = make("FREEDOM", golden_dataset(), **FREEDOM | {"reg_weight": 1e-3})
    set_embeddings(model, USERS, ITEMS)
    for content in model.contents:
        content.linear.weight.data = torch.tensor([[1.0, -1.0]])
        content.linear.bias.data.zero_()
    near(model.calculate_loss(GOLDEN_BATCH), 0.899893)


def test_freedom_depths():
    model = make("FREEDOM", golden_dataset(), **FREEDOM | {"n_mm_layers": 0, "n_ui_layers": 0})
    set_embeddings(model, USERS, ITEMS)
    near(model()[1], [2.0 * q for q in ITEMS])
    constant = make("FREEDOM", golden_dataset(), **FREEDOM)
    set_embeddings(constant, USERS, [3.0] * 4)
    near(hops(constant.item_graph, constant.item_embedding.weight, 1), [3.0] * 4)


def test_freedom_one_modality_and_zero_parameters():
    dataset = golden_dataset()
    del dataset.modalities["image"]
    near(
        dense(make("FREEDOM", dataset, **FREEDOM).item_graph),
        [[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]],
    )
    model = make("FREEDOM", golden_dataset(), **FREEDOM | {"reg_weight": 1e-3})
    for parameter in model.parameters():
        parameter.data.zero_()
    near(model.calculate_loss(GOLDEN_BATCH), (1 + 2e-3) * math.log(2))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["image", "text"], [0.1, 0.9]),
        (["text", "image"], [0.9, 0.1]),
        (["text", "audio"], [0.9, 0.1]),
        (["image", "text", "audio"], [0.1, 0.45, 0.45]),
        (["audio"], [1.0]),
    ],
)
def test_freedom_weights_of_any_modalities(names, expected):
    assert modality_weights(names, 0.1) == pytest.approx(expected)


def test_lattice_golden_original_graph():
    model = make("LATTICE", golden_dataset(), **LATTICE)
    set_embeddings(model, USERS, ITEMS)
    graph = dense(model.item_graph())
    near(graph[0], [0.555556, 0.222222, 0.212959, 0])
    near(graph[2], [0, 0, 0.53288, 0.46712])
    model.eval()
    near(model()[0], [0.851852, 1.074074, 2.018518])
    near(model()[1], [1.944444, 1.555556, 1.444444, 3.138889], 2e-6)


def test_lattice_golden_learned_graph():
    model = make("LATTICE", golden_dataset(), **LATTICE | {"lambda_coeff": 0.9})
    for project in model.projections:
        project.linear.weight.data = torch.eye(2)
        project.linear.bias.data.zero_()
    graph = dense(model.item_graph())
    near(graph[0], [0.555556, 0.222222, 0.213407, 0])
    near(graph[2], [0, 0, 0.532783, 0.467217])


def test_lattice_original_graph_ignores_projections_and_equal_modalities_ignore_weights():
    dataset = golden_dataset()
    dataset.modalities["text"] = dataset.modalities["image"]
    model = make("LATTICE", dataset, **LATTICE)
    before = dense(model.item_graph())
    model.modal_weight.data = torch.tensor([2.0, -1.0])
    assert_close(dense(model.item_graph()), before)


def test_lattice_item_part_has_unit_length():
    model = make("LATTICE", golden_dataset(), **LATTICE | {"embedding_size": 8}).eval()
    items = model()[1]
    ego = torch.cat([model.user_embedding.weight, model.item_embedding.weight])
    assert_close((items - propagate(model.user_item, ego, 2)[3:]).norm(dim=1), torch.ones(4))


def test_lattice_graph_parameters_learn_in_the_first_batch_of_an_epoch_alone():
    model = make("LATTICE", golden_dataset(), **LATTICE | {"lambda_coeff": 0.9, "embedding_size": 4})
    graph_parameters = [model.modal_weight, *model.projections.parameters()]
    model.train()
    for _ in range(2):
        model.pre_epoch_processing()
        for first in (True, False):
            model.zero_grad()
            model.calculate_loss(GOLDEN_BATCH).backward()
            assert all((p.grad is not None) == first for p in graph_parameters)


def test_lattice_momentum_moves_the_graph_when_gradients_are_zeroed():
    """Adam and zero_grad: with zeros the momentum of the first batch goes on, with None it does not."""
    steps = {}
    for to_none in (True, False):
        model = make("LATTICE", golden_dataset(), **LATTICE | {"lambda_coeff": 0.9, "embedding_size": 4})
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        weight = model.projections[0].linear.weight
        model.train()
        model.pre_epoch_processing()
        moves = []
        for _ in range(3):
            before = weight.detach().clone()
            optimiser.zero_grad(set_to_none=to_none)
            model.calculate_loss(GOLDEN_BATCH).backward()
            optimiser.step()
            moves.append((weight - before).abs().max().item())
        steps[to_none] = moves
    assert steps[True][0] > 0 and steps[True][1:] == [0.0, 0.0]
    near(torch.tensor(steps[False]), [0.01, 0.0067, 0.0052], 1e-4)


def test_vbpr_golden():
    model = make("VBPR", golden_dataset(), reg_weight=0.1, embedding_size=1)
    set_embeddings(model, [[1, 0.5], [2, -1], [3, 0]], ITEMS)
    model.content.linear.weight.data = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    model.content.linear.bias.data.fill_(0.1)
    scores = model.full_sort_predict([torch.arange(3)])
    near(scores, [[3.05, 3.45, 2.05, 3.85], [-2.1, -6.9, -8.1, 0.3], [3, 0, -3, 6]], 1e-5)
    near(model.calculate_loss(GOLDEN_BATCH), 3.483970, 2e-6)


def test_vbpr_starts_without_bias_and_is_matrix_factorisation_without_features():
    model = make("VBPR", golden_dataset(), reg_weight=0.1)
    assert not model.content.linear.bias.any()
    model.content.raw.zero_()
    users, items = model()
    assert_close(model.full_sort_predict([torch.arange(3)]), users[:, :2] @ items[:, :2].T)


def test_bm3_golden():
    model = make("BM3", golden_dataset(), **BM3)
    set_embeddings(model, [[1, 0], [0, 1], [1, 1]], [[1, 0], [0, 1], [1, 1], [-1, 1]])
    model.predictor.weight.data = torch.diag(torch.tensor([1.0, 2.0]))
    model.predictor.bias.data.zero_()
    for content in model.contents:
        content.linear.weight.data = torch.eye(2)
        content.linear.bias.data.zero_()
    near(model.embeddings()[0], [[0.853553, 0.25], [0.25, 1], [0.396447, 1.103553]])
    near(model.full_sort_predict([torch.tensor([0])]), [1.582107, 1.963388, 3.493718, 0.875], 2e-6)
    near(model.calculate_loss(torch.tensor([[0, 1, 2], [0, 1, 3]])), 0.803747)


@pytest.mark.parametrize(("sign", "expected"), [(1.0, 0.0), (-1.0, 20.0)])
def test_bm3_all_latents_alike(sign, expected):
    """Identity predictor: only the norms are left; minus identity: two terms of 2 and four of 2, weighted 2."""
    model = make("BM3", golden_dataset(), **BM3 | {"n_layers": 0})
    c = [3.0, 4.0]
    set_embeddings(model, [c] * 3, [[1.5, 2.0]] * 4)  # item = i + Q = 2 Q
    model.predictor.weight.data = sign * torch.eye(2)
    model.predictor.bias.data.zero_()
    for content in model.contents:
        content.linear.weight.data.zero_()
        content.linear.bias.data = torch.tensor(c)
    norms = 0.1 * 5 * (math.sqrt(3) + math.sqrt(4)) / 4
    near(model.calculate_loss(GOLDEN_BATCH[:2]), expected + norms, 1e-5)


def test_bm3_depth_targets_and_dropout():
    model = make("BM3", golden_dataset(), **BM3 | {"n_layers": 0, "reg_weight": 0.0})
    users, items = model.embeddings()
    assert_close(users, model.user_embedding.weight)
    assert_close(items, 2 * model.item_embedding.weight)
    model.predictor.weight.data.zero_()
    model.calculate_loss(GOLDEN_BATCH[:2]).backward()
    assert not model.user_embedding.weight.grad.any() and not model.item_embedding.weight.grad.any()
    random = make("BM3", golden_dataset(), **BM3 | {"dropout": 0.5, "embedding_size": 16}).eval()
    assert random.calculate_loss(GOLDEN_BATCH[:2]) != random.calculate_loss(GOLDEN_BATCH[:2])


ZERO = [
    ("BPR", {"reg_weight": 0.5, "is_multimodal_model": False}),
    ("LightGCN", {"n_layers": 2, "reg_weight": 0.5, "is_multimodal_model": False}),
    ("LATTICE", LATTICE),
]


@pytest.mark.parametrize(("name", "settings"), ZERO, ids=[name for name, _ in ZERO])
def test_loss_is_ln2_when_embeddings_are_zero(name, settings):
    model = make(name, golden_dataset(), **settings)
    model.user_embedding.weight.data.zero_()
    model.item_embedding.weight.data.zero_()
    near(model.calculate_loss(GOLDEN_BATCH), math.log(2))


COUNTS = {
    "BPR": (1_695_680, {"reg_weight": 0.1, "is_multimodal_model": False}),
    "LightGCN": (1_695_680, {"n_layers": 1, "reg_weight": 0.1, "is_multimodal_model": False}),
    "VBPR": (3_226_944, {"reg_weight": 0.1}),
    "FREEDOM": (33_566_528, FREEDOM | {"reg_weight": 1e-3}),
    "LATTICE": (33_566_530, LATTICE | {"lambda_coeff": 0.9, "feat_embed_dim": 64}),
    "BM3": (33_570_688, BM3),
}


@pytest.mark.parametrize("name", COUNTS)
def test_numbers_of_weights_of_baby(name):
    expected, settings = COUNTS[name]
    features = {"image": 4096, "text": 384}
    knn = golden_dataset().modalities["image"].knn(2)  # its content does not matter here
    modalities = {m: ToyModality(torch.zeros(1, 1).expand(7050, width), knn) for m, width in features.items()}
    dataset = ToyDataset(19_445, 7_050, [(0, 0), (1, 1)], modalities)
    model = make(name, dataset, **settings | {"embedding_size": 64})
    assert model.parameter_counts()[0] == expected
