"""Modalities: raw features as float32, kNN graphs from files, features and the cache, errors and warnings."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import torch

from common.features import side_by_side
from common.graph import ItemKNN, item_knn
from utils.data import features as features_module
from utils.data import modalities as module

VALUES = np.random.default_rng(3).integers(1, 100, (4, 5))


def same(knn: ItemKNN, neighbours, cosine) -> bool:
    assert (knn.neighbours.dtype, knn.cosine.dtype) == (np.int32, np.float32)
    return np.array_equal(knn.neighbours, neighbours) and np.array_equal(knn.cosine, np.float32(cosine))


@pytest.fixture
def image(folder):
    """The modality image of the folder, as loaded anew; `image.warnings` of the last load."""

    def call(**others):
        dataset = folder.load(**others)
        call.warnings = dataset.warnings
        return dataset.modalities["image"]

    return call


@pytest.fixture
def computed(monkeypatch):
    """How many graphs have been computed from features."""

    def count(features, k, **others):
        calls.append(k)
        return item_knn(features, k, **others)

    calls: list[int] = []
    monkeypatch.setattr(module, "item_knn", count)
    return calls


def cache(folder) -> list[str]:
    return sorted(path.name for path in (folder.root / "cache").glob("*.npz"))


# ----------------------------------------------------------------------------------------------- raw features


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", ">f8", "<i8", "<i4", "|u1"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("block", [1, 7, 10**6])
def test_features_are_float32_whatever_is_in_the_file(folder, image, monkeypatch, dtype, order, block):
    monkeypatch.setattr(features_module, "BLOCK_VALUES", block)
    folder.features(values=np.asarray(VALUES, dtype, order))
    features = image().features()
    assert (features.dtype, features.shape, features.is_contiguous()) == (torch.float32, (4, 5), True)
    np.testing.assert_array_equal(features.numpy(), VALUES)


def test_features_are_rounded_to_the_nearest_float32(folder, image):
    values = np.random.default_rng(0).standard_normal((4, 5)) * 10.0 ** np.arange(-40, 0, 10).reshape(4, 1)
    folder.features(values=values)
    np.testing.assert_array_equal(image().features().numpy(), values.astype(np.float32))


def test_features_are_a_fresh_copy_at_every_call(folder, image):
    path = folder.features(values=VALUES.astype(np.float32))
    content, modality = path.read_bytes(), image()
    modality.features().zero_()
    np.testing.assert_array_equal(modality.features().numpy(), VALUES)
    assert path.read_bytes() == content


def test_features_can_be_read_into_a_part_of_a_matrix(folder):
    folder.features("image", values=VALUES)
    folder.features("text", values=-VALUES[:, :2])
    modalities = folder.load(
        vision_feature_file="image_feat.npy", text_feature_file="text_feat.npy"
    ).modalities
    both = side_by_side([modalities["text"], modalities["image"]])
    assert both.dtype == torch.float32
    np.testing.assert_array_equal(both.numpy(), np.hstack([-VALUES[:, :2], VALUES]))


def test_shape_and_files(folder, image):
    folder.graph()
    modality = image()
    assert (modality.has_features, modality.shape, modality.features_file) == (False, None, None)
    folder.features()
    modality = image()
    assert (modality.has_features, modality.shape) == (True, (4, 5))
    assert modality.features_file == folder.path / "image_feat.npy"
    assert modality.graph_files == {3: folder.path / "image_knn3.npz"}


def test_features_that_are_missing_are_an_error_that_names_the_file(folder, image, fails):
    folder.graph(neighbours=[[0, 1]] * 4)
    folder.graph()
    message = (
        f"modality 'image' of 'tiny' has only a kNN graph (image_knn2.npz, image_knn3.npz), no raw features; "
        f"this model needs {folder.path / 'image_feat.npy'}"
    )
    fails(image().features, message)
    other = image(vision_feature_file="v.npy")
    fails(other.features, f"this model needs {folder.path / 'v.npy'}")


def test_headers_and_graphs_are_checked_at_once(folder, fails):
    folder.features(values=np.ones((3, 2)))
    fails(folder.load, "image_feat.npy has 3 rows; expected 4")
    folder.features(values=np.ones((4, 2)))
    folder.graph(cosine=np.full((4, 3), np.nan))
    fails(folder.load, "image_knn3.npz has NaN or infinite cosines in 4 rows")
    folder.graph(file="image_knn3.npz", neighbours=[[0, 1]] * 4)
    fails(folder.load, "image_knn3.npz holds 2 neighbours, its name says 3")


# -------------------------------------------------------------------------------------- values of the features


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_values_that_are_no_numbers_are_an_error_only_when_they_are_read(
    folder, image, fails, computed, value
):
    values = VALUES.astype(float)
    values[2, 1] = value
    folder.features(values=values)
    folder.graph(neighbours=[[0, 1]] * 4)
    modality = image()
    assert modality.describe() and modality.files.digest()
    message = "image_feat.npy has NaN or infinite values, as float32, in 1 of 4 rows, the first in row 2"
    for _ in range(2):
        fails(modality.features, message)
        fails(modality.knn, message, 3)
        fails(modality.knn, message, 2)  # a graph file does not say which rows are NaN
    assert (computed, image.warnings, cache(folder)) == ([], [], [])


@pytest.mark.parametrize("first", ["features", "knn"])
def test_zero_and_duplicated_rows_are_warned_of_once_when_they_are_read(folder, image, first):
    folder.features(values=np.array([[1, 2], [0, 0], [1, 2], [1, 2]]))
    modality = image()
    modality.describe(), modality.files.digest()
    assert image.warnings == []
    modality.features() if first == "features" else modality.knn(2)
    zero, repeated = image.warnings
    assert zero.startswith("all-zero rows in image_feat.npy: 1, the first is row 1;")
    assert repeated.startswith(
        "duplicated rows in image_feat.npy: 2 equal an earlier row, the first is row 2,"
    )
    for k in (1, 2, 3):
        modality.features(), modality.knn(k)
    assert image.warnings == [zero, repeated]


# ------------------------------------------------------------------------------------------ graphs from files


def test_the_smallest_graph_with_as_many_neighbours_is_taken_and_cut(folder, image, computed):
    ring = np.arange(4)[:, None]
    graphs = {k: (ring + np.arange(k) * k) % 4 for k in (1, 3)} | {2: (ring + [3, 2]) % 4}
    cosine = {k: np.tile(k / 8 - np.arange(k) / 64, (4, 1)) for k in graphs}
    for k in (3, 1, 2):
        folder.graph(neighbours=graphs[k], cosine=cosine[k])
    folder.graph(neighbours=np.tile(np.arange(12) % 4, (4, 1)))  # knn12 sorts before knn2 as text
    folder.features()
    modality = image()
    for k in (1, 2, 3):
        assert same(modality.knn(k), graphs[k], cosine[k])
    (folder.path / "image_knn1.npz").unlink()
    (folder.path / "image_knn3.npz").unlink()
    modality = image()
    assert same(modality.knn(1), graphs[2][:, :1], cosine[2][:, :1])
    assert same(modality.knn(3), [[0, 1, 2]] * 4, np.tile(1 - np.arange(3) / 8, (4, 1)))
    assert computed == []


def test_a_graph_from_a_file_is_the_callers_own(folder, image):
    path = folder.graph()
    content, modality = path.read_bytes(), image()
    first = modality.knn(2)
    expected = first.neighbours.copy(), first.cosine.copy()
    first.neighbours[:], first.cosine[:] = -1, 0
    assert same(modality.knn(2), *expected)
    assert path.read_bytes() == content


def test_more_neighbours_than_the_graphs_have_come_from_the_features(folder, image, computed):
    folder.features(values=VALUES)
    folder.graph(neighbours=[[3, 2]] * 4)
    modality = image()
    expected = item_knn(torch.from_numpy(VALUES), 3)
    assert same(modality.knn(3), expected.neighbours, expected.cosine)
    assert same(modality.knn(2), [[3, 2]] * 4, [[1, 7 / 8]] * 4)
    assert computed == [3]


def test_more_neighbours_than_the_graphs_have_without_features_are_an_error(folder, image, fails):
    folder.graph(neighbours=[[0, 1]] * 4)
    path = folder.graph()
    modality = image()
    assert modality.knn(3).k == 3
    message = f"{path} holds 3 neighbours, knn_k=4 was asked; provide image_feat.npy or lower knn_k"
    fails(modality.knn, message, 4)


@pytest.mark.parametrize("k", [0, -1])
@pytest.mark.parametrize("source", ["features", "graph"])
def test_fewer_than_one_neighbour_is_an_error(folder, image, fails, source, k):
    getattr(folder, source)()
    fails(image().knn, f"knn_k={k} was asked; expected at least 1, which is the item itself", k)


# ------------------------------------------------------------------------------------ graphs from the features


@pytest.mark.parametrize("k", [1, 3, 4, 6])
def test_graphs_of_features_are_the_nearest_items_computed_and_cached(folder, image, computed, k):
    folder.features(values=VALUES)
    expected = item_knn(torch.from_numpy(VALUES), k)
    for _ in range(2):  # the second comes from the cache
        assert same(image().knn(k), expected.neighbours, expected.cosine)
        assert image.warnings == []
    assert computed == [k]
    np.testing.assert_array_equal(expected.neighbours[:, 0], range(4))


def test_a_graph_is_computed_once_for_each_k(folder, image, computed):
    folder.features()
    modality = image()
    for k in (2, 3):
        assert modality.knn(k).k == k
    two, three = cache(folder)
    assert two.startswith("image-knn2-") and three.startswith("image-knn3-")
    shutil.rmtree(folder.root / "cache")
    for k in (2, 3):
        assert modality.knn(k).k == k
    assert computed == [2, 3]


def test_other_features_are_another_file_of_the_cache(folder, image, computed):
    folder.features(values=VALUES)
    image().knn(2)
    (old,) = cache(folder)
    stat = (folder.path / "image_feat.npy").stat()
    changed = VALUES.copy()
    changed[3] = changed[0] + 1
    os.utime(folder.features(values=changed), ns=(stat.st_atime_ns, stat.st_mtime_ns))  # not seen by its date
    knn, expected = image().knn(2), item_knn(torch.from_numpy(changed), 2)
    assert same(knn, expected.neighbours, expected.cosine)
    assert (len(cache(folder)), old in cache(folder), computed) == (2, True, [2, 2])
    folder.features(values=VALUES)
    image().knn(2)
    assert computed == [2, 2]


def test_the_same_features_elsewhere_use_the_same_file(folder, image, computed, tmp_path):
    folder.features(values=VALUES)
    image().knn(2)
    shutil.copytree(folder.path, tmp_path / "elsewhere" / "other")
    (tmp_path / "elsewhere" / "other" / "tiny.inter").rename(tmp_path / "elsewhere" / "other" / "other.inter")
    os.utime(tmp_path / "elsewhere" / "other" / "image_feat.npy", (1, 1))
    image(data_path=tmp_path / "elsewhere", dataset="other").knn(2)
    assert (computed, len(cache(folder))) == ([2], 1)


def test_another_version_of_the_computation_is_another_file(folder, image, computed, monkeypatch):
    folder.features()
    image().knn(2)
    monkeypatch.setattr(module, "KNN_VERSION", module.KNN_VERSION + 1)
    image().knn(2)
    assert (computed, len(cache(folder))) == ([2, 2], 2)


def test_a_damaged_file_of_the_cache_is_a_warning_and_computed_anew(folder, image, computed):
    folder.features()
    expected = image().knn(2)
    (name,) = cache(folder)
    (folder.root / "cache" / name).write_bytes(b"")
    assert same(image().knn(2), expected.neighbours, expected.cosine)
    (warning,) = image.warnings
    assert warning.startswith("cached kNN graph is computed anew: ") and name in warning
    image().knn(2)
    assert (computed, image.warnings) == ([2, 2], [])


def test_a_cache_that_cannot_be_written_is_a_warning(folder, image):
    folder.features()
    (folder.root / "cache").write_text("a file where the folder should be")
    assert image().knn(2).k == 2
    warning = image.warnings[-1]
    assert warning.startswith("kNN graph not kept, as ") and "set cache_path=..." in warning


# ------------------------------------------------------------------------------------------ describe and digest


def test_describe(folder, image):
    folder.graph()
    assert image().describe() == "image: kNN graph image_knn3.npz"
    folder.graph(neighbours=[[0]] * 4)
    folder.features(values=VALUES.astype(np.float16))
    assert image().describe() == (
        "image: raw features image_feat.npy (4, 5) float16, kNN graph image_knn1.npz, kNN graph image_knn3.npz"
    )


def test_digest_is_of_the_name_and_the_content_of_all_files(folder, image, tmp_path):
    def digest(change, **others):
        change()
        return image(**others).files.digest()

    folder.features(values=VALUES)
    digests = [
        digest(lambda: None),
        digest(lambda: folder.graph()),
        digest(lambda: folder.graph(cosine=np.tile([1, 0.5, 0.25], (4, 1)))),
        digest(lambda: folder.graph(neighbours=[[0, 1]] * 4)),
        digest(lambda: folder.features(values=VALUES + 1)),
        digest(lambda: (folder.path / "image_feat.npy").unlink()),
        digest(lambda: (folder.path / "image_knn2.npz").unlink()),
    ]
    assert len(set(digests)) == len(digests)
    shutil.copytree(folder.path, tmp_path / "elsewhere" / "tiny")
    assert image(data_path=tmp_path / "elsewhere").files.digest() == digests[-1]
    both = folder.load(modalities={"image": "image_knn3.npz", "text": "image_knn3.npz"}).files
    assert both["image"].digest() == digests[-1] != both["text"].digest()
