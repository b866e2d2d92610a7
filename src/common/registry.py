"""The models there are, found by their files, and what each of them needs.

A model is `models/<name in lower case>.py` with a class of that name and `configs/model/<Name>.yaml`:
nothing else registers it. A folder `models_dir` with the same two is looked at first, where one is given.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.abstract_recommender import AbstractRecommender
from utils.config.layers import THEIRS, file_in, has_model, yaml_names
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


def list_models(models_dir: Path | None = None) -> list[str]:
    """Names of the models that have both files, in alphabetical order; with `models_dir` those of that folder too."""
    own = _names(SRC)
    return sorted({*own, *(label(name, models_dir) for name in _names(models_dir))}, key=str.lower)


def _names(src: Path | None) -> list[str]:
    return [name for name in yaml_names(src / "configs" / "model") if has_model(src, name)] if src else []


def is_foreign(name: str, models_dir: Path | None) -> bool:
    """Whether it is the model of `models_dir` that this name means. Raises UserError where half of it is missing."""
    if models_dir is None:
        return False
    plain = name.removesuffix(THEIRS)
    if has_model(models_dir, plain) or plain in _names(SRC):
        return has_model(models_dir, plain)
    file, known = file_in(models_dir, plain), yaml_names(models_dir / "configs" / "model")
    if plain in known:
        raise UserError(
            f"{models_dir} has configs/model/{plain}.yaml but no models/{file.name}; add that file"
        )
    if file.is_file():
        raise UserError(
            f"{file} needs configs/model/{plain}.yaml in {models_dir}; add one with its settings, or an empty one"
            f"{did_you_mean(plain, known)}"
        )
    return False


def label(name: str, models_dir: Path | None) -> str:
    """The name under which results are kept and shown: no row of a table mixes our model and theirs."""
    both = is_foreign(name, models_dir) and name in _names(SRC)
    return name + THEIRS if both else name


def model_file(name: str, models_dir: Path | None = None) -> Path:
    """The file of a model."""
    src = models_dir if is_foreign(name, models_dir) else SRC
    return file_in(src, name.removesuffix(THEIRS))


def get_model(name: str, models_dir: Path | None = None) -> type[AbstractRecommender]:
    """The class of a model, that of `models_dir` if it has one of that name.

    Raises UserError with the nearest name for one that is not there, and for one that cannot be imported.
    """
    if is_foreign(name, models_dir):
        from utils.foreign.loading import load  # which hosts others' code, where that is asked for

        return load(name.removesuffix(THEIRS), models_dir)
    known = list_models(models_dir)
    if name not in known:
        hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
        if not models_dir:
            hint += "; --models-dir PATH takes a model from another folder, such as MMRec's src"
        where = f" in {models_dir} or here" if models_dir else ""
        raise UserError(f"unknown model '{name}'{where}{hint}")
    return getattr(importlib.import_module(f"models.{name.lower()}"), name)


def record(name: str, config: Config) -> ModelRecord:
    """What the model `name` is and needs under `config`."""
    model = get_model(name, config.models_dir)
    foreign = is_foreign(name, config.models_dir)
    documentation = (model if foreign else importlib.import_module(model.__module__)).__doc__ or name
    plain = name.removesuffix(THEIRS)
    lines = (line.strip() for line in documentation.splitlines())
    summary = next((line for line in lines if any(map(str.isalpha, line))), plain).removeprefix(f"{plain}: ")
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
    model = get_model(name, config.models_dir)
    for flag in ("use_full_sampling", "use_neighborhood_loss"):
        if config[flag] and model.settings is not None:
            raise UserError(f"{name} does not learn from the batches of {flag}; leave that setting out")
    if is_foreign(name, config.models_dir):
        return  # only its code knows which features it reads; the error says so where there are none
    if needs.modalities and not dataset.modalities and not model.content_is_optional:
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


def describe_models(models_dir: Path | None = None) -> str:
    """A line per model for the command line: name, needs, summary; of one of others' that fails, why."""
    names = list_models(models_dir)
    width = max(10, *map(len, names))
    return "\n".join(f"{name:{width}} {_line(name, models_dir)}" for name in names)


def _line(name: str, models_dir: Path | None) -> str:
    from utils.config import Config

    foreign = is_foreign(name, models_dir) and label(name, models_dir) == name
    overrides = {"models_dir": models_dir} if foreign else {}
    try:
        schema = get_model(name, models_dir if foreign else None).settings
        needs = record(name, Config(name, "demo", overrides, model_settings=schema))
    except UserError as error:
        if foreign:
            return str(error)
        raise
    return f"{needs.in_words():28} {needs.summary}"
