"""Atomic files: whole, or as they were."""

from __future__ import annotations

import json
import os
import stat

import numpy as np
import pytest

from utils.files import atomic_write, write_json, write_npz


def test_content_replaces_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a longer old content")
    atomic_write(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_the_old_file_stands_while_the_new_one_is_written(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        assert (
            len(os.listdir(tmp_path)) == 2
        )  # the new one is beside it, so that the rename stays on one disk

    atomic_write(path, write)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_a_failing_writer_leaves_no_trace(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half")
        raise error

    with pytest.raises(error):
        atomic_write(path, fail)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_content_is_on_the_disk_before_it_takes_the_place(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(os.fstat(fd).st_size), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    atomic_write(tmp_path / "file", lambda file: file.write(b"12345"))
    assert calls == [5, "replace"]


def test_a_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_text("")
    atomic_write(tmp_path / "file", lambda file: file.write(b""))
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "file")]
    assert modes[0] == modes[1]


def test_json_reads_back(tmp_path):
    content = {"a": [1, 2.5, None, "ü"], "b": {"c": True}, "d": np.float64(0.1)}
    write_json(tmp_path / "x.json", content)
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == content


def test_json_has_null_for_what_json_lacks(tmp_path):
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": [float("inf"), (np.float64("-inf"), 1.0)]})
    found = json.loads((tmp_path / "x.json").read_text(), parse_constant=pytest.fail)
    assert found == {"a": None, "b": [None, [None, 1.0]]}


def test_npz_reads_back_and_is_compressed(tmp_path):
    arrays = {"ids": np.arange(10_000), "scores": np.zeros((100, 100), dtype=np.float32)}
    write_npz(tmp_path / "x.npz", **arrays)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as found:
        assert set(found.files) == set(arrays)
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
    assert (tmp_path / "x.npz").stat().st_size < sum(array.nbytes for array in arrays.values()) / 2


def test_npz_has_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        write_npz(tmp_path / name, ids=np.arange(5), scores=np.ones(2))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
