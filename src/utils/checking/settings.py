"""The settings of a data set as training would have them, of no model, and a data folder that may be broken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.config import PROJECT
from utils.config.layers import Layer, merge, override_layer, read_layers
from utils.config.settings import FOLDERS, FRAMEWORK, GROUPS, MMREC_IGNORED, read_value
from utils.errors import UserError, did_you_mean

TAKES = ("data_path", "cache_path", *(setting.name for setting in GROUPS["data"]))
"""The settings that the command takes: where the data are, and how they are to be read."""

NEEDED = (*TAKES, *(setting.name for setting in GROUPS["content of items"]), "topk")

ORIGIN = "command line"


class DataSettings:
    """Settings by name, None where there is none, in the manner of Config. Raises UserError."""

    def __init__(self, dataset: str, overrides: Mapping[str, Any], configs: Path):
        check_overrides(overrides)
        self.yaml = f"dataset/{dataset}.yaml"
        layers = (*read_layers(configs, dataset), override_layer(overrides, ORIGIN, {}))
        self.unknown = _unknown(layers[1])
        entries = merge(layers)
        self._origins = {name: entries[name].origin for name in NEEDED if name in entries}
        self._values = {
            name: read_value(FRAMEWORK[name], entries[name].value, origin)
            for name, origin in self._origins.items()
        }
        self._values["dataset"] = dataset

    def __getitem__(self, name: str) -> Any:
        return self._values.get(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = value

    def path(self, name: str) -> Path:
        """As Config.path: relative to the project root in a YAML, to the current folder elsewhere."""
        base = PROJECT if self._origins.get(name, "").endswith(".yaml") else Path.cwd()
        return base / Path(self[name]).expanduser()

    def origin(self, name: str) -> str:
        return self._origins.get(name, ORIGIN)

    @property
    def folder(self) -> Path:
        return self.path("data_path").resolve() / self["dataset"]

    @property
    def inter_name(self) -> str:
        return self["inter_file_name"] or f"{self['dataset']}.inter"

    @property
    def columns(self) -> tuple[str, str, str]:
        """Of users, items and labels."""
        return self["USER_ID_FIELD"], self["ITEM_ID_FIELD"], self["inter_splitting_label"]


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Raises UserError for settings that change nothing about the data."""
    for name in overrides:
        if name not in TAKES:
            raise UserError(
                f"'{name}' has no effect on check (command line); it takes {', '.join(TAKES)}"
                f"{did_you_mean(name, TAKES)}"
            )
    for name in FOLDERS & set(overrides):
        read_value(FRAMEWORK[name], overrides[name], ORIGIN)


def _unknown(layer: Layer) -> list[str]:
    """Names in the YAML of the data set that only a model could know."""
    return [name for name in layer.settings if name not in FRAMEWORK and name not in MMREC_IGNORED]
