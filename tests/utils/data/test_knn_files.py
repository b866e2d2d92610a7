"""Files of kNN graphs: which are taken, in which order their rows are, and the cache."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from common.graph import ItemKNN
from utils.data import knn_files as module
from utils.data.knn_files import cached_knn, read_knn

RING = (np.arange(4)[:, None] + np.arange(3)) % 4
FALLING = np.tile(np.array([1.0, 0.5, 0.25]), (4, 1))


@pytest.fixture
def save(tmp_path):
    def call(neighbours=RING, cosine=FALLING, **others):
        arrays = {"neighbours": neighbours, "cosine": cosine} | others
        np.savez(tmp_path / "x.npz", **{name: array for name, array in arrays.items() if array is not None})
        return tmp_path / "x.npz"

    return call


def test_read_back(save):
    knn = read_knn(save(), 4, 3)
    assert (knn.neighbours.dtype, knn.cosine.dtype, knn.k) == (np.int32, np.float32, 3)
    np.testing.assert_array_equal(knn.neighbours, RING)
    np.testing.assert_array_equal(knn.cosine, FALLING)


def test_the_self_edge_may_be_missing(save):
    neighbours = (RING + 1) % 4
    np.testing.assert_array_equal(read_knn(save(neighbours), 4, 3).neighbours, neighbours)


def test_rows_out_of_order_are_sorted_ties_as_they_stand(save):
    neighbours = np.array([[3, 2, 1], [0, 1, 2], [2, 3, 0], [1, 3, 0]])
    cosine = np.array([[0.1, 0.9, 0.5], [0.5, 0.5, 0.5], [0.5, 0.5, 0.9], [0.9, 0.2, 0.1]])
    knn = read_knn(save(neighbours, cosine), 4, 3)
    np.testing.assert_array_equal(knn.neighbours, [[2, 1, 3], [0, 1, 2], [0, 2, 3], [1, 3, 0]])
    np.testing.assert_allclose(knn.cosine, [[0.9, 0.5, 0.1], [0.5] * 3, [0.9, 0.5, 0.5], [0.9, 0.2, 0.1]])


def test_places_without_a_neighbour_come_last_with_cosine_0(save):
    neighbours, cosine = RING.copy(), FALLING.copy()
    neighbours[0, 1] = neighbours[2] = -1
    cosine[0, 1], cosine[2], cosine[0, 2] = 7.0, np.nan, -0.5
    knn = read_knn(save(neighbours, cosine), 4, 3)
    np.testing.assert_array_equal(knn.neighbours[[0, 2]], [[0, 2, -1], [-1, -1, -1]])
    np.testing.assert_array_equal(knn.cosine[[0, 2]], [[1.0, -0.5, 0.0], [0.0, 0.0, 0.0]])


@hypothesis_settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40
)
@given(data=st.data(), k=st.integers(1, 4))
def test_order_against_plain_python(save, data, k):
    row = st.lists(
        st.tuples(st.integers(-1, 3), st.sampled_from([-1.0, 0.0, 0.5, 1.0])), min_size=k, max_size=k
    )
    rows = data.draw(st.lists(row, min_size=4, max_size=4))
    knn = read_knn(save(*(np.array([[pair[part] for pair in row] for row in rows]) for part in (0, 1))), 4, k)
    for neighbours, cosine, row in zip(knn.neighbours.tolist(), knn.cosine.tolist(), rows, strict=True):
        expected = sorted((pair for pair in row if pair[0] >= 0), key=lambda pair: -pair[1])
        expected += [(-1, 0.0)] * (k - len(expected))
        assert list(zip(neighbours, cosine, strict=True)) == expected


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"neighbours": None},
            "x.npz has no 'neighbours', it has cosine; expected an .npz file with neighbours",
        ),
        ({"cosine": None, "other": RING}, "x.npz has no 'cosine', it has neighbours, other; expected"),
        ({"cosine": FALLING[:, :2]}, "x.npz has neighbours (4, 3) and cosine (4, 2); expected"),
        (
            {"neighbours": RING[0], "cosine": FALLING[0]},
            "x.npz has neighbours (3,) and cosine (3,); expected",
        ),
        (
            {"neighbours": RING.astype(float)},
            "x.npz has neighbours of float64 and cosine of float64; expected",
        ),
        ({"cosine": RING}, "x.npz has neighbours of int64 and cosine of int64; expected"),
        ({"neighbours": RING[:3], "cosine": FALLING[:3]}, "x.npz has 3 rows; expected 4, one for each item"),
        (
            {"neighbours": RING[:, :2], "cosine": FALLING[:, :2]},
            "x.npz holds 2 neighbours, its name says 3; rename",
        ),
        (
            {"neighbours": RING + (RING == 3)},
            "x.npz, row 1: neighbour 4 is no item; expected ids from 0 to 3, or -1",
        ),
        (
            {"neighbours": RING - 2 * (RING == 0)},
            "x.npz, row 0: neighbour -2 is no item; expected ids from 0 to 3",
        ),
        (
            {"cosine": np.where(RING == 3, np.nan, FALLING)},
            "x.npz has NaN or infinite cosines in 3 rows, the first in row 1; expected numbers: build it anew",
        ),
        ({"cosine": np.where(RING == 0, np.inf, FALLING)}, "infinite cosines in 3 rows, the first in row 0"),
    ],
)
def test_graphs_that_are_not_taken(save, fails, arrays, message):
    fails(read_knn, message, save(**arrays), 4, 3)


def test_pickled_objects_are_never_loaded(save, fails):
    path = save(neighbours=np.array([[object] * 3] * 4, dtype=object))
    fails(
        read_knn,
        "x.npz: Object arrays cannot be loaded when allow_pickle=False; expected an .npz file",
        path,
        4,
        3,
    )


@pytest.mark.parametrize("content", [b"", b"neighbours", b"\x93NUMPY"])
def test_other_files(tmp_path, fails, content):
    (tmp_path / "x.npz").write_bytes(content)
    fails(read_knn, "x.npz is no .npz file, or is truncated; expected an .npz file", tmp_path / "x.npz", 4, 3)


def test_any_damage_is_an_error_or_harmless(save, fails):
    """A file cut anywhere is refused; with a bit flipped it is refused or says what it said before."""
    whole = save().read_bytes()
    for size in range(0, len(whole), 7):
        save().write_bytes(whole[:size])
        fails(read_knn, "x.npz", save.__closure__[0].cell_contents / "x.npz", 4, 3)


def test_file_that_cannot_be_read(tmp_path, fails):
    fails(read_knn, "x.npz: No such file or directory; expected an .npz file", tmp_path / "x.npz", 4, 3)


KNN = ItemKNN(RING.astype(np.int32), FALLING.astype(np.float32))


class Compute:
    """KNN, counting how often it is asked for."""

    calls = 0

    def __call__(self) -> ItemKNN:
        self.calls += 1
        return KNN


@pytest.fixture
def cached(tmp_path):
    def call(path=tmp_path / "cache" / "deep" / "x.npz"):
        call.warnings = []
        knn = cached_knn(path, 4, 3, call.compute, call.warnings.append)
        np.testing.assert_array_equal(knn.neighbours, KNN.neighbours)
        np.testing.assert_array_equal(knn.cosine, KNN.cosine)
        return path

    call.compute = Compute()
    return call


def test_cache_computes_once(cached):
    path = cached()
    assert (cached(), cached.compute.calls, cached.warnings) == (path, 1, [])
    assert sorted(os.listdir(path.parent)) == [".lock", "x.npz"]


def test_of_several_at_once_one_computes_and_the_others_wait(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        time.sleep(0.2)
        return ItemKNN(np.zeros((2, 1), np.int32), np.ones((2, 1), np.float32))

    def load(_):
        return cached_knn(tmp_path / "cache" / "x.npz", 2, 1, compute, calls.append).neighbours.tolist()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(load, range(4))) == [[[0], [0]]] * 4
    assert calls == [1]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:200], lambda b: b"", lambda b: b[:150] + b"\xff" * 60 + b[210:]]
)
def test_damaged_cache_file_is_replaced_with_a_warning(cached, damage):
    path = cached()
    path.write_bytes(damage(path.read_bytes()))
    cached()
    (warning,) = cached.warnings
    assert warning.startswith("cached kNN graph is computed anew: ") and str(path) in warning
    cached()
    assert (cached.compute.calls, cached.warnings) == (2, [])


def test_cache_file_of_other_items_is_replaced(cached):
    path = cached()
    np.savez(path, neighbours=RING[:2], cosine=FALLING[:2])
    cached()
    assert "has 2 rows; expected 4" in cached.warnings[0]


def test_folder_that_cannot_be_made_is_a_warning(cached, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    cached()
    (warning,) = cached.warnings
    assert warning.startswith(
        f"kNN graph not kept, as {tmp_path / 'cache' / 'deep'} cannot be written (Not a directory)"
    )
    assert "set cache_path=..." in warning


def test_folder_that_cannot_be_written_is_a_warning(cached, monkeypatch):
    def refuse(path, **arrays):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "write_npz", refuse)
    cached()
    assert "cannot be written (Permission denied)" in cached.warnings[0]
