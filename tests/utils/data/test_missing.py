"""Items without content, and content changed to learn what it is worth: masks, treatments, studies, models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from boards import Lab
from torch.testing import assert_close
from toys import BASE, ToyConfig

from common.graph import item_knn
from common.registry import get_model, list_models
from utils.config import Config
from utils.config.settings import studied
from utils.data.batches import TrainDataLoader
from utils.data.dataset import Dataset
from utils.errors import UserError
from utils.experiments.sweep import run_all
from utils.leaderboard.selection import leaderboard

N = 40
RNG = np.random.default_rng(5)
IMAGE = RNG.standard_normal((N, 6)).astype(np.float32)
TEXT = RNG.standard_normal((N, 3)).astype(np.float32)
MISSING = np.array([1, 7, 30])
MASK = ~np.isin(np.arange(N), MISSING)
MULTIMODAL = [name for name in list_models() if name not in ("BPR", "LightGCN")]
NAN = np.where(MASK[:, None], IMAGE, np.nan)


@pytest.fixture
def load(folder):
    """The data set of 40 items anew, with other files or settings."""
    folder.rows([(user, item, (0, 0, 0, 1, 2)[(item + user) % 5]) for user in range(8) for item in range(N)])
    folder.features("image", IMAGE)
    folder.features("text", TEXT)

    def call(**settings) -> Dataset:
        return folder.load(**settings)

    call.folder = folder
    return call


def mark(folder, how: str) -> None:
    """The items MISSING have no image, by a mask or by rows of NaN."""
    if how == "mask":
        np.save(folder.path / "image_mask.npy", MASK)
    else:
        folder.features("image", NAN)


# --------------------------------------------------------------------------------------------------- who has what


@pytest.mark.parametrize("how", ["mask", "nan"])
def test_a_mask_and_rows_of_nan_say_the_same(load, how):
    assert load().modalities["image"].present is None
    mark(load.folder, how)
    data = load()
    image = data.modalities["image"]
    assert np.array_equal(image.present, MASK) and data.modalities["text"].present is None
    features = image.features().numpy()
    assert np.array_equal(features[MASK], IMAGE[MASK]) and not features[~MASK].any()
    assert any("rows of NaN in image_feat.npy: 3, the first is row 1" in w for w in data.warnings) == (
        how == "nan"
    )
    assert "3 items without it (drop)" in image.describe() or how == "nan"


@pytest.mark.parametrize("treatment", ["drop", "zero", "mean", "neighbours"])
def test_a_graph_file_does_not_bring_back_what_is_missing(load, treatment):
    knn = item_knn(torch.from_numpy(IMAGE), 4)
    load.folder.graph(neighbours=knn.neighbours, cosine=knn.cosine)
    assert np.array_equal(load().modalities["image"].knn(4).neighbours, knn.neighbours)
    np.save(load.folder.path / "image_mask.npy", np.ones(N, dtype=bool))
    assert not load().modalities["image"].is_changed, "a mask of all items changes nothing"
    graphs = []
    for how in ("mask", "nan"):
        mark(load.folder, how)
        graphs.append(load(missing_treatment=treatment).modalities["image"].knn(4).neighbours)
        (load.folder.path / "image_mask.npy").unlink(missing_ok=True)
    assert np.array_equal(*graphs) and not np.array_equal(graphs[0], knn.neighbours)


def test_nan_under_a_mask_is_no_error_and_beside_numbers_it_is(load, fails):
    mark(load.folder, "mask")
    half = IMAGE.copy()
    half[MISSING, 0] = np.nan
    load.folder.features("image", half)
    assert not load().modalities["image"].features()[MISSING].any()
    (load.folder.path / "image_mask.npy").unlink()
    fails(load().modalities["image"].features, "NaN or infinite values, as float32, in 3 of 40 rows")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (MASK.astype(int), "image_mask.npy holds int64 of shape (40,); expected a bool for each of 40 items"),
        (MASK[1:], "image_mask.npy holds bool of shape (39,)"),
        (np.array([True, None] * 20), "cannot read"),
    ],
)
def test_a_wrong_mask_is_an_error_at_once(load, fails, mask, message):
    np.save(load.folder.path / "image_mask.npy", mask)
    fails(load, message)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04 and so on"])
def test_a_damaged_mask_is_an_error_at_once(load, fails, content):
    (load.folder.path / "image_mask.npy").write_bytes(content)
    fails(load, "image_mask.npy")


def test_a_modality_that_no_item_has_is_an_error(load, fails):
    np.save(load.folder.path / "image_mask.npy", np.zeros(N, dtype=bool))
    fails(load().modalities["image"].features, "no item has the modality 'image' of 'tiny'")


def test_the_mask_belongs_to_the_content_of_the_data(load):
    before = load().digest()
    assert load(missing_rate=0.5, modality_ablation="text").digest() == before
    mark(load.folder, "mask")
    assert load().digest() != before


# ---------------------------------------------------------------------------------------------------- treatments


def test_dropped_items_have_no_neighbours_and_are_none(load):
    mark(load.folder, "nan")
    knn = load().modalities["image"].knn(4)
    assert (knn.neighbours[MISSING] == -1).all() and not np.isin(knn.neighbours[MASK], MISSING).any()
    among = np.flatnonzero(MASK)
    assert np.array_equal(knn.neighbours[MASK], among[item_knn(torch.from_numpy(IMAGE[MASK]), 4).neighbours])


def test_zeros_are_near_themselves_alone(load):
    mark(load.folder, "nan")
    knn = load(missing_treatment="zero").modalities["image"].knn(4)
    assert np.array_equal(knn.neighbours[MISSING], [[item, -1, -1, -1] for item in MISSING])
    assert not np.isin(knn.neighbours[MASK], MISSING).any()


def test_the_mean_is_that_of_the_items_that_have_it(load):
    mark(load.folder, "mask")
    features = load(missing_treatment="mean").modalities["image"].features().numpy()
    assert np.allclose(features[MISSING], IMAGE[MASK].mean(0), atol=1e-6)
    assert np.array_equal(features[MASK], IMAGE[MASK])


def test_neighbours_by_the_other_modalities_are_averaged(load):
    mark(load.folder, "mask")
    data = load(missing_treatment="neighbours")
    features = data.modalities["image"].features().numpy()
    near = item_knn(torch.from_numpy(TEXT), 10).neighbours
    for item in MISSING:
        others = [other for other in near[item] if other != item and MASK[other]]
        assert np.allclose(features[item], IMAGE[others].mean(0), atol=1e-6)
    assert data.modalities["image"].knn(3).neighbours.min() >= 0


def test_without_such_neighbours_the_mean_of_all_and_a_warning(load):
    mark(load.folder, "mask")
    np.save(load.folder.path / "text_mask.npy", MASK)
    data = load(missing_treatment="neighbours")
    features = data.modalities["image"].features().numpy()
    assert np.allclose(features[7], IMAGE[MASK].mean(0), atol=1e-6)
    assert not np.isnan(features).any()
    data.modalities["image"].features()
    warnings = [one for one in data.warnings if one.startswith("image: ")]
    assert warnings == [
        "image: 3 of 3 items without content have no neighbour with content by another modality, "
        "and get the mean of all"
    ]


def test_every_treatment_has_graphs_of_its_own_in_the_cache(load):
    mark(load.folder, "mask")
    treatments = ("drop", "zero", "mean", "neighbours")
    graphs = [load(missing_treatment=one).modalities["image"].knn(4).neighbours for one in treatments]
    again = [load(missing_treatment=one).modalities["image"].knn(4).neighbours for one in treatments]
    assert all(np.array_equal(a, b) for a, b in zip(graphs, again, strict=True))
    assert len({graph.tobytes() for graph in graphs}) == 4


# --------------------------------------------------------------------------------------------- graphs without features


@pytest.fixture
def graph_alone(load):
    """The image as a graph of 6 neighbours alone."""
    knn = item_knn(torch.from_numpy(IMAGE), 6)
    load.folder.graph(neighbours=knn.neighbours, cosine=knn.cosine)
    (load.folder.path / "image_feat.npy").unlink()
    load.knn = knn
    return load


@pytest.mark.parametrize("treatment", ["drop", "zero"])
def test_a_graph_loses_the_items_without_content(graph_alone, treatment):
    mark(graph_alone.folder, "mask")
    knn = graph_alone(missing_treatment=treatment).modalities["image"].knn(6)
    for item in range(N):
        kept = [other for other in graph_alone.knn.neighbours[item] if MASK[other]] if MASK[item] else []
        kept = [item] if treatment == "zero" and not MASK[item] else kept
        assert knn.neighbours[item].tolist() == kept + [-1] * (6 - len(kept))
    assert (np.diff(knn.cosine, axis=1) <= 0).all() and not knn.cosine[knn.neighbours < 0].any()


def test_a_shuffled_graph_is_that_of_shuffled_features(graph_alone, load):
    renamed = graph_alone(modality_shuffle="image").modalities["image"].knn(6)
    load.folder.features("image", IMAGE)
    (load.folder.path / "image_knn6.npz").unlink()
    shuffled = load(modality_shuffle="image").modalities["image"]
    assert np.array_equal(np.sort(renamed.neighbours), np.sort(shuffled.knn(6).neighbours))


@pytest.mark.parametrize(
    "settings", [{"modality_noise": 0.5}, {"missing_rate": 0.3, "missing_treatment": "mean"},
                 {"missing_rate": 0.3, "missing_treatment": "neighbours"}],
)  # fmt: skip
def test_what_needs_features_says_so(graph_alone, fails, settings):
    fails(
        graph_alone(**settings).modalities["image"].knn, "modality 'image' of 'tiny' has kNN graphs alone", 6
    )


# -------------------------------------------------------------------------------------------------------- studies


def test_a_higher_rate_hides_more_of_the_same_and_each_seed_others(load):
    def hidden(name="image", **settings):
        present = load(**settings).modalities[name].present
        return set() if present is None else set(np.flatnonzero(~present))

    assert hidden() == set()
    some, more = hidden(missing_rate=0.2), hidden(missing_rate=0.6)
    assert 0 < len(some) < len(more) < N and some < more
    assert hidden(missing_rate=0.2) == some != hidden(missing_rate=0.2, seed=2)
    assert hidden("text", missing_rate=0.6) != more


def test_ablation_leaves_a_modality_out_and_the_data_the_same(load):
    data = load(modality_ablation="image")
    assert list(data.modalities) == ["text"] and "modality   image: left out" in data.describe()
    assert data.digest() == load().digest() and not load(modality_ablation="all").modalities


@pytest.mark.parametrize("setting", ["modality_ablation", "modality_shuffle"])
def test_an_unknown_modality_is_an_error(load, fails, setting):
    fails(
        lambda: load(**{setting: "imgae"}),
        f"{setting}=imgae: 'tiny' has no such modality; expected none, all, image",
    )


def test_a_shuffle_gives_each_item_the_content_and_the_mask_of_another(load):
    mark(load.folder, "mask")
    image = load(modality_shuffle="image").modalities["image"]
    features = image.features().numpy()
    own = {row.tobytes(): item for item, row in enumerate(IMAGE)}
    given = [own[row.tobytes()] for row in features[image.present]]
    assert sorted(given) == np.flatnonzero(MASK).tolist() and given != sorted(given)
    assert np.array_equal(load(modality_shuffle="image").modalities["text"].features().numpy(), TEXT)


def test_noise_is_in_standard_deviations_of_the_columns(load):
    image = load(modality_noise=0.5).modalities["image"]
    noise = (image.features().numpy() - IMAGE) / IMAGE.std(0)
    assert abs(noise.std() - 0.5) < 0.06 and abs(noise.mean()) < 0.06
    assert_close(image.features(), image.features())


def test_a_model_without_content_is_told_that_a_study_does_nothing():
    settings = {"missing_rate": [0, 0.5]}
    (warning,) = Config("BPR", "demo", settings, model_settings=get_model("BPR").settings).warnings
    assert warning == "missing_rate (config_dict) has no effect on BPR, which reads no content of items"
    assert not Config("VBPR", "demo", settings, model_settings=get_model("VBPR").settings).warnings


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5])
def test_a_rate_is_a_share(fails, rate):
    fails(lambda: Config("BPR", "demo", {"missing_rate": rate}), "missing_rate must be in [0, 1)")


# --------------------------------------------------------------------------------------------------------- models


def build(name: str, data: Dataset, **settings):
    own = Config(name, "demo", model_settings=get_model(name).settings).final_config_dict
    config = ToyConfig(own | BASE | {"embedding_size": 8, "knn_k": 4} | settings)
    torch.manual_seed(1)
    return get_model(name)(config, TrainDataLoader(config, data))


BATCH = torch.tensor([[0, 1, 2, 3], [1, 7, 30, 4], [30, 2, 1, 7]])


@pytest.mark.parametrize("treatment", ["drop", "zero", "mean", "neighbours"])
@pytest.mark.parametrize("name", MULTIMODAL)
def test_every_model_learns_with_every_treatment(load, name, treatment):
    mark(load.folder, "nan")
    model = build(name, load(missing_treatment=treatment)).train()
    model.pre_epoch_processing()
    loss = model.calculate_loss(BATCH)
    loss = sum(loss) if isinstance(loss, tuple) else loss
    loss.sum().backward()
    assert loss.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert model.eval().full_sort_predict([torch.arange(8)]).isfinite().all()


@pytest.mark.parametrize("name", MULTIMODAL)
def test_the_values_of_what_is_missing_have_no_say(load, name):
    """An item without an image is scored the same whatever is in its row of the file."""
    mark(load.folder, "mask")
    scores = []
    for value in (0, 100):
        load.folder.features("image", np.where(MASK[:, None], IMAGE, np.float32(value)))
        scores.append(build(name, load()).eval().full_sort_predict([torch.arange(8)]))
    assert_close(*scores, rtol=0, atol=0)


@pytest.mark.parametrize("attention", ["dot", "prior", "equal"])
@pytest.mark.parametrize("treatment", ["drop", "mean"])
def test_attention_gives_a_missing_modality_no_weight(load, attention, treatment):
    mark(load.folder, "mask")
    none = MASK.copy()
    none[[2, 7]] = False
    np.save(load.folder.path / "text_mask.npy", none)
    model = build("TMFUN", load(missing_treatment=treatment), attention=attention, n_heads=2)
    image, text = (model.modality_shares()[name] for name in ("image", "text"))
    both = np.setdiff1d(np.arange(N), [1, 2, 7, 30])
    assert not image[[1, 7, 30]].any() and not text[[2, 7, 1, 30]].any()
    assert_close(image[2], torch.tensor(1.0)) and text[2] == 0
    assert_close((image + text)[both], torch.ones(len(both)))
    assert image[both].min() > 0 and text[both].min() > 0


@pytest.mark.parametrize("treatment", ["drop", "mean"])
def test_a_users_content_is_the_mean_over_the_items_that_have_it(load, treatment):
    mark(load.folder, "mask")
    model = build("TMFUN", load(missing_treatment=treatment)).eval()
    g, items = model.sources()
    image, text = items.modal
    own = torch.from_numpy(model.own_items.to_scipy().toarray()) > 0
    for means, user in ((model.means, 0), (model.means_without(torch.tensor([0]), torch.tensor([0])), 0)):
        found = model._user_sources(g[: means.shape[0]], items, means)
        kept = own[user].clone()
        kept[0] &= means is model.means
        assert_close(found.modal[0][user], image[kept & torch.from_numpy(MASK)].mean(0))
        assert_close(found.modal[1][user], text[kept].mean(0))
        assert found.present[:, user].all()
    nothing = model._user_sources(g[:1], items, model.means_without(torch.tensor([0]), torch.tensor([0])).with_values(
        torch.zeros(int(own[0].sum()))
    ))  # fmt: skip
    assert not nothing.present.any() and not torch.cat(nothing.modal).any()


def test_the_contrast_of_modalities_is_of_items_with_both(load):
    settings = {"cl_pairs": ["modalities"], "cl_weight": 1.0, "reg_weight": 0.0}
    mark(load.folder, "mask")
    model = build("TMFUN", load(), **settings).train()
    _, items = model.sources()
    rows = torch.arange(N)
    kept = rows[torch.from_numpy(MASK)]
    all_of_them = model._contrast(items, model.fuse(items), rows)
    assert_close(all_of_them, model._contrast(items, model.fuse(items), kept))
    gone = rows[~torch.from_numpy(MASK)]
    assert model._contrast(items, model.fuse(items), gone) == 0


# ------------------------------------------------------------------------------------------------- the leaderboard


def test_changed_content_is_a_row_of_its_own(tmp_path):
    lab = Lab(tmp_path)
    lab.data_set("tiny")
    lab.trial("TMFUN", seed=1, quality=0.5)
    lab.trial("TMFUN", seed=1, quality=0.9, modality_ablation="image")
    lab.trial("TMFUN", seed=1, quality=0.1, missing_rate=0.5)
    (board,) = leaderboard(lab.store)
    names = {"TMFUN", "TMFUN (modality_ablation=image)", "TMFUN (missing_rate=0.5)"}
    assert {row.model for row in board.rows} == names
    assert all(row.n_settings == 1 for row in board.rows)
    assert studied("BPR", {}) == "BPR"


def test_a_sweep_shows_every_study_and_chooses_on_the_content_as_it_is(places, logged):
    settings = places | {
        "epochs": 1,
        "topk": [5, 20],
        "modality_ablation": ["none", "image"],
        "reg_weight": [0.1, 1e-5],
    }
    (sweep,) = run_all(["VBPR"], ["tiny"], settings)
    assert [(part.model, len(part.trials)) for part in sweep.by_study()] == [
        ("VBPR", 2), ("VBPR (modality_ablation=image)", 2)
    ]  # fmt: skip
    assert sweep.best[0].point["modality_ablation"] == "none"
    table = logged[-1] if "\n" in logged[-1] else "\n".join(logged)
    assert "\nVBPR (modality_ablation=image)  " in table and "\nVBPR: reg_weight=" in table


def test_a_rate_that_leaves_no_item_with_content_is_an_error(load):
    with pytest.raises(UserError, match="leaves no item"):
        data = load(missing_rate=0.999)
        data.modalities["image"].features()
