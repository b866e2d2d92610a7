"""TMFUN's components: each switch alone, what it reduces to, and the laws of the fusion."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.testing import assert_close
from toys import GOLDEN_BATCH, ToyDataset, ToyModality, make

from common.graph import SparseMatrix, co_occurrence_knn
from common.registry import get_model
from models.tmfun import Sources, shares
from utils.config import Config

N_USERS, N_ITEMS, D = 12, 9, 4
SWITCHES = [
    {},
    {"user_modality": False},
    {"user_modality_weight": 2.0},
    {"n_item_layers": 2, "user_modality_weight": 0.5},
    {"learn_item_graph": True},
    {"modality_input": "features"},
    {"knn_weight": "cosine"},
    {"use_item_graph": False},
    {"use_item_graph": False, "cl_weight": 0.0},
    {"use_item_graph": False, "learn_item_graph": True},
    {"use_modality_graphs": False, "attention": "equal"},
    {"attention": "prior"},
    {"attention": "equal"},
    {"n_heads": 2},
    {"n_item_layers": 2},
    {"multi_step": False, "use_item_graph": False},
    {"fusion": "norm"},
    {"fusion": "norm", "use_item_graph": False},
    {"fusion": "concat"},
    {"cl_pairs": ["modalities"]},
    {"cl_pairs": ["content-cf", "modalities"], "cl_symmetric": True},
    {"cl_weight": 0.0, "reg_weight": 0.1},
    {"edge_dropout": 0.5},
]


def dataset() -> ToyDataset:
    generator = torch.Generator().manual_seed(0)
    modalities = {name: torch.randn(N_ITEMS, 5, generator=generator) for name in ("image", "text")}
    pairs = [(user, item) for user in range(N_USERS) for item in range(N_ITEMS) if (user + item) % 3 == 0]
    return ToyDataset(N_USERS, N_ITEMS, pairs, {name: ToyModality(x) for name, x in modalities.items()})


def tmfun(data: ToyDataset | None = None, **settings):
    """The model with all of its parts, shares that are known, and else its YAML's settings, in training mode."""
    yaml = Config("TMFUN", "demo", model_settings=get_model("TMFUN").settings).final_config_dict
    own = {name: yaml[name] for name in get_model("TMFUN").settings}
    parts = {"use_item_graph": True, "cl_weight": 0.003, "item_graph_weight": {"image": 0.1, "text": 0.9}}
    base = own | parts | {"knn_k": 3, "edge_dropout": 0.0, "embedding_size": D}
    return make("TMFUN", data or dataset(), **base | settings).train()


def dense(graph) -> torch.Tensor:
    return torch.from_numpy(graph.to_scipy().toarray())


def means(data: ToyDataset | None = None, without: tuple[int, int] | None = None) -> SparseMatrix:
    """Over every user's items, but for one user's one."""
    r = np.zeros((N_USERS, N_ITEMS))
    r[tuple(np.array((data or dataset()).pairs).T)] = 1
    if without is not None:
        r[without] = 0
    return SparseMatrix.from_scipy(sp.csr_matrix(r / r.sum(1, keepdims=True).clip(1)))


@pytest.mark.parametrize("settings", SWITCHES, ids=str)
def test_every_switch_trains_all_weights_and_scores_all_items(settings):
    model = tmfun(**settings)
    model.pre_epoch_processing()
    loss = model.calculate_loss(GOLDEN_BATCH)
    loss.backward()
    assert loss.isfinite() and loss.ndim == 0
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    scores = model.eval().full_sort_predict([torch.arange(N_USERS)])
    assert scores.shape == (N_USERS, N_ITEMS) and scores.isfinite().all()


@pytest.mark.parametrize("settings", SWITCHES, ids=str)
def test_the_loss_of_a_batch_is_that_of_all_items_fused(settings):
    """A step fuses the items of its batch alone: the ranking loss is that of all, each user without the positive."""
    model = tmfun(**settings | {"cl_weight": 0.0, "reg_weight": 0.0})
    g, sources = model.sources()
    items = model.fuse(sources).final
    user = torch.stack(
        [model._users(g, sources, means(without=(int(u), int(i))))[u] for u, i in GOLDEN_BATCH[:2].T]
    )
    positive, negative = items[GOLDEN_BATCH[1]], items[GOLDEN_BATCH[2]]
    expected = -torch.nn.functional.logsigmoid((user * positive).sum(1) - (user * negative).sum(1)).mean()
    assert_close(model.calculate_loss(GOLDEN_BATCH), expected)


@pytest.mark.parametrize("n_heads", [1, 2])
def test_attention_is_a_distribution_over_modalities_and_starts_at_the_prior(n_heads):
    model = tmfun(n_heads=n_heads, attention_temperature=0.01)
    attention = model.fuse(model.sources()[1]).attention
    assert attention.shape == (2, N_ITEMS, n_heads)
    assert_close(attention.sum(0), torch.ones(N_ITEMS, n_heads))
    assert attention.std(dim=1).min() > 0.01
    model.query.weight.data.zero_()
    attention = model.fuse(model.sources()[1]).attention
    assert_close(attention[0], torch.full((N_ITEMS, n_heads), 0.1))


def test_fixed_attention_weighs_by_the_prior_or_equally():
    for kind, expected in (("prior", [0.1, 0.9]), ("equal", [0.5, 0.5])):
        assert_close(
            tmfun(attention=kind)._attend(torch.zeros(1, D), torch.zeros(2, 1, D), None).flatten(),
            torch.tensor(expected),
        )


def test_without_attention_and_contrast_it_is_freedom():
    """item = g + (f + h) / 2 with f = h: FREEDOM from graphs alone, with as many layers."""
    data = dataset()
    freedom = {
        "knn_k": 3,
        "n_mm_layers": 1,
        "n_ui_layers": 3,
        "mm_image_weight": 0.1,
        "dropout": 0.0,
        "reg_weight": 0.0,
    }
    ours, theirs = (
        tmfun(data, attention="prior", cl_weight=0.0, user_modality=False),
        make("FREEDOM", data, **freedom, embedding_size=D),
    )
    assert_close(ours(), theirs())  # the same seed gives both the same embeddings
    assert_close(ours.calculate_loss(GOLDEN_BATCH), theirs.train().calculate_loss(GOLDEN_BATCH))


@pytest.mark.parametrize(
    "settings", [{}, {"learn_item_graph": True}, {"n_item_layers": 2}, {"knn_weight": "cosine"}]
)
def test_the_item_feature_graph_is_the_mixture_of_the_modality_feature_graphs(settings):
    model = tmfun(**settings)
    image, text = map(dense, model.modality_graphs)
    graph = 0.1 * image + 0.9 * text
    q, n = model.item_embedding.weight, model.config["n_item_layers"]
    sources = model.sources()[1]
    assert_close(dense(model.item_graph()), graph)
    assert_close(sources.similar, torch.linalg.matrix_power(graph, n) @ q)
    assert_close(sources.modal[0], torch.linalg.matrix_power(image, n) @ q)


def test_features_are_projected_and_propagated():
    model = tmfun(modality_input="features")
    graph, project, x = dense(model.modality_graphs[1]), model.projections[1], model.raw[1]
    assert_close(model.sources()[1].modal[1], graph @ project(x))


def test_users_have_the_mean_of_their_items_content():
    model = tmfun(user_modality_weight=0.5, n_item_layers=2)
    g, items = model.sources()
    over = dense(means())
    content = model.fuse(Sources(g, [over @ h for h in items.modal], over @ items.similar)).content
    assert_close(model()[0], g + 0.5 * content)
    shares = model.fuse(Sources(g, [over @ h for h in items.modal], None)).attention.mean(2)
    assert_close(torch.stack(list(model.user_modality_shares().values())), shares)
    assert_close(tmfun(user_modality=False)()[0], g)


def test_a_user_whose_only_item_is_the_positive_has_no_content_in_that_step():
    data = dataset()
    data = ToyDataset(N_USERS, N_ITEMS, [*(p for p in data.pairs if p[0] != 4), (4, 2)], data.modalities)
    over = tmfun(data).means_without(torch.tensor([4, 4, 0]), torch.tensor([2, 3, 1]))
    assert_close(dense(over)[0], torch.zeros(N_ITEMS))
    assert_close(dense(over)[1], torch.eye(N_ITEMS)[2])
    assert_close(dense(over)[2], dense(means(data))[0])


def test_what_a_user_took_does_not_vouch_for_itself():
    """A step's gradient reaches no item by the user's own content that is also the positive alone."""
    model = tmfun(
        n_ui_layers=0, use_modality_graphs=False, use_item_graph=False, cl_weight=0.0, edge_dropout=0.0
    )
    g, items = model.sources()
    over = model.means_without(torch.tensor([0]), torch.tensor([3]))
    user = model._users(g[:1], items, over)
    (gradient,) = torch.autograd.grad(user.sum(), model.item_embedding.weight)
    assert not gradient[3].any() and gradient[0].any() and gradient[6].any()


def test_the_steps_of_the_fusion():
    model = tmfun()
    items = model.sources()[1]
    fused = model.fuse(items)
    early = sum(a * h for a, h in zip(fused.attention, items.modal, strict=True))
    assert_close(fused.content, (early + items.similar) / 2)
    assert_close(fused.final, items.interaction + fused.content)
    early_alone = tmfun(multi_step=False, use_item_graph=False)
    assert_close(early_alone()[1], sum(a * h for a, h in zip(fused.attention, items.modal, strict=True)))
    assert_close(tmfun(fusion="norm").fuse(items).content.norm(dim=1), torch.ones(N_ITEMS))
    assert_close(tmfun(use_item_graph=False).fuse(items._replace(similar=None)).content, early)


def test_one_modality_needs_no_choice():
    data = dataset()
    del data.modalities["image"]
    model = tmfun(data)
    assert_close(model.fuse(model.sources()[1]).attention, torch.ones(1, N_ITEMS, 1))


def test_edges_are_dropped_in_training_alone():
    model = tmfun(edge_dropout=0.5)
    model.pre_epoch_processing()
    training = model.sources()[1].interaction
    assert not torch.equal(training, model.eval().sources()[1].interaction)
    assert_close(model.sources()[1].interaction, tmfun().sources()[1].interaction)


@pytest.mark.parametrize(
    ("weights", "agreements", "expected"),
    [
        ({"image": 0.1, "text": 0.9}, {"image": 5.0, "text": 1.0}, [0.1, 0.9]),
        ({"image": 1, "text": 3}, {"image": 1.0, "text": 1.0}, [0.25, 0.75]),
        ({"image": 0.1, "text": 0.9}, {"audio": 1.0, "text": 1.0}, [0.1, 0.9]),
        ({"image": 0.1, "text": 0.9}, {"text": 0.5}, [1.0]),
        ({}, {"image": 1.0, "text": 3.0}, [0.1, 0.9]),
        ({}, {"image": 0.01, "text": 3.0, "audio": 3.0}, [1 / 201, 100 / 201, 100 / 201]),
        ({}, {"image": 0.0, "text": 0.0}, [0.5, 0.5]),
        (
            {"image": 0.2, "text": 0.3},
            {"image": 9.0, "text": 0.0, "audio": 4.5, "video": 9.0},
            [0.2, 0.3, 0.1, 0.4],
        ),
    ],
)
def test_shares_of_any_modalities(weights, agreements, expected):
    assert shares(list(agreements), weights, list(agreements.values())) == pytest.approx(expected)


def test_the_prior_knows_which_graph_joins_what_is_taken_together():
    """Of two modalities, one says what users like and one says nothing: its share is near 1, whatever its name."""
    n, groups = 60, torch.arange(60) % 6
    draw = torch.Generator().manual_seed(0)
    useful = torch.nn.functional.one_hot(groups).float() + torch.randn(n, 6, generator=draw) / 20
    noise = torch.randn(n, 6, generator=draw)
    pairs = [(user, item) for user in range(30) for item in range(n) if item % 6 == user % 6]
    for names in (("image", "text"), ("text", "image")):
        data = ToyDataset(
            30, n, pairs, {m: ToyModality(x) for m, x in zip(names, (useful, noise), strict=True)}
        )
        prior = tmfun(data, item_graph_weight={}).prior_logits.softmax(0)
        assert prior[0] > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"cl_pairs": ["content-cf", "modality"]},
            "cl_pairs names 'modality'; expected some of content-cf, modalities",
        ),
        ({"n_heads": 3}, "n_heads 3 does not divide embedding_size 4"),
        ({"item_graph_weight": {"image": 1.0, "video": 0.2}}, "item_graph_weight .* name every modality"),
        ({"item_graph_weight": {"image": 0.1, "txt": 0.2}}, "names 'txt', .* did you mean 'text'"),
        ({"item_graph_weight": {"image": "half"}}, "gives image 'half'; expected a number"),
        ({"cl_pairs": []}, "cl_weight 0.003 has no effect without cl_pairs"),
        ({"multi_step": False}, "use_item_graph belongs to the middle step"),
        ({"fusion": "concat", "use_item_graph": False}, "it needs use_item_graph=True"),
        ({"fusion": "norm", "use_item_graph": False, "multi_step": False}, "use fusion=mean with it"),
    ],
)
def test_settings_that_cannot_work_say_so(settings, message):
    with pytest.raises(ValueError, match=message):
        tmfun(**settings)


def test_items_that_share_users_with_a_users_items_rank_higher_by_their_cosines():
    data = dataset()
    model, plain = tmfun(data, neighbour_weight=0.7, neighbour_k=3), tmfun(data, neighbour_weight=0.0)
    everyone = [torch.arange(N_USERS)]
    with torch.no_grad():
        scores, content = model.full_sort_predict(everyone), plain.full_sort_predict(everyone)
    r = torch.zeros(N_USERS, N_ITEMS)
    r[tuple(torch.tensor(data.pairs).T)] = 1
    near = co_occurrence_knn(r.numpy(), 3)
    cosines = torch.zeros(N_ITEMS, N_ITEMS)
    for item, (others, values) in enumerate(zip(near.neighbours, near.cosine, strict=True)):
        for other, value in zip(others[others >= 0].tolist(), values.tolist(), strict=False):
            cosines[item, other] = value
    sums = r @ cosines
    scale = content.square().mean().sqrt() / sums.square().mean().sqrt()
    assert_close(scores, content + 0.7 * scale * sums)
    some = torch.tensor([5, 1, 5])
    with torch.no_grad():
        assert_close(model.full_sort_predict([some]), scores[some])


def test_without_common_users_there_is_nothing_to_add():
    pairs = [(item, item) for item in range(N_ITEMS)]
    data = ToyDataset(N_USERS, N_ITEMS, pairs, dataset().modalities)
    everyone = [torch.arange(N_USERS)]
    with torch.no_grad():
        scores = [tmfun(data, neighbour_weight=w).full_sort_predict(everyone) for w in (0.5, 0.0)]
    assert_close(*scores)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"learn_item_graph": True},
        {"multi_step": False, "use_item_graph": False},
        {"fusion": "concat"},
    ],
)
def test_without_content_its_interaction_part_is_left(settings):
    data = dataset()
    bare = ToyDataset(N_USERS, N_ITEMS, data.pairs)
    model = tmfun(bare, neighbour_weight=0.0, **settings)
    light = make("LightGCN", bare, n_layers=3, reg_weight=0.0, embedding_size=D)
    light.load_state_dict(model.state_dict(), strict=False)
    assert_close(model(), light())
    model.calculate_loss(GOLDEN_BATCH).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.modality_shares() == {}
