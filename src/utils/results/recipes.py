"""Recipes: configs/recipes/<name>.yaml, each a model, a data set and the settings of one row of docs/results.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from utils.config import SRC
from utils.config.layers import Layer, yaml_names
from utils.config.yaml_reader import read_mapping
from utils.errors import UserError, did_you_mean

FOLDER = SRC / "configs" / "recipes"
FEATURES = ("none", "graph", "surrogate", "true")
"""What content a row has: none, kNN graphs of raw features, features made to have the same neighbours, raw ones."""


@dataclass(frozen=True)
class Recipe:
    """A row of the table of results, before it is run."""

    name: str
    model: str
    dataset: str
    features: str
    settings: Mapping[str, Any]
    """With `seed`, a list."""

    @property
    def seeds(self) -> list[int]:
        return self.settings["seed"]

    @property
    def layer(self) -> Layer:
        """Its settings for a configuration, which then names their origin."""
        return Layer(f"recipes/{self.name}.yaml", dict(self.settings))


def recipe_names() -> list[str]:
    return yaml_names(FOLDER)


def read_recipe(name: str) -> Recipe:
    """Raises UserError for one that is not there or is incomplete."""
    if name not in recipe_names():
        known = ", ".join(recipe_names())
        raise UserError(f"no recipe '{name}'; there are {known}{did_you_mean(name, recipe_names())}")
    where = f"recipes/{name}.yaml"
    settings = read_mapping(FOLDER / f"{name}.yaml", where)
    missing = [key for key in ("model", "dataset", "features", "seed") if key not in settings]
    if missing:
        raise UserError(
            f"{where} has no line '{missing[0]}: ...'; a recipe names model, dataset, features and seed"
        )
    model, dataset, features = (settings.pop(key) for key in ("model", "dataset", "features"))
    if features is True:
        features = "true"  # which YAML reads as a truth
    if features not in FEATURES:
        raise UserError(f"{where}: features is '{features}'; expected one of {', '.join(FEATURES)}")
    if not isinstance(settings["seed"], list):
        settings["seed"] = [settings["seed"]]
    return Recipe(name, model, dataset, features, settings)
