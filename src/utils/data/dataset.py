"""A data set as models and the evaluator see it: splits and modalities, from MMRec's files."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.data.interactions import FORMAT, SPLITS, Interactions, read_interactions
from utils.data.modalities import Modality, graph_files
from utils.errors import UserError
from utils.settings import did_you_mean

if TYPE_CHECKING:
    from utils.config import Config

log = logging.getLogger("benchmark")


@dataclass(frozen=True)
class Split:
    """Interactions of one split, in file order: users and items (n,) int64."""

    users: np.ndarray
    items: np.ndarray


class Dataset:
    """Splits, sizes and modalities of a data set; `warnings` are told in the first block of a run."""

    def __init__(
        self, name: str, interactions: Interactions, modalities: dict[str, Modality], drop_cold_users: bool = True
    ):
        self.name, self.modalities = name, modalities
        self.warnings = list(interactions.warnings)
        self._interactions = interactions
        self.n_users, self.n_items = int(interactions.users.max()) + 1, int(interactions.items.max()) + 1
        self.train, self.valid, self.test = (self._split(label) for label in range(3))
        if drop_cold_users:
            self.valid, self.test = self._warm("validation", self.valid), self._warm("test", self.test)

    @classmethod
    def load(cls, config: Config) -> Dataset:
        """Read `<data_path>/<dataset>/`. Raises UserError for whatever is missing or wrong."""
        name, folder = config["dataset"], config.path("data_path") / config["dataset"]
        inter = folder / (config["inter_file_name"] or f"{name}.inter")
        if name == "demo" and not inter.exists():
            from utils.data.demo import generate

            log.info(f"generating the demo data set in {folder}")
            generate(folder)
        if not inter.exists():
            raise UserError(_missing(folder, inter, name))
        fields = (config["USER_ID_FIELD"], config["ITEM_ID_FIELD"], config["inter_splitting_label"])
        interactions = read_interactions(inter, *fields, config["field_separator"] or "\t")
        n_items = int(interactions.items.max()) + 1
        warnings, modalities = [], {}
        for modality, (features, graphs, wanted) in modality_files(folder, config).items():
            if features is None and not graphs:
                warnings.append(f"modality '{modality}' is left out: there is no {' and no '.join(wanted)} in {folder}")
            else:
                modalities[modality] = Modality(modality, n_items, features, graphs, config.path("cache_path"))
        dataset = cls(name, interactions, modalities, bool(config["filter_out_cod_start_users"]))
        dataset.warnings += warnings
        return dataset

    @property
    def inter_num(self) -> int:
        """Interactions in use, over all splits."""
        return sum(len(split.users) for split in (self.train, self.valid, self.test))

    def get_user_num(self) -> int:
        return self.n_users

    def get_item_num(self) -> int:
        return self.n_items

    def digest(self) -> str:
        """32 hex digits of the interactions and of all modality files, whatever their places and names."""
        content = hashlib.blake2b(digest_size=16)
        for column in (self._interactions.users, self._interactions.items, self._interactions.labels):
            content.update(memoryview(column).cast("B"))
        for modality in self.modalities.values():
            content.update(modality.digest().encode())
        return content.hexdigest()

    def describe(self) -> list[str]:
        """Statistics, splits and modalities, a line each."""
        n = self.inter_num
        lines = [
            f"data       {self.name}: {self.n_users:,} users, {self.n_items:,} items, {n:,} interactions "
            f"({100 * n / self.n_users / self.n_items:.3f} %; {n / self.n_users:.1f} per user, {n / self.n_items:.1f} per item)",
            f"splits     training {len(self.train.users):,}, validation {len(self.valid.users):,}, "
            f"test {len(self.test.users):,}",
        ]
        return lines + [f"modality   {name}: {modality.describe()}" for name, modality in self.modalities.items()]

    def _split(self, label: int) -> Split:
        mine = self._interactions.labels == label
        if not mine.any():
            raise UserError(f"'{self.name}' has no {SPLITS[label]} interactions: no row has the label {label}; "
                            f"all of 0, 1 and 2 must occur")  # fmt: skip
        return Split(self._interactions.users[mine], self._interactions.items[mine])

    def _warm(self, split_name: str, split: Split) -> Split:
        """The split without users that have no training interaction, as MMRec."""
        trained = np.zeros(self.n_users, dtype=bool)
        trained[self.train.users] = True
        warm = trained[split.users]
        if not warm.any():
            raise UserError(f"'{self.name}': none of the {split_name} users has a training interaction; "
                            f"split per user, or set filter_out_cod_start_users=False")  # fmt: skip
        if not warm.all():
            n_users = len(np.unique(split.users[~warm]))
            self.warnings.append(
                f"{split_name}: {n_users} users without training interactions dropped, {int((~warm).sum())} rows"
            )
        return Split(split.users[warm], split.items[warm])


Files = dict[str, tuple[Path | None, dict[int, Path], list[str]]]


def modality_files(folder: Path, config: Config) -> Files:
    """By modality: feature file if there is one, graph files by k, and the names looked for. Raises UserError.

    MMRec's two keys name `image` and `text`; a mapping under `modalities` adds to them or replaces them, a list
    keeps those it names, in its order. Where nothing is named the files of the folder speak for themselves.
    """
    setting = config["modalities"]
    named: dict[str, Any] = {"image": config["vision_feature_file"], "text": config["text_feature_file"]}
    named = {name: file for name, file in named.items() if file}
    named |= setting if isinstance(setting, dict) else {}
    if not named:
        named = dict.fromkeys(_discovered(folder))
    if isinstance(setting, list):
        for name in setting:
            if name not in named:
                raise UserError(f"modalities names '{name}', and the data set has {', '.join(named) or 'none'}"
                                f"{did_you_mean(name, named)}")  # fmt: skip
        named = {name: named[name] for name in setting}
    return {name: _files_of(folder, name, source) for name, source in named.items()}


def _files_of(folder: Path, name: str, source: Any) -> tuple[Path | None, dict[int, Path], list[str]]:
    """Files of one modality from its entry: a feature file, {features:, graph:}, or nothing."""
    entry = source if isinstance(source, dict) else {"features": source or f"{name}_feat.npy"}
    unknown = set(entry) - {"features", "graph"}
    if unknown:
        raise UserError(f"modalities: {name}: knows 'features' and 'graph', not {sorted(unknown)[0]!r}")
    features = folder / entry["features"] if entry.get("features") else None
    graphs = graph_files(folder, name)
    wanted = [path.name for path in [features] if path] + [f"{name}_knn<k>.npz"]
    if entry.get("graph"):
        path = folder / entry["graph"]
        if not path.exists():
            raise UserError(f"modalities: {name}: there is no {path}")
        with np.load(path, allow_pickle=False) as archive:
            graphs = {archive["neighbours"].shape[1]: path}
    return (features if features and features.exists() else None), graphs, wanted


def _discovered(folder: Path) -> list[str]:
    """Names of the modalities that the folder has files of: image, text, then the others by name."""
    names = {path.name.removesuffix("_feat.npy") for path in folder.glob("*_feat.npy")}
    names |= {path.name.rsplit("_knn", 1)[0] for path in folder.glob("*_knn*.npz")}
    return sorted(names, key=lambda name: (name != "image", name != "text", name))


def _missing(folder: Path, inter: Path, name: str) -> str:
    beside = sorted(path.name for path in folder.parent.glob("*") if (path / f"{path.name}.inter").exists())
    there = f"; {folder.parent} has {', '.join(beside)}" if beside else ""
    return (
        f"data set '{name}' is missing: there is no {inter.resolve()}{did_you_mean(name, beside)}{there}. Expected in "
        f"that folder: {inter.name} ({FORMAT}) and, for multimodal models, image_feat.npy and text_feat.npy (row = item "
        f"id) or image_knn10.npz and text_knn10.npz. MMRec's data folders work unchanged (its README links them); "
        f"data_path=FOLDER points elsewhere; -d demo needs no files"
    )
