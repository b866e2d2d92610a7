"""Figures on real data against published ones. Minutes each: `make test-slow`; results in docs/results.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from utils.quick_start import quick_start

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DATA / "baby").exists(), reason="../shared/data is absent: the real data sets are not shipped"
    ),
]


def test_recall(model, settings, expected, tolerance, tmp_path):
    """Test Recall@20 of one trial on Baby under the default protocol, seed 999."""
    places = {"data_path": str(DATA), "runs_path": str(tmp_path)}
    (trial,) = quick_start(model, "baby", settings | places).best
    assert trial.test["recall@20"] == pytest.approx(expected, abs=tolerance)


test_recall = pytest.mark.parametrize(
    ("model", "settings", "expected", "tolerance"),
    [
        pytest.param("FREEDOM", {"reg_weight": 0.0, "dropout": 0.8}, 0.0976, 0.0025, id="FREEDOM"),
        pytest.param("LightGCN", {"n_layers": 4, "reg_weight": 1e-3}, 0.0754, 0.003, id="LightGCN"),
        pytest.param("BPR", {"reg_weight": 0.1}, 0.0595, 0.003, id="BPR"),
    ],
)(test_recall)
