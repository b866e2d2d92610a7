"""Small stand-ins that model tests are built from: a configuration, a data set, the golden fixture."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.graph import ItemKNN, item_knn
from common.registry import get_model
from utils.data.batches import TrainDataLoader


class ToyConfig(dict):
    """A configuration whose absent settings are None, as MMRec's."""

    def __getitem__(self, name: str) -> Any:
        return self.get(name)


class ToyModality:
    """Features, or a kNN graph alone, which every item has unless `present` is set."""

    present = linked = None

    def __init__(self, features: Tensor | None = None, knn: ItemKNN | None = None):
        self._features, self._knn, self.has_features = features, knn, features is not None

    @property
    def shape(self) -> tuple[int, int]:
        return tuple(self._features.shape)

    def features(self, out: Tensor | None = None) -> Tensor:
        return self._features.clone() if out is None else out.copy_(self._features)

    def knn(self, k: int) -> ItemKNN:
        return self._knn if self._knn is not None else item_knn(self._features, k)


@dataclass
class ToyDataset:
    """What a model sees of a data set."""

    n_users: int
    n_items: int
    pairs: list[tuple[int, int]]
    modalities: dict[str, ToyModality] = field(default_factory=dict)
    name: str = "toy"

    def __post_init__(self) -> None:
        users, items = np.array(self.pairs, dtype=np.int64).T
        self.train = SimpleNamespace(users=users, items=items)

    def get_user_num(self) -> int:
        return self.n_users

    def get_item_num(self) -> int:
        return self.n_items


BASE = {
    "USER_ID_FIELD": "userID", "ITEM_ID_FIELD": "itemID", "device": torch.device("cpu"), "seed": 1,
    "train_batch_size": 4, "is_multimodal_model": True, "use_neg_sampling": True, "embedding_size": 2,
}  # fmt: skip


def make(name: str, dataset: ToyDataset, **settings: Any) -> torch.nn.Module:
    """The model `name` on a toy data set, seeded."""
    config = ToyConfig(BASE | settings)
    torch.manual_seed(config["seed"])
    return get_model(name)(config, TrainDataLoader(config, dataset))


def golden_dataset() -> ToyDataset:
    """Fixture F of the specification: 3 users, 4 items, two 2-d modalities."""
    image = torch.tensor([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]])
    text = torch.tensor([[1, 0], [0, 1], [0.8, 0.6], [0.6, 0.8]])
    pairs = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3)]
    return ToyDataset(3, 4, pairs, {"image": ToyModality(image), "text": ToyModality(text)})


GOLDEN_BATCH = torch.tensor([[0, 1, 2], [0, 1, 3], [3, 3, 0]])


def set_embeddings(model: torch.nn.Module, users: list, items: list) -> None:
    """Overwrite the ID embeddings."""
    for embedding, values in ((model.user_embedding, users), (model.item_embedding, items)):
        embedding.weight = torch.nn.Parameter(
            torch.tensor(values, dtype=torch.float32).reshape(len(values), -1)
        )
