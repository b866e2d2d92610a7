"""The models there are, found by their files, and what each of them needs.

A model is `models/<name in lower case>.py` with a class of that name and `configs/model/<Name>.yaml`:
nothing else registers it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.abstract_recommender import AbstractRecommender
from utils.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from utils.config import Config
    from utils.data.dataset import Dataset

SRC = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class ModelRecord:
    """A model, its one line, and what it needs of the data under the settings of its YAML."""

    name: str
    summary: str
    modalities: bool
    raw_features: bool
    negatives: bool

    def in_words(self) -> str:
        """What it needs."""
        content = "kNN graphs or features" if self.modalities else "ids only"
        if self.raw_features:
            content = "raw features"
        return content if self.negatives else f"{content}, no negatives"


def list_models() -> list[str]:
    """Names of the models that have both files, in alphabetical order."""
    names = (path.stem for path in (SRC / "configs" / "model").glob("*.yaml"))
    return sorted((n for n in names if model_file(n).exists()), key=str.lower)


def model_file(name: str) -> Path:
    """The file of a model."""
    return SRC / "models" / f"{name.lower()}.py"


def get_model(name: str) -> type[AbstractRecommender]:
    """The class of a model. Raises UserError with the nearest name for one that is not there."""
    if name not in list_models():
        hint = did_you_mean(name, list_models()) or f"; known: {', '.join(list_models())}"
        raise UserError(f"unknown model '{name}'{hint}")
    return getattr(importlib.import_module(f"models.{name.lower()}"), name)


def record(name: str, config: Config) -> ModelRecord:
    """What the model `name` is and needs under `config`."""
    model = get_model(name)
    documentation = importlib.import_module(model.__module__).__doc__ or name
    summary = documentation.strip().splitlines()[0].removeprefix(f"{name}: ")
    return ModelRecord(
        name,
        summary,
        modalities=bool(config["is_multimodal_model"]),
        raw_features=model.needs_raw_features(config),
        negatives=bool(config["use_neg_sampling"]) if model.settings is None else model.needs_negatives,
    )


def check_pairing(name: str, config: Config, dataset: Dataset) -> None:
    """Raises UserError where the data set lacks what the model needs under these settings."""
    needs = record(name, config)
    if needs.negatives and not config["use_neg_sampling"]:
        raise UserError(
            f"{name} learns from negative items, and use_neg_sampling is false; leave that setting out"
        )
    if needs.modalities and not dataset.modalities:
        raise UserError(
            f"{name} needs at least one modality, and '{dataset.name}' has none; "
            f"put <modality>_feat.npy or <modality>_knn<k>.npz beside its .inter file, or name them under `modalities:`"
        )
    bare = [m for m, modality in dataset.modalities.items() if not modality.has_features]
    if needs.modalities and needs.raw_features and bare:
        raise UserError(
            f"{name} needs raw features under these settings, and modality '{bare[0]}' of '{dataset.name}' has "
            f"only a kNN graph; provide {bare[0]}_feat.npy (row = item id), or see the model's YAML for the "
            f"settings that run from graphs alone"
        )


def describe_models() -> str:
    """A line per model for the command line: name, needs, summary."""
    from utils.config import Config

    lines = []
    for name in list_models():
        needs = record(name, Config(name, "demo", model_settings=get_model(name).settings))
        lines.append(f"{name:10} {needs.in_words():28} {needs.summary}")
    return "\n".join(lines)
