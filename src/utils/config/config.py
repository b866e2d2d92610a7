"""Settings of a run: overall.yaml < dataset/<D>.yaml < model/<M>.yaml < recipe < overrides, each with its origin."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from utils.config.grid import Axis, Entry, axis_order, is_axis, points, read_axes
from utils.config.layers import (
    THEIRS,
    Layer,
    check_complete,
    check_names,
    drop_ignored,
    has_model,
    hyper_parameters,
    merge,
    model_schema,
    override_layer,
    read_layers,
    read_model_layer,
    yaml_names,
)
from utils.config.settings import FRAMEWORK, STUDY, Kind, Setting, read_value
from utils.errors import UserError, did_you_mean
from utils.evaluation.metrics import METRICS, canonical_metric, metric_name, parse_metric

if TYPE_CHECKING:
    import torch

SRC = Path(__file__).resolve().parents[2]
PROJECT = SRC.parent
DERIVED = "derived"
Result = TypeVar("Result")


class Config:
    """Settings by name, as MMRec's: `config["x"]` is None where there is no x.

    `axes` are the settings that take several values, `points()` their combinations, and `at(point)` the
    configuration of one of them. Until then an axis has the value of its YAML, or its first one where that is
    a list. `warnings` are lines for the first block of a run. `model_settings` maps names to kinds as a model
    class declares them; None stands for a file that declares none. `recipe` is a layer below `config_dict`,
    whose lists are several values too. Raises UserError.
    """

    def __init__(
        self,
        model: str,
        dataset: str,
        config_dict: Mapping[str, Any] | None = None,
        overrides_origin: str = "config_dict",
        configs_dir: Path | None = None,
        model_settings: Mapping[str, Kind] | None = None,
        use_grid: bool = False,
        recipe: Layer | None = None,
    ):
        self.warnings: list[str] = []
        self.final_config_dict: dict[str, Any] = {
            "model": model,
            "dataset": dataset,
            "valid_metric_bigger": True,
        }
        self._origins = dict.fromkeys(self.final_config_dict, DERIVED)
        configs = configs_dir or SRC / "configs"
        shared = read_layers(configs, dataset)
        overrides = _overrides(config_dict, overrides_origin, recipe, self.final_config_dict)
        models_dir = _models_dir([*shared, *overrides])
        files = *shared, read_model_layer(configs, model, models_dir)
        schema = FRAMEWORK | model_schema(files[-1], model_settings)
        for layer in files:
            drop_ignored(layer, schema, self.warnings)
        for layer in (*files, *overrides):
            check_names(layer, schema, model)
        _check_multimodal(files, overrides, model)
        entries = merge([*files, *overrides])
        check_complete(schema, entries, model)
        grid = self._grid(files[-1], schema, use_grid)
        given = merge(overrides)
        order = axis_order(hyper_parameters(files, overrides, schema, model), grid, given)
        axes = read_axes(schema, merge(files) | grid | given, order, self.warnings)
        self._set(schema, entries, axes)
        if models_dir is not None and not has_model(models_dir, model.removesuffix(THEIRS)):
            self.final_config_dict["models_dir"] = None  # a model of ours, which has nothing to do with it
        self.axes = {name: axis.values for name, axis in axes.items() if len(axis.values) > 1}
        self._axis_origins = {name: axes[name].origin for name in self.axes}
        self._check()
        self._derive()
        self._check_dataset(configs)

    def __getitem__(self, name: str) -> Any:
        return self.final_config_dict.get(name)

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a setting is a str, not {type(name).__name__}")
        self.final_config_dict[name] = value
        self._origins[name] = "code"

    def __contains__(self, name: object) -> bool:
        return name in self.final_config_dict

    def __str__(self) -> str:
        return "\n".join(
            f"{name} = {value}  ({self.origin(name)})" for name, value in self.final_config_dict.items()
        )

    def origin(self, name: str) -> str:
        """Where the value comes from, such as 'model/TMFUN.yaml'. Raises KeyError for an absent setting."""
        return self._origins[name]

    def path(self, name: str) -> Path:
        """A folder setting; relative to the project root in a YAML, to the current directory elsewhere."""
        return _folder(self[name], self.origin(name).removesuffix(" (grid)"))

    @property
    def models_dir(self) -> Path | None:
        """The folder of others that the model comes from; None for one of ours."""
        return self.path("models_dir") if self["models_dir"] else None

    def points(self) -> list[dict[str, Any]]:
        """Every combination of the axes, the last axis fastest; [{}] without axes."""
        return points(self.axes)

    def at(self, point: Mapping[str, Any]) -> Config:
        """A copy in which axes have the values of `point`. Raises KeyError for a name that is no axis."""
        config = copy.copy(self)
        config.final_config_dict = copy.deepcopy(self.final_config_dict) | copy.deepcopy(dict(point))
        config.warnings = list(self.warnings)
        config.axes = {name: values for name, values in self.axes.items() if name not in point}
        config._origins = self._origins | {name: f"{self._axis_origins[name]} (grid)" for name in point}
        config._derive()
        return config

    def _set(
        self, schema: Mapping[str, Setting], entries: Mapping[str, Entry], axes: Mapping[str, Axis]
    ) -> None:
        """The value of every setting; a list of one value is that value."""
        for name, entry in entries.items():
            axis = axes.get(name)
            if axis and (len(axis.values) == 1 or is_axis(schema[name], entry.value)):
                self.final_config_dict[name], self._origins[name] = axis.values[0], axis.origin
            else:
                self.final_config_dict[name] = read_value(schema[name], entry.value, entry.origin)
                self._origins[name] = entry.origin

    def _grid(self, layer: Layer, schema: Mapping[str, Setting], use_grid: bool) -> dict[str, Entry]:
        """The grid of the model's YAML, where it is asked for; checked in any case."""
        grid = {name: Entry(values, layer.origin) for name, values in layer.grid.items()}
        read_axes(schema, grid, grid, [])
        if use_grid and not grid:
            self.warnings.append(f"{layer.origin} has no `grid:`, so {self['model']} runs at its settings")
        return grid if use_grid else {}

    def _values(self, name: str) -> list[Any]:
        return self.axes.get(name, [self[name]])

    def _check(self) -> None:
        """Raises UserError for values that are right by themselves and wrong together."""
        for pair in self._values("learning_rate_scheduler"):
            if len(pair) != 2:
                raise UserError(
                    f"learning_rate_scheduler expects two numbers, factor and epochs, got {pair} "
                    f"({self.origin('learning_rate_scheduler')})"
                )
        for name, neutral in STUDY.items():
            if not self["is_multimodal_model"] and self._values(name) != [neutral]:
                self.warnings.append(
                    f"{name} ({self.origin(name)}) has no effect on {self['model']}, which reads no content of items"
                )
        for limit in self._values("clip_grad_norm"):
            self._check_clipping(limit)
        for metrics, topk, chosen in product(*map(self._values, ("metrics", "topk", "valid_metric"))):
            self._check_metrics(metrics, topk, chosen)
        self._reword("metrics", lambda names: [METRICS[metric_name(name)].title for name in names])
        self._reword("valid_metric", canonical_metric)

    def _reword(self, name: str, write: Callable[[Any], Any]) -> None:
        """One spelling of what may be written in several: it is one setting, and one trial."""
        self.final_config_dict[name] = write(self[name])
        if name in self.axes:
            self.axes[name] = [write(value) for value in self.axes[name]]

    def _check_clipping(self, limit: float | dict[str, Any] | None) -> None:
        if not isinstance(limit, dict):
            return
        where, known = self.origin("clip_grad_norm"), ("max_norm", "norm_type", "error_if_nonfinite")
        for key in limit:
            if key not in known:
                raise UserError(
                    f"clip_grad_norm has no '{key}' ({where}){did_you_mean(str(key), known) or f'; known: {known}'}"
                )
        largest = limit.get("max_norm")
        if isinstance(largest, bool) or not isinstance(largest, int | float) or largest <= 0:
            raise UserError(f"clip_grad_norm needs a positive max_norm, got {limit} ({where})")

    def _check_metrics(self, metrics: list[str], topk: list[int], chosen: str) -> None:
        if not metrics or not topk:
            raise UserError(f"metrics and topk need at least one value each, got {metrics} and {topk}")
        names = [self._read_metric(metric_name, text, "metrics") for text in metrics]
        name, k = self._read_metric(parse_metric, chosen, "valid_metric")
        if k not in topk:
            raise UserError(
                f"valid_metric {chosen} ({self.origin('valid_metric')}) needs {k} among topk, "
                f"which is {topk} ({self.origin('topk')})"
            )
        if name not in names:
            raise UserError(
                f"valid_metric {chosen} ({self.origin('valid_metric')}) needs {name} among metrics, "
                f"which is {metrics} ({self.origin('metrics')})"
            )

    def _read_metric(self, read: Callable[[str], Result], text: str, setting: str) -> Result:
        try:
            return read(text)
        except UserError as error:
            raise UserError(f"{setting}: {error} ({self.origin(setting)})") from error

    def _derive(self) -> None:
        """What follows from other settings."""
        config = self.final_config_dict
        if config["inter_file_name"] is None:
            config["inter_file_name"] = f"{config['dataset']}.inter"
            self._origins["inter_file_name"] = DERIVED
        config["device"] = self._device()
        self._origins["device"] = DERIVED

    def _device(self) -> torch.device:
        import torch  # here, so that --help need not wait for it

        if not (self["use_gpu"] and torch.cuda.is_available()):
            return torch.device("cpu")
        if self["gpu_id"] >= torch.cuda.device_count():
            raise UserError(f"gpu_id is {self['gpu_id']} ({self.origin('gpu_id')}), but there are only GPUs "
                            f"0 to {torch.cuda.device_count() - 1}")  # fmt: skip
        return torch.device("cuda", self["gpu_id"])

    def _check_dataset(self, configs: Path) -> None:
        """Raises UserError for a data set with neither a YAML nor a folder: its name is likely mistyped."""
        name, folder = self["dataset"], self.path("data_path") / self["dataset"]
        known = yaml_names(configs / "dataset")
        if name not in known and not folder.is_dir():
            hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
            raise UserError(
                f"unknown data set '{name}': neither {folder} nor dataset/{name}.yaml is there{hint}"
            )


def find_models_dir(
    dataset: str, overrides: Mapping[str, Any], origin: str, recipe: Layer | None = None
) -> Path | None:
    """The folder that these settings name, for whoever needs a model's class before its Config. Raises UserError."""
    return _models_dir([*read_layers(SRC / "configs", dataset), *_overrides(overrides, origin, recipe, {})])


def _overrides(
    settings: Mapping[str, Any] | None, origin: str, recipe: Layer | None, run: Mapping[str, Any]
) -> list[Layer]:
    """The layers above the files, lowest precedence first. Raises UserError."""
    layers = [override_layer(settings or {}, origin, run)]
    return layers if recipe is None else [override_layer(recipe.settings, recipe.origin, run), *layers]


def _check_multimodal(files: Sequence[Layer], overrides: Sequence[Layer], model: str) -> None:
    """Raises UserError for a run that says otherwise than the model's YAML whether the model reads content."""
    own, asked = (merge(layers).get("is_multimodal_model") for layers in (files, overrides))
    if own is not None and asked is not None and asked.value != own.value:
        raise UserError(
            f"is_multimodal_model is part of what {model} is, {own.value} ({asked.origin}); leave it out, and use "
            f"modality_ablation=all to run a model without the content of items"
        )


def _models_dir(layers: Sequence[Layer]) -> Path | None:
    """The folder of others' models that the highest of these layers names. Raises UserError."""
    entry = merge(layers).get("models_dir")
    value = read_value(FRAMEWORK["models_dir"], entry.value, entry.origin) if entry else None
    if value is None:
        return None
    folder = _folder(value, entry.origin)
    if not (folder / "models").is_dir():
        raise UserError(
            f"models_dir is {folder} ({entry.origin}), which has no folder models/; give the folder that has "
            f"models/ and configs/model/, MMRec's src for one"
        )
    return folder


def _folder(text: str, origin: str) -> Path:
    """A folder that a layer names; relative to the project root in a YAML, to the current folder elsewhere."""
    return (PROJECT if origin.endswith(".yaml") else Path.cwd()) / Path(text).expanduser()
