"""A data set: the three splits of its interactions, and its modalities."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.data.discovery import configured, find_modalities
from utils.data.interactions import SPLITS
from utils.data.modalities import Modality, as_seen
from utils.data.modality_files import ModalityFiles
from utils.data.split_cache import SplitTable, read_splits
from utils.data.study import Study
from utils.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from utils.config import Config

log = logging.getLogger("benchmark")


@dataclass(frozen=True, eq=False)
class Split:
    """Users and items (n,) int64 of the interactions of one split, in file order."""

    users: np.ndarray
    items: np.ndarray

    def __len__(self) -> int:
        return len(self.users)


@dataclass(eq=False)
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
    files: dict[str, ModalityFiles] = field(default_factory=dict)
    """Of all modalities."""
    modalities: dict[str, Modality] = field(default_factory=dict)
    """As models see them: without one that is left out, the others as the run changes them."""
    warnings: list[str] = field(default_factory=list)
    users_dropped: int = 0
    interactions_digest: str = ""
    _digest: str | None = field(default=None, repr=False)

    @classmethod
    def load(cls, config: Config) -> Dataset:
        """Read `<data_path>/<dataset>/`. Raises UserError for what is missing or wrong there."""
        folder = config.path("data_path").resolve() / config["dataset"]
        path = folder / (config["inter_file_name"] or f"{config['dataset']}.inter")
        if config["dataset"] == "demo" and not (folder / "demo.inter").is_file():
            _generate_demo(folder)
        if not path.is_file():
            raise UserError(_missing(config, folder, path))
        unkept: list[str] = []
        cache = config.path("cache_path")
        table = read_splits(path, _fields(config), config["field_separator"], cache, unkept.append)
        dataset = _from_table(config["dataset"], table)
        dataset.warnings += unkept
        if config["filter_out_cod_start_users"]:
            _drop_cold_users(dataset, path)
        warn = dataset.warnings.append
        dataset.files = find_modalities(config, folder, dataset.n_items, warn)
        dataset.modalities = as_seen(
            dataset.files, Study.of(config), cache, warn, dataset.name, config["faiss_above"]
        )
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
        """Hash of the interactions of each split, in their order, and of the modalities' files."""
        if self._digest is None:
            parts = [self.interactions_digest, *(files.digest() for files in self.files.values())]
            self._digest = _hash(" ".join(parts).encode())
        return self._digest

    def describe(self) -> list[str]:
        """Lines for the first block of a run."""
        per_user, per_item = self.inter_num / self.n_users, self.inter_num / self.n_items
        density = 100 * self.inter_num / (self.n_users * self.n_items)
        splits = zip(SPLITS, (self.train, self.valid, self.test), strict=True)
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in splits)
        modalities = [
            self.modalities[name].describe() if name in self.modalities else f"{name}: left out"
            for name in self.files
        ] or ["none"]
        return [
            f"data       {self.name}: {self.n_users:,} users, {self.n_items:,} items, "
            f"{self.inter_num:,} interactions, density {density:.3g} %",
            f"           {per_user:.1f} per user, {per_item:.1f} per item; "
            f"{sizes}; {self.users_dropped:,} users dropped",
            *(f"modality   {line}" for line in modalities),
        ]


def _from_table(name: str, table: SplitTable) -> Dataset:
    train, valid, test = (Split(users, items) for users, items in table.splits())
    n_users, n_items = (int(ids.max()) + 1 for ids in table.pairs)
    digest = _hash(table.pairs, repr(table.sizes).encode())
    return Dataset(
        name,
        n_users,
        n_items,
        train,
        valid,
        test,
        warnings=list(table.warnings),
        interactions_digest=digest,
    )


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
        f"users without training interactions: {len(cold)} dropped from validation and test, with "
        f"{rows - dataset.inter_num} rows; filter_out_cod_start_users=False keeps them"
    )
    for name, split in zip(SPLITS[1:], (dataset.valid, dataset.test), strict=True):
        if not len(split):
            raise UserError(
                f"{path}: no {name} rows are left without the {len(cold)} users who have no training rows; "
                f"give them some, or set filter_out_cod_start_users=False"
            )


def _keep(split: Split, kept: np.ndarray) -> Split:
    return Split(split.users[kept], split.items[kept])


def _generate_demo(folder: Path) -> None:
    from utils.data import demo  # needed once in the life of a checkout

    try:
        demo.generate(folder)
    except OSError as error:
        advice = (
            "remove that folder" if folder.is_dir() else "set data_path=... to a folder that can be written"
        )
        raise UserError(f"cannot write the demo data to {folder}: {error.strerror}; {advice}") from error
    log.info(f"demo data generated in {folder}")


def _fields(config: Config) -> tuple[str, str, str]:
    return config["USER_ID_FIELD"], config["ITEM_ID_FIELD"], config["inter_splitting_label"]


def _missing(config: Config, folder: Path, path: Path) -> str:
    """What is missing, where it was looked for, in which format it must be, and how to get it."""
    absent = [source.features.name for source in configured(config, folder).values() if not source.present]
    labels = ", ".join(f"{label} {split}" for label, split in enumerate(SPLITS))
    content = (
        f"'{config['dataset']}' is not in {folder}: missing {path.name} (a header and columns "
        f"{', '.join(_fields(config))}, separated by {config['field_separator']!r}; ids from 0; {labels})"
    )
    if absent:
        content += f" and {', '.join(absent)} (a row of numbers per item; or <modality>_knn<k>.npz)"
    return (
        f"data set {content}{_nearest(folder, path)}; MMRec's data folders work unchanged (its README links "
        f"the downloads), data_path=... points to data elsewhere, and -d demo needs none"
    )


def _nearest(folder: Path, path: Path) -> str:
    """The file or the folder that may have been meant."""
    if folder.is_dir():
        found = ", ".join(sorted(file.name for file in folder.glob("*.inter")))
        return f"; found {found} there: is the inter_file_name {path.name} right?" if found else ""
    parent = folder.parent
    siblings = [other.name for other in parent.iterdir() if other.is_dir()] if parent.is_dir() else []
    return did_you_mean(folder.name, siblings)
