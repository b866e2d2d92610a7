"""A model as a trial begins with it: seeded, on its device, with its training batches."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import torch

from common.abstract_recommender import AbstractRecommender
from common.registry import check_pairing, get_model
from utils.data.batches import TrainDataLoader
from utils.errors import UserError

if TYPE_CHECKING:
    from utils.config import Config
    from utils.data.dataset import Dataset


def seed_everything(seed: int) -> None:
    """The global generators, for initialisation and for models that draw from them."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def build(config: Config, dataset: Dataset) -> tuple[AbstractRecommender, TrainDataLoader]:
    """The seeded model on its device, and its training batches. Raises UserError."""
    check_pairing(config["model"], config, dataset)
    seed_everything(config["seed"])
    batches = TrainDataLoader(config, dataset)
    try:
        model = get_model(config["model"], config.models_dir)(config, batches)
    except ValueError as error:  # a model file cannot know UserError, for it has to run in MMRec too
        raise UserError(f"{config['model']} on {dataset.name}: {error}") from error
    return model.to(config["device"]), batches
