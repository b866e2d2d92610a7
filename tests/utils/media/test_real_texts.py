"""Real texts: what MiniLM finds near on Sports is bought together, far more than chance would have it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from utils import cli
from utils.checking.order import nearest
from utils.config import PROJECT

SPORTS = PROJECT.parent / "shared" / "data" / "sports"
SHUFFLES = 20


def shared_buyers(inter: Path, n_items: int) -> sp.csr_matrix:
    """How many users have both items in training (I, I)."""
    users, items, labels = np.loadtxt(inter, skiprows=1, dtype=np.int64, delimiter="\t").T
    train = labels == 0
    pairs = sp.csr_matrix((np.ones(train.sum(), dtype=np.float32), (items[train], users[train])))
    pairs.resize(n_items, pairs.shape[1])
    return (pairs @ pairs.T).tocsr()


def over_chance(buyers: sp.csr_matrix, neighbours: np.ndarray) -> dict[str, tuple[float, float]]:
    """Of neighbours (I, k): pairs with a common buyer, and common buyers of a pair, beside those under shuffled ids."""
    items = np.arange(len(neighbours))
    rng = np.random.default_rng(0)
    orders = [items, *(rng.permutation(len(items)) for _ in range(SHUFFLES))]
    first = np.repeat(items, neighbours.shape[1])
    counts = np.array([np.asarray(buyers[o[first], o[neighbours.ravel()]]).ravel() for o in orders])
    return {
        "pairs": ((counts[0] > 0).mean(), (counts[1:] > 0).mean()),
        "buyers": (counts[0].mean(), counts[1:].mean()),
    }


@pytest.mark.slow
@pytest.mark.skipif(
    not SPORTS.exists(), reason="../shared/data is absent: the real data sets are not shipped"
)
def test_what_is_near_by_key_phrases_is_bought_together(minilm, tmp_path):
    texts = SPORTS / "item_keywords.json"
    folder = tmp_path / "sports"
    folder.mkdir()
    (folder / "sports.inter").symlink_to(SPORTS / "sports.inter")
    places = [f"data_path={tmp_path}", f"cache_path={tmp_path / 'cache'}"]
    assert cli.main(["features", "-d", "sports", "--text", str(minilm), "--texts", str(texts), *places]) == 0

    features = np.load(folder / "text_feat.npy", allow_pickle=False)
    n_items = len(json.loads(texts.read_text()))
    assert features.shape == (n_items, 384) and np.load(folder / "text_mask.npy", allow_pickle=False).all()
    everything = np.ones(n_items, dtype=bool)
    ours = nearest(features, everything, np.arange(n_items))
    found = over_chance(shared_buyers(SPORTS / "sports.inter", n_items), ours)
    true = np.load(SPORTS / "text_knn10.npz", allow_pickle=False)["neighbours"]
    overlap = np.mean([len({*a} & {*b} - {i}) / 9 for i, (a, b) in enumerate(zip(ours, true, strict=True))])
    assert found["pairs"][0] > 10 * found["pairs"][1]  # .0717 against .0057
    assert found["buyers"][0] > 10 * found["buyers"][1]  # .1047 against .0062; the true features have .158
    assert (
        overlap > 0.25
    )  # .277 of the nine others of text_knn10.npz; the texts are key phrases, not the true ones
