"""A small data folder, and a stand-in for the configuration that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utils.config.settings import STUDY
from utils.data.dataset import Dataset

DEFAULTS = {
    "dataset": "tiny", "USER_ID_FIELD": "userID", "ITEM_ID_FIELD": "itemID", "inter_splitting_label": "x_label",
    "field_separator": "\t", "filter_out_cod_start_users": True,
    "missing_treatment": "drop", "seed": 1, **STUDY,
}  # fmt: skip


class Settings(dict):
    """Settings by name, None where there is none; folders below `root`."""

    def __init__(self, root: Path, **settings: Any):
        super().__init__({**DEFAULTS, "data_path": root / "data", "cache_path": root / "cache"} | settings)

    def __getitem__(self, name: str) -> Any:
        return self.get(name)

    def path(self, name: str) -> Path:
        return Path(self[name])

    def origin(self, name: str) -> str:
        return self.get("origin", "dataset/tiny.yaml")


class Folder:
    """The folder of the data set `tiny`: 3 users, 4 items, every user in training."""

    ROWS = ((0, 0, 0), (0, 1, 0), (1, 1, 0), (2, 2, 0), (0, 2, 1), (1, 0, 1), (2, 3, 2), (1, 3, 2))

    def __init__(self, root: Path):
        self.root, self.path, self.inter = root, root / "data" / "tiny", root / "data" / "tiny" / "tiny.inter"
        self.path.mkdir(parents=True)
        self.rows(self.ROWS)

    def rows(self, rows: Any) -> Path:
        lines = ["userID\titemID\tx_label", *("\t".join(map(str, row)) for row in rows)]
        self.inter.write_text("\n".join(lines) + "\n")
        return self.inter

    def features(self, name: str = "image", values: Any = None, file: str | None = None) -> Path:
        path = self.path / (file or f"{name}_feat.npy")
        np.save(path, np.random.default_rng(0).standard_normal((4, 5)) if values is None else values)
        return path

    def graph(self, name: str = "image", neighbours: Any = None, cosine: Any = None, **others: Any) -> Path:
        """A ring of 4 items with k neighbours each, k by the shape of `neighbours`."""
        ring = (np.arange(4)[:, None] + np.arange(3)) % 4 if neighbours is None else np.asarray(neighbours)
        values = np.tile(1 - np.arange(ring.shape[1]) / 8, (len(ring), 1)) if cosine is None else cosine
        path = self.path / others.pop("file", f"{name}_knn{ring.shape[1]}.npz")
        np.savez(
            path, **{"neighbours": ring.astype(np.int32), "cosine": np.asarray(values, np.float32)} | others
        )
        return path

    def load(self, **settings: Any) -> Dataset:
        return Dataset.load(Settings(self.root, **settings))


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(tmp_path)
