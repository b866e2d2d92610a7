"""Files of raw features: which are taken, what is said of the others, and what reading them shows."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from utils.data import features as module
from utils.data.features import FeatureFile, read_content


def save(path, values) -> FeatureFile:
    np.save(path, values)
    return FeatureFile.open(path, len(values))


def whole(file: FeatureFile) -> np.ndarray:
    return np.concatenate([rows for _, rows in file.blocks()])


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", "<i8", "|u1", "|i1"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("block", [1, 7, 10**6])
def test_blocks_are_the_rows_of_the_file(tmp_path, monkeypatch, dtype, order, block):
    monkeypatch.setattr(module, "BLOCK_VALUES", block)
    values = np.asarray(np.random.default_rng(0).integers(0, 100, (11, 3)), dtype, order)
    file = save(tmp_path / "x.npy", values)
    assert (file.shape, file.dtype) == ((11, 3), np.dtype(dtype))
    np.testing.assert_array_equal(whole(file), values)
    assert [start for start, _ in file.blocks()] == list(range(0, 11, max(1, block // 3)))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format(tmp_path, version):
    values = np.arange(6.0).reshape(3, 2)
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, values, version)
    np.testing.assert_array_equal(whole(FeatureFile.open(tmp_path / "x.npy", 3)), values)


def test_opening_reads_no_value(tmp_path, monkeypatch):
    monkeypatch.setattr(np, "memmap", None)
    assert save(tmp_path / "x.npy", np.full((4, 2), np.nan)).shape == (4, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.arange(4.0), "x.npy has shape (4,), 1 dimensions; expected an (items, width) matrix of numbers"),
        (np.zeros((4, 2, 3)), "x.npy has shape (4, 2, 3), 3 dimensions; expected an (items, width) matrix"),
        (np.zeros((4, 0)), "x.npy has shape (4, 0), no column; expected an (items, width) matrix"),
        (
            np.full((4, 2), "a"),
            "x.npy holds values of type <U1; expected an (items, width) matrix of numbers",
        ),
        (np.zeros((4, 2), complex), "x.npy holds values of type complex128; expected"),
        (np.zeros((4, 2), bool), "x.npy holds values of type bool; expected"),
        (np.zeros((4, 2), [("a", "f4")]), "x.npy holds values of type [('a', '<f4')]; expected"),
        (
            np.zeros((5, 2)),
            "x.npy has 5 rows; expected 4, one for each item of the interactions (largest id plus one)",
        ),
        (
            np.zeros((3, 2)),
            "x.npy has 3 rows; expected 4, one for each item of the interactions (largest id plus one)",
        ),
    ],
)
def test_layouts_that_are_not_taken(tmp_path, fails, values, message):
    np.save(tmp_path / "x.npy", values)
    fails(FeatureFile.open, message, tmp_path / "x.npy", 4)


class Bomb:
    """Pickled code that makes itself known when it runs."""

    ran = False

    def __reduce__(self):
        return setattr, (Bomb, "ran", True)


def test_pickled_objects_are_never_loaded(tmp_path, fails):
    np.save(tmp_path / "x.npy", np.array([[Bomb()]], dtype=object))
    fails(
        FeatureFile.open, "x.npy holds pickled Python objects, which are never loaded", tmp_path / "x.npy", 1
    )
    assert not Bomb.ran


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"1,2\n3,4\n", b"PK\x03\x04"])
def test_other_files(tmp_path, fails, content):
    (tmp_path / "x.npy").write_bytes(content)
    fails(FeatureFile.open, "x.npy is no .npy file; expected an (items, width) matrix", tmp_path / "x.npy", 4)


@pytest.mark.parametrize("size", [6, 7, 9, 40, 100])
def test_file_that_ends_in_the_header(tmp_path, fails, size):
    np.save(tmp_path / "x.npy", np.zeros((4, 2)))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:size])
    fails(FeatureFile.open, "x.npy has a damaged header; expected", tmp_path / "x.npy", 4)


@pytest.mark.parametrize("size", [128, 191])
def test_file_that_ends_in_the_values(tmp_path, fails, size):
    np.save(tmp_path / "x.npy", np.zeros((4, 2)))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:size])
    message = (
        f"x.npy is truncated: expected 192 bytes for shape (4, 2) and type float64, found {size}; copy or"
    )
    fails(FeatureFile.open, message, tmp_path / "x.npy", 4)


def test_header_that_is_no_literal(tmp_path, fails):
    np.save(tmp_path / "x.npy", np.zeros((4, 2)))
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content.replace(b"'<f8'", b"a() #"))
    fails(FeatureFile.open, "x.npy has a damaged header", tmp_path / "x.npy", 4)


def test_file_that_cannot_be_read(tmp_path, fails):
    fails(FeatureFile.open, "x.npy: No such file or directory; check the file", tmp_path / "x.npy", 4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_values_that_are_not_finite_in_float32(tmp_path, fails, monkeypatch, value):
    monkeypatch.setattr(module, "BLOCK_VALUES", 6)
    values = np.ones((9, 3))
    values[4, 1] = values[7, 0] = values[7, 2] = value
    message = (
        "x.npy has NaN or infinite values, as float32, in 2 of 9 rows, the first in row 4; write rows of NaN"
    )
    fails(read_content, message, save(tmp_path / "x.npy", values))


def test_zero_and_duplicated_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_VALUES", 6)
    values = np.arange(1.0, 31.0).reshape(10, 3)
    values[2] = values[8] = [0.0, -0.0, 0.0]
    values[7] = values[9] = values[3]
    values[6] = values[0]
    zero, repeated = read_content(save(tmp_path / "x.npy", values)).warnings
    assert zero.startswith(
        "all-zero rows in x.npy: 2, the first is row 2; such an item has no neighbour but itself"
    )
    assert repeated.startswith(
        "duplicated rows in x.npy: 3 equal an earlier row, the first is row 6, equal to row 0;"
    )
    assert "ties in a kNN graph break by lower id" in repeated


def test_rows_that_differ_in_the_sign_of_zero_are_duplicates(tmp_path):
    (warning,) = read_content(save(tmp_path / "x.npy", np.array([[1.0, 0.0], [1.0, -0.0]]))).warnings
    assert "duplicated rows in x.npy: 1 " in warning


def test_rows_that_are_equal_as_float32_are_duplicates(tmp_path):
    (warning,) = read_content(save(tmp_path / "x.npy", np.array([[1.0], [1.0 + 1e-12]]))).warnings
    assert "duplicated rows in x.npy: 1 " in warning


@hypothesis_settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)
@given(
    values=arrays.arrays(
        np.float32, st.tuples(st.integers(1, 12), st.integers(1, 2)), elements=st.sampled_from([0, 1, 2])
    ),
    block=st.integers(1, 30),
)
def test_counts_against_plain_python(tmp_path, values, block):
    rows = [tuple(row) for row in values.tolist()]
    zero = sum(not any(row) for row in rows)
    repeated = sum(row in rows[:n] and any(row) for n, row in enumerate(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_VALUES", block)
        warnings = read_content(save(tmp_path / "x.npy", values)).warnings
    assert [int(re.search(r"npy: (\d+)", warning)[1]) for warning in warnings] == [
        n for n in (zero, repeated) if n
    ]


def test_digest_depends_on_values_shape_and_type_alone(tmp_path, monkeypatch):
    values = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
    digest = read_content(save(tmp_path / "x.npy", values)).digest
    assert read_content(save(tmp_path / "y.npy", np.asfortranarray(values))).digest == digest
    shutil.copy(tmp_path / "x.npy", tmp_path / "z.npy")
    monkeypatch.setattr(module, "BLOCK_VALUES", 5)
    assert read_content(FeatureFile.open(tmp_path / "z.npy", 8)).digest == digest
    changed = values.copy()
    changed[7, 5] = np.nextafter(changed[7, 5], np.float32(9))
    for other in (
        changed,
        values.reshape(12, 4),
        values.astype(np.float64),
        values[:, ::-1],
        values.view(np.int32),
    ):
        assert read_content(save(tmp_path / "x.npy", other)).digest != digest
