"""The published figures: every row of the file, some by hand, when they are comparable, and faults."""

from __future__ import annotations

import doctest

import pytest

from common.registry import get_model
from utils.config import SRC, Config
from utils.config.yaml_reader import read_mapping
from utils.errors import UserError
from utils.leaderboard import published as module
from utils.leaderboard.published import PUBLISHED, comparable, published

DATASETS = ["baby", "sports", "clothing", "elec", "microlens"]
FIGURES = {dataset: published(dataset) for dataset in DATASETS}
METRICS = ["recall@10", "recall@20", "ndcg@10", "ndcg@20"]


def test_every_row_of_the_file():
    content = read_mapping(PUBLISHED, "published.yaml")
    assert list(content) == DATASETS
    for dataset, figures in FIGURES.items():
        assert (SRC / "configs" / "dataset" / f"{dataset}.yaml").is_file()
        assert len(figures) == sum(len(entries) for entries in content[dataset].values())
        assert len({(figure.model, figure.source) for figure in figures}) == len(figures)
        for figure in figures:
            assert [name for name in METRICS if name in figure.metrics] == list(figure.metrics)
            assert all(0.005 < value < 0.2 for value in figure.metrics.values()), figure


def test_figures_are_in_order_of_size():
    """A longer list has no less recall, and NDCG is below recall in these data: typing errors would show."""
    for figure in (figure for figures in FIGURES.values() for figure in figures):
        recall10, recall20, ndcg10, ndcg20 = (figure.metrics.get(name) for name in METRICS)
        assert recall10 is None or recall20 is None or recall10 < recall20, figure
        assert ndcg20 is None or ndcg20 < recall20, figure
        assert ndcg10 is None or ndcg10 < min(recall10, ndcg20), figure


def test_mmrecs_readme_comes_first():
    for figures in FIGURES.values():
        sources: dict[str, list[str]] = {}
        for figure in figures:
            sources.setdefault(figure.model, []).append(figure.source)
        assert all("MMRec README" not in of_model[1:] for of_model in sources.values())
        in_readme = [of_model[0] == "MMRec README" for of_model in sources.values()]
        assert sum(in_readme) in (0, 10, 11)


@pytest.mark.parametrize(
    ("dataset", "model", "source", "values"),
    [
        ("baby", "BPR", "MMRec README", [0.0357, 0.0575, 0.0192, 0.0249]),
        ("baby", "FREEDOM", "MMRec README", [0.0627, 0.0992, 0.0330, 0.0424]),
        ("baby", "MGCN", "MGCN paper", [0.0620, 0.0964, 0.0339, 0.0427]),
        ("baby", "SMORE", "a user in kennethorq/SMORE#2", [0.0665, 0.1019, 0.0362, 0.0453]),
        ("sports", "LATTICE", "MMRec README", [0.0620, 0.0953, 0.0335, 0.0421]),
        ("sports", "COHESION", "COHESION README", [0.0752, 0.1137, 0.0409, 0.0503]),
        ("clothing", "VBPR", "FREEDOM paper via MENTOR README", [0.0281, 0.0415, 0.0158, 0.0192]),
        ("clothing", "BM3", "re-run in SMORE paper", [0.0418, 0.0636, 0.0225, 0.0281]),
        ("elec", "LightGCN", "MMRec README", [0.0363, 0.0540, 0.0204, 0.0250]),
        ("microlens", "MGCN", "fork of MMRec with seed 999", [0.0755, 0.1130, 0.0386, 0.0483]),
    ],
)
def test_copied_by_hand(dataset, model, source, values):
    [figure] = [figure for figure in published(dataset, [model]) if figure.source == source]
    assert figure.metrics == dict(zip(METRICS, values, strict=True))


def test_what_a_source_does_not_give_is_absent():
    [*_, figure] = published("baby", ["BM3"])
    assert (figure.source, figure.metrics) == ("a user in enoche/BM3#2", {"recall@10": 0.0553})
    [figure] = published("sports", ["DANCE"])
    assert figure.metrics == {"recall@20": 0.1198, "ndcg@20": 0.0559}


def test_choice_of_models():
    assert {figure.model for figure in published("baby", ["BPR", "BM3", "Unheard"])} == {"BPR", "BM3"}
    assert published("baby", []) == []
    assert published("demo") == []


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("filtered", [True, False])
def test_comparable_only_under_mmrecs_protocol(masked, filtered):
    config = run_settings(mask_validation_at_test=masked, filter_out_cod_start_users=filtered)
    assert comparable(config) == (filtered and not masked)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("modalities", {"image": "image_feat_surrogate.npy", "text": "text_feat_surrogate.npy"}),
        ("modalities", ["text"]),
        ("modality_ablation", "zero"),
        ("modality_noise", 0.5),
        ("modality_shuffle", "items"),
    ],
)
def test_comparable_only_with_the_content_of_the_data_set(name, value):
    """Unless the model reads none, as BPR."""
    assert comparable(run_settings())
    assert not comparable(run_settings(**{name: value}))
    assert comparable(run_settings(**{name: value}, is_multimodal_model=False))


def run_settings(**changed):
    settings = Config("VBPR", "baby", model_settings=get_model("VBPR").settings).final_config_dict
    assert not changed.keys() - settings.keys()
    return settings | changed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("baby: 3", "published.yaml, baby: expected names of models.*found 3"),
        ("baby: {BPR: 0.5}", "published.yaml, baby, BPR: expected a list of figures.*found 0.5"),
        ("baby: {BPR: []}", r"baby, BPR: expected a list of figures, each with its source; found \[\]"),
        ("baby: {BPR: [0.5]}", "baby, BPR: every figure needs a source and metrics; found 0.5"),
        ("baby: {BPR: [{recall@20: 0.5}]}", "every figure needs a source and metrics"),
        ("baby: {BPR: [{source: 3, recall@20: 0.5}]}", "every figure needs a source and metrics"),
        ("baby: {BPR: [{source: X}]}", "baby, BPR: 'X' gives no metric; add one such as recall@20"),
        (
            "baby: {BPR: [{source: X, recal@20: 0.5}]}",
            "BPR, 'X': unknown metric 'recal'; did you mean 'recall'",
        ),
        ("baby: {BPR: [{source: X, recall: 0.5}]}", "BPR, 'X': metric 'recall' has no cut-off"),
        ("baby: {BPR: [{source: X, recall@20: 5.75}]}", "BPR, 'X': recall@20 must be a share.*found 5.75"),
        ("baby: {BPR: [{source: X, recall@20: -0.1}]}", "must be a share such as 0.0883, from 0 to 1"),
        ("baby: {BPR: [{source: X, recall@20: .nan}]}", "must be a share.*found nan"),
        ("baby: {BPR: [{source: X, recall@20: high}]}", "must be a share.*found 'high'"),
    ],
)
def test_faults(tmp_path, text, message):
    path = tmp_path / "published.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        published("baby", path=path)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="published.yaml cannot be read"):
        published("baby", path=tmp_path / "published.yaml")


def test_doctests():
    failed, attempted = doctest.testmod(module)
    assert attempted >= 2
    assert failed == 0
