"""A data set: the three splits of its interactions, and its modalities."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.data.discovery import MMREC_KEYS, find_modalities
from utils.data.interactions import SPLITS, Interactions, read_interactions
from utils.data.modalities import Modality
from utils.errors import UserError
from utils.settings import did_you_mean

if TYPE_CHECKING:
    from utils.config import Config

log = logging.getLogger("benchmark")


@dataclass(frozen=True)
class Split:
    """Users and items (n,) int64 of the interactions of one split, in file order."""

    users: np.ndarray
    items: np.ndarray

    def __len__(self) -> int:
        return len(self.users)


@dataclass
class Dataset:
    """Interactions with ids 0..n_users-1 and 0..n_items-1, and modalities by name.

    `warnings` grows: what only the values of features show is added when they are first read.
    """

    name: str
    n_users: int
    n_items: int
    train: Split
    valid: Split
    test: Split
    modalities: dict[str, Modality] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    users_dropped: int = 0
    interactions_digest: str = ""
    _digest: str | None = field(default=None, repr=False)

    @classmethod
    def load(cls, config: Config) -> Dataset:
        """Read `<data_path>/<dataset>/`. Raises UserError for what is missing or wrong there."""
        folder = config.path("data_path").absolute() / config["dataset"]
        path = folder / (config["inter_file_name"] or f"{config['dataset']}.inter")
        if config["dataset"] == "demo" and not path.is_file():
            _generate_demo(folder)
        if not path.is_file():
            raise UserError(_missing(config, folder, path))
        fields = (config[key] for key in ("USER_ID_FIELD", "ITEM_ID_FIELD", "inter_splitting_label"))
        interactions = read_interactions(path, *fields, config["field_separator"])
        dataset = _from_interactions(config["dataset"], interactions)
        if config["filter_out_cod_start_users"]:
            _drop_cold_users(dataset, path)
        dataset.modalities = find_modalities(config, folder, dataset.n_items, dataset.warnings.append)
        return dataset

    @property
    def inter_num(self) -> int:
        """Interactions of all three splits."""
        return len(self.train) + len(self.valid) + len(self.test)

    def get_user_num(self) -> int:
        """MMRec's name of n_users."""
        return self.n_users

    def get_item_num(self) -> int:
        """MMRec's name of n_items."""
        return self.n_items

    def digest(self) -> str:
        """Hash of the interactions as read, in their order, and of the modalities' files."""
        if self._digest is None:
            parts = [self.interactions_digest, *(modality.digest() for modality in self.modalities.values())]
            self._digest = _hash(" ".join(parts).encode())
        return self._digest

    def describe(self) -> list[str]:
        """Lines for the first block of a run."""
        density = 100 * self.inter_num / (self.n_users * self.n_items)
        per_user, per_item = self.inter_num / self.n_users, self.inter_num / self.n_items
        dropped = f", {self.users_dropped:,} users without training dropped" if self.users_dropped else ""
        return [
            f"data       {self.name}: {self.n_users:,} users, {self.n_items:,} items, {self.inter_num:,} interactions "
            f"(density {density:.3g} %; {per_user:.1f} per user, {per_item:.1f} per item)",
            f"splits     {len(self.train):,} training, {len(self.valid):,} validation, {len(self.test):,} test{dropped}",
            *(f"modality   {modality.describe()}" for modality in self.modalities.values()),
        ]


def _from_interactions(name: str, interactions: Interactions) -> Dataset:
    users, items, labels = interactions.users, interactions.items, interactions.labels
    train, valid, test = (Split(users[labels == label], items[labels == label]) for label in range(3))
    return Dataset(
        name, int(users.max()) + 1, int(items.max()) + 1, train, valid, test,
        warnings=list(interactions.warnings), interactions_digest=_hash(users, items, labels),
    )  # fmt: skip


def _hash(*parts: bytes | np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(np.ascontiguousarray(part) if isinstance(part, np.ndarray) else part)
    return digest.hexdigest()


def _drop_cold_users(dataset: Dataset, path: Path) -> None:
    """Take users without training interactions out of validation and test."""
    trained = np.zeros(dataset.n_users, dtype=bool)
    trained[dataset.train.users] = True
    splits = (dataset.valid, dataset.test)
    cold = np.unique(np.concatenate([split.users[~trained[split.users]] for split in splits]))
    if not len(cold):
        return
    rows = dataset.inter_num
    dataset.valid, dataset.test = (_keep(split, trained[split.users]) for split in splits)
    dataset.users_dropped = len(cold)
    dataset.warnings.append(
        f"{len(cold)} users without training interactions dropped from validation and test "
        f"({rows - dataset.inter_num} rows); filter_out_cod_start_users=False keeps them"
    )
    for name, split in zip(SPLITS[1:], (dataset.valid, dataset.test), strict=True):
        if not len(split):
            raise UserError(
                f"{path}: no {name} rows are left once users without training interactions are dropped; give these "
                f"users training rows, or set filter_out_cod_start_users=False"
            )


def _keep(split: Split, kept: np.ndarray) -> Split:
    return Split(split.users[kept], split.items[kept])


def _generate_demo(folder: Path) -> None:
    from utils.data import demo  # needed once in the life of a checkout

    try:
        demo.generate(folder)
    except OSError as error:
        raise UserError(
            f"cannot write the demo data to {folder}: {error.strerror}; set data_path=... to a folder that can be written"
        ) from error
    log.info(f"demo data generated in {folder}")


def _missing(config: Config, folder: Path, path: Path) -> str:
    """What to say where there is no interactions file: what is missing, where, in which format, what to do."""
    fields = (config[key] for key in ("USER_ID_FIELD", "ITEM_ID_FIELD", "inter_splitting_label"))
    features = [
        config[key] for key in MMREC_KEYS.values() if config[key] and not (folder / config[key]).is_file()
    ]
    files = [f"{path.name} (a table with the columns {', '.join(fields)}; {_labels()})"]
    if features:
        files.append(
            f"{' and '.join(features)} (a row of numbers per item, or <modality>_knn<k>.npz instead)"
        )
    return (
        f"data set '{config['dataset']}' is missing: looked in {folder} for {' and '.join(files)}{_nearest(folder, path)}; "
        f"MMRec's data folders work unchanged (its README links the downloads), data_path=... points elsewhere, "
        f"and -d demo needs no files"
    )


def _labels() -> str:
    return ", ".join(f"{label} {name}" for label, name in enumerate(SPLITS))


def _nearest(folder: Path, path: Path) -> str:
    """A file or a folder that may be the one that was meant."""
    if folder.is_dir():
        found = sorted(file.name for file in folder.glob("*.inter"))
        return f"; found {', '.join(found)}: is inter_file_name={path.name} right?" if found else ""
    siblings = (
        [other.name for other in folder.parent.iterdir() if other.is_dir()] if folder.parent.is_dir() else []
    )
    return did_you_mean(folder.name, siblings)
