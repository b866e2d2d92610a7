"""What is recommended, against scores sorted by hand, and the shares of the modalities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trained import COLD, N_ITEMS, N_USERS, QUICK, best, by_hand, load

from utils.experiments.building import build
from utils.experiments.sweep import run_all
from utils.recommending import lists as lists_module
from utils.recommending.lists import modality_shares, recommend, recommend_all


@pytest.mark.parametrize("model", ["TMFUN", "BPR"])
@pytest.mark.parametrize("keep_validation", [False, True])
def test_lists_are_the_best_of_all_scores_without_what_the_user_has(trained, model, keep_validation):
    loaded = load(trained, model)
    users = np.array([57, 3, COLD, 12])
    lists = recommend(*loaded[:3], users, 10, keep_validation)
    assert (lists.users == users).all() and lists.items.shape == (4, 10)
    for row, user in enumerate(users):
        items, scores = by_hand(loaded, user, 10, keep_validation)
        assert lists.items[row].tolist() == items
        assert lists.scores[row] == pytest.approx(scores, rel=1e-5)


def test_with_validation_kept_they_are_the_lists_of_the_test(trained):
    stored = best(trained)
    tested = stored.lists()
    lists = recommend(*load(trained)[:3], tested.users, 40, keep_validation=True)
    assert (lists.items == tested.items).all() and (lists.scores == tested.scores).all()


def test_a_list_ends_where_nothing_new_is_left(trained):
    loaded = load(trained)
    lists = recommend(*loaded[:3], np.array([0, COLD]), 1000)
    assert lists.items.shape == (2, N_ITEMS)
    assert (lists.items[0] == -1).sum() == 7 and (lists.items[1] >= 0).all()


def test_lists_of_all_users_come_in_blocks_from_one_forward_pass(trained, monkeypatch):
    loaded = load(trained, eval_batch_size=7)
    calls = []
    forward = type(loaded.model).forward
    monkeypatch.setattr(type(loaded.model), "forward", lambda self: calls.append(1) or forward(self))
    monkeypatch.setattr(lists_module, "BLOCK", 20)
    blocks = list(recommend_all(*loaded[:3], 10))
    assert [len(block.users) for block in blocks] == [20, 20, 20, 1] and len(calls) == 1
    together = recommend(*loaded[:3], np.arange(N_USERS), 10)
    for name in ("users", "items"):
        assert (np.concatenate([getattr(b, name) for b in blocks]) == getattr(together, name)).all()


def test_unknown_users_and_empty_lists_are_errors(trained, fails):
    loaded = load(trained)
    for user in (-1, N_USERS):
        fails(
            recommend,
            f"'tiny' has no user {user}; expected ids from 0 to 60",
            *loaded[:3],
            np.array([0, user]),
            5,
        )
    fails(recommend, "-k is 0; expected", *loaded[:3], np.array([0]), 0)


def test_shares_of_the_modalities_sum_to_1(trained):
    shares = modality_shares(load(trained).model)
    assert list(shares) == ["image", "text"] and shares["image"].shape == (N_ITEMS,)
    assert torch.allclose(sum(shares.values()), torch.ones(N_ITEMS))
    assert len(shares["image"].unique()) > 1


def test_several_heads_count_by_their_mean(trained):
    config, dataset, *_ = load(trained)
    config["n_heads"] = 2
    model, _ = build(config, dataset)
    torch.nn.init.normal_(model.query.weight)
    shares = modality_shares(model)
    attention = model.fuse(model.sources()[1]).attention
    assert attention.shape == (2, N_ITEMS, 2) and not torch.allclose(attention[..., 0], attention[..., 1])
    assert torch.allclose(shares["text"], (attention[1, :, 0] + attention[1, :, 1]) / 2)


@pytest.mark.parametrize(("attention", "expected"), [("prior", (0.3, 0.7)), ("equal", (0.5, 0.5))])
def test_fixed_attention_is_the_same_for_all_items(trained, tmp_path, attention, expected):
    places = trained | {"runs_path": str(tmp_path)}
    weights = {
        "item_graph_weight": {"image": 0.3, "text": 0.7},
        "attention": attention,
        "learn_item_graph": False,
    }
    run_all(["TMFUN"], ["tiny"], overrides=QUICK | places | weights)
    for share, value in zip(modality_shares(load(places).model).values(), expected, strict=True):
        assert torch.allclose(share, torch.full((N_ITEMS,), value))


def test_a_model_without_attention_has_no_shares(trained):
    assert modality_shares(load(trained, "BPR").model) is None
