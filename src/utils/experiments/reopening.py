"""What a finished trial was run on, opened again: its store, its configuration and its data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.registry import get_model
from utils.config import PROJECT, SRC, Config
from utils.config.settings import FOLDERS, FRAMEWORK, read_value
from utils.config.yaml_reader import read_mapping
from utils.data.dataset import Dataset
from utils.errors import UserError
from utils.experiments.store import SETTINGS, Store, StoredTrial


def open_store(overrides: Mapping[str, Any]) -> Store:
    """The store in the runs_path given on the command line, else in the default one. Raises UserError."""
    if "runs_path" in overrides:
        return Store(_from_here("runs_path", overrides["runs_path"]))
    return Store(PROJECT / read_mapping(SRC / "configs" / "overall.yaml", "overall.yaml")["runs_path"])


def reopen(trial: StoredTrial, overrides: Mapping[str, Any]) -> tuple[Config, Dataset]:
    """The configuration and the data of a trial, with other places or speed if `overrides` say so.

    A path in `overrides` counts from the current folder, one of the trial from the project's. Raises UserError for
    data that is not there or not what the trial ran on.
    """
    here = {
        name: str(_from_here(name, value)) if name in FOLDERS else value for name, value in overrides.items()
    }
    name, dataset_name = trial.result.model, trial.result.dataset
    models_dir = trial.settings.get("models_dir")
    if not models_dir:
        here.pop("models_dir", None)
    elif "models_dir" not in here:
        raise UserError(
            f"{name} in {trial.folder} is a model of {models_dir}; add --models-dir {models_dir}, for code that is "
            f"not of this project runs only where that asks for it"
        )
    settings, origin = trial.settings | here, str(trial.folder / SETTINGS)
    folder = Path(settings["models_dir"]) if settings.get("models_dir") else None
    config = Config(name, dataset_name, settings, origin, model_settings=get_model(name, folder).settings)
    if not (config.path("data_path") / dataset_name).is_dir():  # loading would make demo anew
        raise UserError(
            f"the data of {trial.folder} is no longer in {config.path('data_path')}; set data_path=... to where it is"
        )
    dataset = Dataset.load(config)
    if dataset.digest() != trial.result.environment.get("data"):
        raise UserError(
            f"the files of '{dataset_name}' in {config.path('data_path')} are not those that {trial.folder} ran on; "
            f"set data_path=... to those, or train again on these"
        )
    return config, dataset


def _from_here(name: str, value: Any) -> Path:
    """The folder that a setting names, as the user sees it. Raises UserError for what is no text."""
    text = str(value) if isinstance(value, Path) else read_value(FRAMEWORK[name], value, "command line")
    return Path.cwd() / Path(text).expanduser()
