"""The embedded data set: what is planted, what is shown of it, and that models find it."""

from __future__ import annotations

import numpy as np
import pytest

from utils.data import demo
from utils.quick_start import quick_start


@pytest.fixture(scope="module")
def planted() -> demo.Demo:
    return demo.plant()


def test_the_seed_decides_everything(planted):
    same, other = demo.plant(), demo.plant(seed=1)
    for name in ("users", "items", "labels"):
        np.testing.assert_array_equal(getattr(planted, name), getattr(same, name))
    assert all((planted.features[name] == same.features[name]).all() for name in planted.features)
    assert len(planted.users) != len(other.users) or (planted.items != other.items).any()


def test_every_user_and_item_takes_part(planted):
    assert set(planted.users) == set(range(demo.N_USERS)) and set(planted.items) == set(range(demo.N_ITEMS))
    assert np.bincount(planted.users).min() >= demo.FEWEST and np.bincount(planted.items).min() >= 3
    assert len(set(zip(planted.users, planted.items, strict=True))) == len(planted.users)
    assert {name: x.shape for name, x in planted.features.items()} == {
        "image": (1500, 128),
        "text": (1500, 64),
    }


@pytest.mark.parametrize(("n", "valid", "test"), [(5, 1, 1), (9, 1, 1), (10, 1, 1), (15, 1, 2), (40, 4, 4)])
def test_mmrecs_rule_of_splitting(n, valid, test):
    labels = demo.split_labels(np.repeat([0, 1], n), np.random.default_rng(0))
    for mine in (labels[:n], labels[n:]):
        assert np.bincount(mine, minlength=3).tolist() == [n - valid - test, valid, test]


def test_each_modality_shows_its_part_and_no_other(planted):
    """The mean cosine of a part of an item's latent with that of its nearest item by features: near 1, or near 0."""
    for shown in demo.WIDTHS:
        x = planted.features[shown]
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        similarity = x @ x.T - 2 * np.eye(len(x))
        nearest = similarity.argmax(1)
        for part, latent in planted.latents.items():
            mean = (latent * latent[nearest]).sum(1).mean()
            assert (mean > 0.8) if part == shown else (abs(mean) < 0.1)


def test_users_take_what_they_like_in_every_part(planted):
    for part, latent in planted.latents.items():
        liking = planted.tastes[part] @ latent.T
        assert liking[planted.users, planted.items].mean() > 5 * abs(liking.mean()) + 0.1


def test_both_modalities_beat_either_and_content_beats_ids_alone(tmp_path):
    """Recall@20 over validation and test together."""
    places = {"data_path": str(tmp_path / "data"), "runs_path": str(tmp_path), "cache_path": str(tmp_path)}
    short = {"learning_rate": 0.005, "epochs": 40, "stopping_step": 8, "save_recommended_topk": False}

    def recall(model: str, **settings) -> float:
        (trial,) = quick_start(model, "demo", places | short | settings, save_model=False).best
        return (trial.valid["recall@20"] + trial.test["recall@20"]) / 2

    both, ids_alone = recall("TMFUN"), recall("LightGCN")
    image, text = (recall("TMFUN", modalities=[name]) for name in demo.WIDTHS)
    assert both > 1.15 * max(image, text)
    assert both > 1.05 * ids_alone
