"""Checkpoint files: whole or passed over, never more than two, a full disk said clearly."""

from __future__ import annotations

import os

import pytest
import torch

from utils.errors import StorageError
from utils.experiments.checkpoints import CheckpointFolder


@pytest.fixture
def told():
    return []


@pytest.fixture
def folder(tmp_path, told):
    return CheckpointFolder(tmp_path / "work", told.append)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.folder.iterdir())


def test_the_newest_is_read_and_the_last_two_are_kept(folder, told):
    assert folder.load() is None
    for epoch in (1, 2, 999999, 1000000):
        folder.save(epoch, {"epoch": epoch, "weights": torch.tensor([float(epoch)])})
    assert names(folder) == ["checkpoint-1000000.pt", "checkpoint-999999.pt"]
    assert folder.load()["weights"].item() == 1000000
    assert told == ["goes on after epoch 1000000"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "other"])
def test_a_damaged_checkpoint_is_told_of_and_the_one_before_used(folder, told, damage):
    for epoch in (1, 2):
        folder.save(epoch, {"epoch": epoch, "weights": torch.zeros(100)})
    path = folder.folder / "checkpoint-2.pt"
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    changed = {
        "truncated": content[:-10],
        "empty": b"",
        "flipped": content,
        "other": b"PK\x03\x04" + bytes(100),
    }[damage]
    path.write_bytes(changed)
    assert folder.load()["epoch"] == 1
    assert told[0].startswith("warning: checkpoint-2.pt is not used: ")
    assert told[1] == "goes on after epoch 1"


def test_nothing_is_unpickled(folder, told):
    class Evil:
        def __reduce__(self):
            return os.system, ("touch evil",)

    folder.save(1, {"evil": Evil()})
    assert folder.load() is None and "is not used" in told[0]


def test_a_disk_that_is_full_leaves_the_checkpoint_before(folder, monkeypatch):
    folder.save(1, {"epoch": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        StorageError, match="No space left on device; free space there and run the same command"
    ):
        folder.save(2, {"epoch": 2})
    assert names(folder) == ["checkpoint-1.pt"] and folder.load()["epoch"] == 1
