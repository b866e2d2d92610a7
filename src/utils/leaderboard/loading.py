"""The data of a board loaded again, with its evaluator: for insights and for lists of other systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from utils.config import Config
from utils.data.dataset import Dataset
from utils.evaluation.ranking import Evaluator
from utils.experiments.reopening import reopen
from utils.leaderboard.board import Run


@dataclass(frozen=True, eq=False)
class Data:
    """The data set of a run with its evaluator, and what is counted and read there."""

    config: Config
    dataset: Dataset
    evaluator: Evaluator

    @cached_property
    def popularity(self) -> np.ndarray:
        """Training interactions of each item (I,)."""
        return np.bincount(self.dataset.train.items, minlength=self.dataset.n_items)

    @cached_property
    def n_train(self) -> np.ndarray:
        """Training interactions of each user (U,)."""
        return np.bincount(self.dataset.train.users, minlength=self.dataset.n_users)

    @cached_property
    def features(self) -> dict[str, np.ndarray]:
        modalities = self.dataset.modalities.items()
        return {name: one.features().numpy() for name, one in modalities if one.has_features}


def load(run: Run, places: Mapping[str, Any]) -> Data:
    """The data of a run: in `places` (data_path, cache_path) or where it was. Raises UserError."""
    config, dataset = reopen(run.trial, places)
    return Data(config, dataset, Evaluator(config, dataset))
