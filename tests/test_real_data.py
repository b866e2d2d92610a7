"""Real data sets: what is read of them, and, by the marker `slow`, figures against published ones.

The slow tests take minutes each (`make test-slow`); their results are in docs/results.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from common.graph import Mixture, knn_graph
from utils.config import Config
from utils.data.dataset import Dataset
from utils.quick_start import quick_start

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not (DATA / "baby").exists(), reason="../shared/data is absent: the real data sets are not shipped"
)


def load(name: str, **settings) -> Dataset:
    return Dataset.load(Config("TMFUN", name, {"data_path": str(DATA)} | settings))


@pytest.mark.parametrize(
    ("name", "sizes", "splits", "modalities"),
    [
        ("baby", (19_445, 7_050), (118_551, 20_559, 21_682), ["image", "text"]),
        ("sports", (35_598, 18_357), (218_409, 37_899, 40_029), ["image", "text"]),
        ("clothing", (39_387, 23_033), (197_338, 40_150, 41_189), []),
        ("lfm2k", (1_858, 1_425), (44_327, 4_799, 7_219), ["text", "audio"]),
    ],
)
def test_sizes_splits_and_modalities(name, sizes, splits, modalities):
    dataset = load(name)
    assert (dataset.n_users, dataset.n_items) == sizes
    assert (len(dataset.train), len(dataset.valid), len(dataset.test)) == splits
    assert list(dataset.modalities) == modalities and dataset.users_dropped == 0


def test_freedoms_graph_of_baby_has_as_many_edges_as_the_published_one():
    graphs = [knn_graph(modality.knn(10)) for modality in load("baby").modalities.values()]
    graph = Mixture(graphs)([0.1, 0.9])
    assert graph.values.numel() == 126_598
    assert graph.to_scipy().sum(1).min() == pytest.approx(1, abs=1e-5)


def test_surrogate_features_stand_beside_the_true_graphs():
    entries = {
        m: {"features": f"{m}_feat_surrogate.npy", "graph": f"{m}_knn10.npz"} for m in ("image", "text")
    }
    modalities = load("baby", modalities=entries).modalities
    true = load("baby").modalities
    for name, modality in modalities.items():
        assert modality.features().shape == (7_050, 128)
        assert (modality.knn(10).neighbours == true[name].knn(10).neighbours).all()


def test_an_epoch_of_tmfun_on_baby_learns(tmp_path):
    settings = {"epochs": 2, "data_path": str(DATA), "runs_path": str(tmp_path), "eval_step": 2}
    (trial,) = quick_start("TMFUN", "baby", settings).best
    assert trial.valid["recall@20"] > 0.045  # 2 of 7,050 items at random: .003
    assert trial.history[1]["loss"] < trial.history[0]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "settings", "expected", "tolerance"),
    [
        ("FREEDOM", {"reg_weight": 0.0, "dropout": 0.8}, 0.0976, 0.0025),
        ("LightGCN", {"n_layers": 4, "reg_weight": 1e-2}, 0.0754, 0.003),
        ("BPR", {"reg_weight": 0.1}, 0.0595, 0.003),
    ],
)
def test_recall_on_baby(model, settings, expected, tolerance, tmp_path):
    """Test Recall@20 at the setting chosen on validation, default protocol, seed 999."""
    places = {"data_path": str(DATA), "runs_path": str(tmp_path)}
    (trial,) = quick_start(model, "baby", settings | places).best
    assert trial.test["recall@20"] == pytest.approx(expected, abs=tolerance)
