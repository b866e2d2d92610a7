"""A good small data set, whose content says what is bought together, and a place to break it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from utils.checking.checker import check_dataset
from utils.config import PROJECT

N_USERS, N_ITEMS, GROUPS = 150, 90, 9


class Good:
    """150 users, 90 items of 9 kinds; a user buys of two kinds, and rows of features are near within a kind."""

    def __init__(self, root: Path):
        self.root, self.path = root, root / "data" / "good"
        self.inter, self.configs, self.cache = self.path / "good.inter", root / "configs", root / "cache"

    def make(self) -> None:
        rng = np.random.default_rng(0)
        self.path.mkdir(parents=True)
        kinds = rng.permutation(np.arange(N_ITEMS) % GROUPS)  # neighbours by id are no neighbours by kind
        rows = []
        for user in range(N_USERS):
            liked = np.flatnonzero(np.isin(kinds, [user % GROUPS, (user + 1) % GROUPS]))
            mine = np.unique(np.append(rng.choice(liked, 10, replace=False), user % N_ITEMS))
            labels = np.zeros(len(mine), dtype=int)
            others = rng.permutation(np.flatnonzero(mine != user % N_ITEMS))  # so each item is in training
            labels[others[:1]], labels[others[1:2]] = 1, 2
            rows += [(user, item, label) for item, label in zip(mine, labels, strict=True)]
        self.write(rows)
        centres = rng.standard_normal((GROUPS, 12))
        for name in ("image", "text"):
            values = centres[kinds] + 0.3 * rng.standard_normal((N_ITEMS, 12))
            np.save(self.path / f"{name}_feat.npy", values.astype(np.float32))
        self.graph("shape", centres[kinds] + 0.3 * rng.standard_normal((N_ITEMS, 12)))
        np.save(self.path / "image_mask.npy", np.ones(N_ITEMS, dtype=bool))
        titles = "\n".join(["itemID,title", *(f"{item},thing {item}" for item in range(N_ITEMS))])
        (self.path / "items.csv").write_text(titles + "\n")
        (self.path / "good.yaml").write_text(
            "inter_file_name: good.inter\nvision_feature_file: image_feat.npy\n"
        )
        (self.configs / "dataset").mkdir(parents=True)
        shutil.copy(PROJECT / "src" / "configs" / "overall.yaml", self.configs)

    def graph(self, name: str, values: np.ndarray) -> None:
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        cosine = unit @ unit.T
        near = np.argsort(-cosine, axis=1)[:, :10]
        arrays = {
            "neighbours": near.astype(np.int32),
            "cosine": np.take_along_axis(cosine, near, 1).astype(np.float32),
        }
        np.savez(self.path / f"{name}_knn10.npz", **arrays)

    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.inter.read_text().splitlines()[1:]]

    def write(self, rows, header: str = "userID\titemID\tx_label") -> None:
        lines = [header, *("\t".join(map(str, row)) for row in rows)]
        self.inter.write_text("\n".join(lines) + "\n")

    def first(self, label: int) -> int:
        """Place of the first row of a split; its line is two more."""
        return next(place for place, row in enumerate(self.rows()) if row[2] == str(label))

    def edit(self, place: int, column: int, text: str) -> None:
        rows = self.rows()
        rows[place][column] = text
        self.write(rows)

    def features(self, name: str = "image") -> np.ndarray:
        return np.load(self.path / f"{name}_feat.npy")

    def save(self, values, name: str = "image", **how) -> None:
        np.save(self.path / f"{name}_feat.npy", values, **how)

    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.path / "shape_knn10.npz") as file:
            return dict(file)

    def yaml(self, text: str) -> None:
        """That of the data set among the configurations."""
        (self.configs / "dataset" / "good.yaml").write_text(text)

    def state(self) -> dict[str, tuple]:
        """Every file below the root, with its bytes, its time and where it leads."""
        return {
            str(path.relative_to(self.root)): (
                path.read_bytes() if path.is_file() else None,
                path.lstat().st_mtime_ns,
                str(path.readlink()) if path.is_symlink() else None,
            )
            for path in sorted(self.root.rglob("*"))
        }

    def check(self, dataset: str = "good", **overrides):
        """The report, after making sure that nothing was written."""
        before = self.state()
        places = {"data_path": str(self.root / "data"), "cache_path": str(self.cache)}
        report = check_dataset(dataset, places | overrides, self.configs)
        assert self.state() == before
        return report


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("good")
    Good(root).make()
    return root


@pytest.fixture
def good(template, tmp_path) -> Good:
    shutil.copytree(template, tmp_path / "work")
    return Good(tmp_path / "work")
