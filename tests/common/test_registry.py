"""What the registry knows of the models, and which pairings it refuses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from common.registry import check_pairing, describe_models, get_model, list_models, record
from utils.config import Config
from utils.errors import UserError

NOTHING = SimpleNamespace(name="nothing", modalities={})
GRAPHS = SimpleNamespace(name="graphs", modalities={"image": SimpleNamespace(has_features=False)})


def config_of(model: str, **settings) -> Config:
    return Config(model, "demo", settings, model_settings=get_model(model).settings)


@pytest.mark.parametrize(
    ("model", "settings", "needs"),
    [
        ("LightGCN", {}, "ids only"),
        ("VBPR", {}, "raw features"),
        ("BM3", {}, "raw features, no negatives"),
        ("FREEDOM", {}, "raw features"),
        ("FREEDOM", {"reg_weight": 0.0}, "kNN graphs or features"),
        ("LATTICE", {"lambda_coeff": 1.0}, "kNN graphs or features"),
        ("TMFUN", {}, "kNN graphs or features"),
        ("TMFUN", {"modality_input": "features"}, "raw features"),
    ],
)
def test_needs_follow_the_settings(model, settings, needs):
    assert record(model, config_of(model, **settings)).in_words() == needs


def test_every_model_has_its_line():
    lines = describe_models().splitlines()
    assert [line.split()[0] for line in lines] == list_models()
    assert "raw features, no negatives   bootstrapped multimodal model" in lines[list_models().index("BM3")]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("tmfun", "did you mean 'TMFUN'"), ("LightGC", "did you mean 'LightGCN'"), ("xyz", "known: BM3, BPR")],
)
def test_an_unknown_name_gets_the_nearest_one(name, hint):
    with pytest.raises(UserError, match=f"unknown model '{name}'; {hint}"):
        get_model(name)


@pytest.mark.parametrize(
    ("model", "settings", "dataset", "message"),
    [
        ("BM3", {}, NOTHING, "BM3 needs at least one modality, and 'nothing' has none"),
        ("VBPR", {}, GRAPHS, "VBPR needs raw features .* 'image' of 'graphs' has only a kNN graph"),
        (
            "BPR",
            {"use_neg_sampling": False},
            NOTHING,
            "BPR learns from negative items, and use_neg_sampling is false",
        ),
    ],
)
def test_pairings_that_cannot_work(model, settings, dataset, message):
    with pytest.raises(UserError, match=message):
        check_pairing(model, config_of(model, **settings), dataset)


def test_pairings_that_work():
    check_pairing("BPR", config_of("BPR"), NOTHING)
    check_pairing("TMFUN", config_of("TMFUN"), GRAPHS)
    check_pairing("FREEDOM", config_of("FREEDOM", reg_weight=0.0), GRAPHS)
    features = SimpleNamespace(name="features", modalities={"image": SimpleNamespace(has_features=True)})
    check_pairing("BM3", config_of("BM3", use_neg_sampling=True), features)
