"""What a model of others is handed: a configuration and a data set with MMRec's attributes.

Where MMRec's model files read and write beside the data, they get a folder of their own instead: the real one stays
untouched, and what one trial left there is never read by another.
"""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from torch import Tensor

from utils.config.layers import THEIRS
from utils.data.discovery import MMREC_KEYS
from utils.foreign.graphs import write_graph

if TYPE_CHECKING:
    from utils.config import Config
    from utils.data.batches import TrainDataLoader
    from utils.data.dataset import Dataset
    from utils.data.modalities import Modality

log = logging.getLogger("benchmark")

GRAPHS = {"user_graph_dict_file": "user_graph_dict.npy", "item_graph_dict_file": "item_graph_dict_2.npy"}
"""Settings of neighbour files, and MMRec's names of them."""


class GuestConfig:
    """The settings of a run for a model of others; what is set here does not reach the run.

    `data_path` is `workspace`, with the slash that MMRec's files count on. A file that a setting names is put there
    when that setting is read.
    """

    def __init__(self, config: Config, batches: TrainDataLoader, workspace: Path):
        dataset = batches.dataset
        self.final_config_dict: dict[str, Any] = dict(config.final_config_dict)
        self["model"] = config["model"].removesuffix(THEIRS)
        self["data_path"] = f"{workspace}/"
        self._folder = workspace / config["dataset"]
        self._folder.mkdir()
        self._makers: dict[str, Callable[[Path], object]] = {
            "user_graph_dict_file": lambda path: write_graph(path, batches.inter_matrix("csr")),
            "item_graph_dict_file": lambda path: write_graph(path, batches.inter_matrix("csr").T),
        }
        for name, file in GRAPHS.items():
            self[name] = config[name] or file
        for name, key in MMREC_KEYS.items():
            self[key] = config[key] or f"{name}_feat.npy"
            modality = dataset.modalities.get(name)
            if modality is not None and modality.has_features:
                self._makers[key] = partial(_write_features, modality)
        inter = config.path("data_path") / config["dataset"] / config["inter_file_name"]
        columns = config["field_separator"], config["inter_splitting_label"]
        self._makers["inter_file_name"] = partial(_write_training, inter, *columns)

    def __getitem__(self, name: str) -> Any:
        value = self.final_config_dict.get(name)
        if name in self._makers and isinstance(value, str):
            path = self._folder / value
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._makers[name](path)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a setting is a str, not {type(name).__name__}")
        self.final_config_dict[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self.final_config_dict

    def __str__(self) -> str:
        return "\n".join(f"{name}={value}" for name, value in self.final_config_dict.items())


def _write_training(source: Path, separator: str, label: str, path: Path) -> None:
    """The lines of an interactions file that are of training, with all its columns; the others are nobody's here."""
    rows = pd.read_csv(source, sep=separator, dtype=str, keep_default_na=False)
    rows[pd.to_numeric(rows[label]) == 0].to_csv(path, sep=separator, index=False)


def _write_features(modality: Modality, path: Path) -> None:
    """The file as it is, unless the run changes its content or items have none."""
    if modality.is_changed:
        np.save(path, modality.features().numpy())
    else:
        shutil.copyfile(modality.features_file, path)


class GuestDataset:
    """The training interactions as MMRec's RecDataset has them; other splits are not here to be seen."""

    def __init__(self, config: GuestConfig, dataset: Dataset):
        self.config, self.logger = config, log
        self.modalities = dataset.modalities
        self.dataset_name = dataset.name
        self.dataset_path = config["data_path"] + dataset.name
        self.uid_field, self.iid_field = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
        self.splitting_label = config["inter_splitting_label"]
        self.user_num = self.n_users = dataset.n_users
        self.item_num = self.n_items = dataset.n_items
        self.train = dataset.train
        self.inter_num = len(dataset.train)

    @cached_property
    def df(self) -> pd.DataFrame:
        """Users and items, in file order."""
        return pd.DataFrame({self.uid_field: self.train.users, self.iid_field: self.train.items})

    def get_user_num(self) -> int:
        return self.user_num

    def get_item_num(self) -> int:
        return self.item_num

    def shuffle(self) -> None:
        self.df = self.df.sample(frac=1, replace=False).reset_index(drop=True)

    def copy(self, df: pd.DataFrame) -> GuestDataset:
        """The same with other rows."""
        other = object.__new__(GuestDataset)
        vars(other).update(vars(self) | {"df": df, "inter_num": len(df)})
        return other

    def __len__(self) -> int:
        return len(self.df)

    def __getitem__(self, rows: slice) -> pd.DataFrame:
        return self.df[rows]

    def __str__(self) -> str:
        return (
            f"{self.dataset_name}: {self.user_num} users, {self.item_num} items, "
            f"{self.inter_num} training interactions"
        )


class GuestLoader:
    """The training loader with MMRec's attributes, what takes time computed when asked for."""

    additional_dataset = None
    shuffle = neg_sampling = True
    pr = inter_pr = 0

    def __init__(self, config: GuestConfig, batches: TrainDataLoader):
        self.config, self.logger = config, log
        self._batches = batches
        self.dataset = self.dataset_bk = GuestDataset(config, batches.dataset)
        self.batch_size = self.step = batches.batch_size
        self.device = batches.device
        self.use_full_sampling = config["use_full_sampling"]
        self.neighborhood_loss_required = config["use_neighborhood_loss"]
        self.sparsity = 1 - len(self.dataset) / (self.dataset.user_num * self.dataset.item_num)
        self._epoch: Iterator[Tensor] | None = None

    def inter_matrix(self, form: str = "coo", value_field: str | None = None) -> sp.spmatrix:
        """Training interactions (U, I) in float64: ones, or the ids of one of the two fields.

        Raises NotImplementedError for another form, ValueError for another field.
        """
        if form not in ("coo", "csr"):
            raise NotImplementedError(f"inter_matrix gives the forms 'coo' and 'csr', not '{form}'")
        matrix = self._batches.inter_matrix("coo")
        if value_field is not None:
            if value_field not in self.dataset.df.columns:
                known = " and ".join(self.dataset.df.columns)
                raise ValueError(f"the interactions have the fields {known}, not '{value_field}'")
            matrix.data = self.dataset.df[value_field].to_numpy()
        return matrix if form == "coo" else matrix.tocsr()

    def pretrain_setup(self) -> None:
        """MMRec calls it before a model is built; here the loader is new then."""

    data_preprocess = pretrain_setup

    @property
    def pr_end(self) -> int:
        return len(self.all_uids) if self.use_full_sampling else len(self._batches.users)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._batches)

    def __next__(self) -> Tensor:
        self._epoch = self._epoch or iter(self._batches)
        try:
            return next(self._epoch)
        except StopIteration:
            self._epoch = None
            raise

    @property
    def sample_func(self) -> Callable[[], Tensor]:
        return self.__next__

    @cached_property
    def all_items(self) -> list[int]:
        """Items of training, shuffled, without a draw from a generator that something else counts on."""
        items = np.unique(self._batches.items).tolist()
        random.Random(self.config["seed"]).shuffle(items)
        return items

    @cached_property
    def all_uids(self) -> np.ndarray:
        return pd.unique(self._batches.users)

    @cached_property
    def all_items_set(self) -> set[int]:
        return set(self.all_items)

    @cached_property
    def all_users_set(self) -> set[int]:
        return set(self.all_uids.tolist())

    @property
    def all_item_len(self) -> int:
        return len(self.all_items)

    @cached_property
    def history_items_per_u(self) -> dict[int, set[int]]:
        return _groups(self._batches.users, self._batches.items)

    @cached_property
    def history_users_per_i(self) -> dict[int, set[int]]:
        return _groups(self._batches.items, self._batches.users)

    @cached_property
    def user_user_dict(self) -> dict[int, set[int]]:
        """Users who share an item of training with each."""
        return _met(self.history_items_per_u, self.history_users_per_i)

    @cached_property
    def item_item_dict(self) -> dict[int, set[int]]:
        """Items that share a user of training with each."""
        return _met(self.history_users_per_i, self.history_items_per_u)


def _groups(keys: np.ndarray, values: np.ndarray) -> dict[int, set[int]]:
    groups: dict[int, set[int]] = {}
    for key, value in zip(keys.tolist(), values.tolist(), strict=True):
        groups.setdefault(key, set()).add(value)
    return groups


def _met(there: dict[int, set[int]], back: dict[int, set[int]]) -> dict[int, set[int]]:
    """Whom each meets by going there and back, without itself."""
    return {one: set().union(*(back[other] for other in others)) - {one} for one, others in there.items()}
