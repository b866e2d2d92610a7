"""The layers of a configuration: overall.yaml, dataset/<D>.yaml, model/<M>.yaml, a recipe and overrides."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.config.grid import Entry
from utils.config.settings import (
    FRAMEWORK,
    MMREC_IGNORED,
    MMREC_UNSUPPORTED,
    Kind,
    Setting,
    declared,
    kind_of,
)
from utils.config.yaml_reader import read_mapping
from utils.errors import UserError, did_you_mean


@dataclass
class Layer:
    """Settings of one origin; `grid` and `hyper_parameters` are taken out of `settings`."""

    origin: str
    settings: dict[str, Any]
    hyper_parameters: list[str] | None = None
    grid: dict[str, Any] = field(default_factory=dict)


THEIRS = " (models_dir)"
"""Behind the name of a model of `models_dir` where this project has one of that name too."""


def read_layers(folder: Path, dataset: str) -> tuple[Layer, Layer]:
    """overall.yaml and the data set's YAML, lowest precedence first; a data set may have none. Raises UserError."""
    layers = _read(folder, "overall"), Layer(f"dataset/{dataset}.yaml", {})
    if dataset in yaml_names(folder / "dataset"):
        layers = layers[0], _read(folder, f"dataset/{dataset}")
    for layer in layers:
        if layer.grid:
            raise UserError(
                f"{layer.origin}: `grid:` belongs in the model's YAML, beside the values it varies"
            )
    return layers


def read_model_layer(folder: Path, model: str, models_dir: Path | None) -> Layer:
    """The model's YAML: that of `models_dir`, if it has one of that name, else the project's. Raises UserError."""
    name = model.removesuffix(THEIRS)
    if models_dir is not None and has_model(models_dir, name):
        layer = _read(models_dir / "configs", f"model/{name}")
        if "models_dir" in layer.settings:
            raise UserError(
                f"{layer.origin}: models_dir cannot stand in a file that it leads to; remove it there"
            )
        return layer
    models = yaml_names(folder / "model")
    if name not in models:
        raise UserError(f"unknown model '{name}': there is no model/{name}.yaml{did_you_mean(name, models)}")
    return _read(folder, f"model/{name}")


def has_model(src: Path, name: str) -> bool:
    """Whether a folder has both files of a model: its code and its YAML, in this very case."""
    return name in yaml_names(src / "configs" / "model") and file_in(src, name).is_file()


def file_in(src: Path, name: str) -> Path:
    """Where the code of a model is, or would be."""
    return src / "models" / f"{name.lower()}.py"


def yaml_names(folder: Path) -> list[str]:
    """Names of the YAML files of a folder, in their exact case whatever the file system."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def override_layer(overrides: Mapping[str, Any], origin: str, run: Mapping[str, Any]) -> Layer:
    """What is given to a run, a copy; what the run itself fixes, its model for one, may stand there unchanged.

    So the settings that a finished trial keeps are a valid `config_dict` again. Raises UserError.
    """
    settings = copy.deepcopy(dict(overrides))
    for name, value in run.items():
        if name in settings and settings.pop(name) != value:
            raise UserError(
                f"'{name}' is no setting but part of the run, here {value} ({origin}); leave it out"
            )
    if "grid" in settings:
        raise UserError(
            f"'grid' belongs in a model's YAML ({origin}); give lists as values, such as knn_k=[10,20]"
        )
    return Layer(origin, settings, _hyper_parameters(settings, origin))


def model_schema(layer: Layer, model_settings: Mapping[str, Kind] | None) -> dict[str, Setting]:
    """The model's own settings: those it declares, or those its YAML names, typed by the values there."""
    if model_settings is not None:
        return {name: declared(name, kind) for name, kind in model_settings.items()}
    for name in layer.hyper_parameters or ():
        if name not in FRAMEWORK:
            layer.settings.setdefault(name, None)  # MMRec runs a name without a value once, with None
    varied = {*(layer.hyper_parameters or ()), *layer.grid}
    schema = {}
    for name, value in layer.settings.items():
        if name not in FRAMEWORK and name not in MMREC_UNSUPPORTED:
            values = value if name in varied and isinstance(value, list) else [value]
            schema[name] = Setting(name, kind_of(values), "")
    return schema


def drop_ignored(layer: Layer, schema: Mapping[str, Setting], warnings: list[str]) -> None:
    """Take out what MMRec's files set without an effect here, each with a warning. Raises UserError."""
    for name in [name for name in layer.settings if name in MMREC_IGNORED and name not in schema]:
        value = layer.settings.pop(name)
        if name in MMREC_UNSUPPORTED and value:
            raise UserError(f"{name}: {value} is not supported ({layer.origin}); remove it")
        if name == "weight_size" and "n_ui_layers" in schema and "n_ui_layers" not in layer.settings:
            # MMRec's LATTICE takes its number of user-item layers from the length of this list
            layer.settings["n_ui_layers"] = len(value) if isinstance(value, list) else value
        else:
            warnings.append(f"{name} has no effect here ({layer.origin}); MMRec's files carry it")
    if layer.hyper_parameters:
        layer.hyper_parameters = [n for n in layer.hyper_parameters if n in schema or n not in MMREC_IGNORED]


def check_names(layer: Layer, schema: Mapping[str, Setting], model: str) -> None:
    """Raises UserError for a setting that neither the framework nor the model has."""
    for name in [*layer.settings, *layer.grid]:
        if name not in schema and name in MMREC_IGNORED:
            raise UserError(f"{name} has no effect on {model} ({layer.origin}); leave it out")
        if name not in schema:
            raise UserError(
                f"unknown setting '{name}' for {model} ({layer.origin}){_nearest(name, schema, model)}"
            )


def hyper_parameters(
    files: Sequence[Layer], overrides: Sequence[Layer], schema: Mapping[str, Setting], model: str
) -> list[str]:
    """The names that MMRec's `hyper_parameters:` lists sweep: those of all files, or the overrides' last list.

    Raises UserError for a name that is no setting.
    """
    layers = [layer for layer in overrides if layer.hyper_parameters is not None][-1:] or files
    for layer in layers:
        for name in layer.hyper_parameters or ():
            if name not in schema:
                hint = _nearest(name, schema, model)
                raise UserError(f"hyper_parameters names an unknown setting '{name}' ({layer.origin}){hint}")
    return [name for layer in layers for name in layer.hyper_parameters or ()]


def merge(layers: Sequence[Layer]) -> dict[str, Entry]:
    """Every setting as its highest layer has it, in the order in which the names first appear."""
    return {name: Entry(value, layer.origin) for layer in layers for name, value in layer.settings.items()}


def check_complete(schema: Mapping[str, Setting], entries: Mapping[str, Entry], model: str) -> None:
    """Raises UserError for a setting of the schema that no layer gives a value."""
    for name in schema:
        if name not in entries:
            where = "overall.yaml" if name in FRAMEWORK else f"model/{model}.yaml"
            raise UserError(f"{where} gives no value for '{name}'; add it there (null where there is none)")


def _nearest(name: str, schema: Mapping[str, Setting], model: str) -> str:
    return did_you_mean(name, schema) or f"; --help and model/{model}.yaml list the settings"


def _read(folder: Path, stem: str) -> Layer:
    name = f"{stem}.yaml"
    settings = read_mapping(folder / name, name)
    grid = settings.pop("grid", None) or {}
    if not isinstance(grid, dict):
        raise UserError(f"{name}: `grid:` expects lines of the form `name: [values]`, found {grid!r}")
    for key, values in grid.items():
        if not isinstance(values, list):
            raise UserError(f"{name}: grid of {key} expects a list of values, found {values!r}")
    return Layer(name, settings, _hyper_parameters(settings, name), grid)


def _hyper_parameters(settings: dict[str, Any], origin: str) -> list[str] | None:
    names = settings.pop("hyper_parameters", None)
    if names is not None and not (isinstance(names, list | tuple) and all(isinstance(n, str) for n in names)):
        raise UserError(f"hyper_parameters expects a list of setting names, got {names!r} ({origin})")
    return None if names is None else list(names)
