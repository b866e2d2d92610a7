"""kNN graphs by FAISS: near the exact ones, of the same form, asked for by a setting, and told of."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from common.graph import ItemKNN, item_knn
from utils.data.approximate_knn import approximate_knn, recall
from utils.errors import UserError

faiss = pytest.importorskip("faiss", reason="FAISS is not installed (extra [faiss])")


@pytest.fixture(scope="module")
def clustered() -> torch.Tensor:
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((30, 16))
    rows = centres[draw.integers(30, size=3000)] + 0.5 * draw.standard_normal((3000, 16))
    rows[[5, 700]] = 0
    return torch.from_numpy(rows.astype(np.float32))


def test_it_has_nearly_all_exact_neighbours_and_says_how_many(clustered):
    exact, near = item_knn(clustered, 10), approximate_knn(clustered, 10)
    shared = np.mean(
        [len(np.intersect1d(*rows)) / 10 for rows in zip(exact.neighbours, near.neighbours, strict=True)]
    )
    assert 0.95 < shared <= 1
    told = recall(near, clustered)
    assert abs(told - (shared * 10 - 1) / 9) < 0.02
    assert recall(exact, clustered) == 1


def test_it_has_the_form_of_the_exact_graph(clustered):
    knn = approximate_knn(clustered, 10)
    assert (knn.neighbours.dtype, knn.cosine.dtype, knn.neighbours.shape) == (
        np.int32,
        np.float32,
        (3000, 10),
    )
    assert np.array_equal(knn.neighbours[:, 0], np.arange(3000)) and (knn.cosine[:, 0] == 1).all()
    assert (knn.neighbours[[5, 700], 1:] == -1).all() and not np.isin(knn.neighbours[:, 1:], [5, 700]).any()
    assert (np.diff(knn.cosine, axis=1) <= 1e-6).all()
    assert all(len(set(row)) == 10 for row in knn.neighbours[10:100])


def test_items_apart_have_no_neighbours(clustered):
    among = np.arange(3000) % 3 > 0
    knn = approximate_knn(clustered, 5, among)
    assert (knn.neighbours[~among] == -1).all() and not np.isin(
        knn.neighbours[among], np.flatnonzero(~among)
    ).any()
    assert recall(knn, clustered, among) > 0.95


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_items_and_rows_of_zeros(n):
    knn = approximate_knn(torch.eye(n, 8) + 0.1, 4)
    assert np.array_equal(knn.neighbours[:, 0], np.arange(n)) and (knn.neighbours >= 0).sum() == n * min(n, 4)
    assert (approximate_knn(torch.zeros(n, 8), 4).neighbours[:, 1:] == -1).all()


def test_a_graph_without_the_neighbours_has_no_recall(clustered):
    wrong = ItemKNN(
        np.tile(np.arange(10, dtype=np.int32) * 0 + 5, (3000, 1)), np.zeros((3000, 10), np.float32)
    )
    assert recall(wrong, clustered) == 0


def test_a_setting_asks_for_it_and_the_data_set_tells(folder):
    folder.features(values=np.random.default_rng(0).standard_normal((4, 5)))
    exact, data = folder.load(faiss_above=4), folder.load(faiss_above=3)
    assert np.array_equal(
        exact.modalities["image"].knn(2).neighbours, data.modalities["image"].knn(2).neighbours
    )
    (warning,) = data.warnings
    assert warning == (
        "image: the kNN graph is FAISS's, as there are more than faiss_above=3 items; it has 100.0% of the exact "
        "neighbours of 500 sampled items"
    )
    assert not exact.warnings
    assert len(list((folder.root / "cache").glob("*.npz"))) == 2


def test_without_faiss_the_error_says_what_to_do(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    folder.features()
    with pytest.raises(UserError, match=r"pip install '\.\[faiss\]'"):
        folder.load(faiss_above=3).modalities["image"].knn(2)
