"""The settings of the framework: name, kind and meaning of each. Their defaults: configs/overall.yaml.

A kind is a type (`int`, `float`, `bool`, `str`, `dict`, `list`, `list[int]`), a union of types
(`float | None`) or a tuple of choices (`("adam", "sgd")`). A model declares its own settings as a mapping
from name to kind, or to a pair of kind and range (`(float, "not negative")`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from utils.config.yaml_reader import parse_value
from utils.errors import UserError, did_you_mean

Kind = Any  # a type, a union of types or a tuple of choices: Python has no narrower name for the three


RANGES: Mapping[str, Callable[[float], bool]] = {
    "any": lambda number: True,
    "positive": lambda number: number > 0,
    "not negative": lambda number: number >= 0,
    "in [0, 1)": lambda number: 0 <= number < 1,
    "in [0, 1]": lambda number: 0 <= number <= 1,
}
"""What numbers a setting may have, by the words for it."""


@dataclass(frozen=True)
class Setting:
    """A setting; `range` is one of RANGES and holds for each number of a list."""

    name: str
    kind: Kind
    help: str
    range: str = "any"


GROUPS: dict[str, tuple[Setting, ...]] = {
    "machine and files": (
        Setting("use_gpu", bool, "train on CUDA where there is a GPU"),
        Setting("gpu_id", int, "index of the GPU", "not negative"),
        Setting(
            "deterministic", bool, "on a GPU the same bits each time, at some cost; on a CPU they are anyway"
        ),
        Setting(
            "threads",
            int | None,
            "CPU threads; null: all for a single trial, one each in a sweep",
            "positive",
        ),
        Setting("ray_cpus", float, "CPUs that a trial reserves on a Ray cluster", "not negative"),
        Setting("ray_gpus", float, "GPUs, or a part of one, that it reserves there", "not negative"),
        Setting("seed", int, "seed of all random generators; a list runs each", "not negative"),
        Setting("data_path", str, "folder that holds one folder per data set"),
        Setting("runs_path", str, "folder for results"),
        Setting("cache_path", str, "folder for computed kNN graphs and parsed interactions"),
        Setting(
            "models_dir",
            str | None,
            "folder of others' models, such as MMRec/src; their code runs with your rights",
        ),
    ),
    "data": (
        Setting("inter_file_name", str | None, "interactions file; null: <data set>.inter"),
        Setting("field_separator", str, "separator of its columns"),
        Setting("USER_ID_FIELD", str, "column of user ids"),
        Setting("ITEM_ID_FIELD", str, "column of item ids"),
        Setting("inter_splitting_label", str, "column of the split: 0 training, 1 validation, 2 test"),
        Setting("filter_out_cod_start_users", bool, "leave users without training items out of the ranking"),
        Setting("vision_feature_file", str | None, "features of the modality image (MMRec's key)"),
        Setting("text_feature_file", str | None, "features of the modality text (MMRec's key)"),
        Setting(
            "modalities",
            list[str] | dict | None,
            "names to keep, {name: file} or {name: {features: file, graph: file}}; null: the YAML's, or all",
        ),
        Setting(
            "faiss_above",
            int | None,
            "items above which kNN graphs are FAISS's, approximate; null: never",
            "positive",
        ),
        Setting("user_graph_dict_file", str | None, "user graph file of MMRec's DualGNN and DRAGON"),
    ),
    "content of items": (
        Setting(
            "missing_treatment",
            ("drop", "zero", "mean", "neighbours"),
            "what becomes of an item without content",
        ),
        Setting(
            "missing_rate",
            float,
            "share of the items whose content is hidden, drawn for each modality",
            "in [0, 1)",
        ),
        Setting("modality_ablation", str, "modality to leave out; none, all"),
        Setting("modality_shuffle", str, "modality whose content is given to other items; none, all"),
        Setting(
            "modality_noise",
            float,
            "noise added to features, in standard deviations of their columns",
            "not negative",
        ),
    ),
    "model": (
        Setting("is_multimodal_model", bool, "the model reads modalities"),
        Setting("embedding_size", int, "width of user and item embeddings", "positive"),
    ),
    "training": (
        Setting("req_training", bool, "false: evaluate the model as it is built"),
        Setting("epochs", int, "most epochs", "positive"),
        Setting(
            "stopping_step", int, "stop after more validations than this without a better one", "not negative"
        ),
        Setting("eval_step", int, "epochs from one validation to the next", "positive"),
        Setting(
            "checkpoint_step", int | None, "epochs from one checkpoint to the next; null: none", "positive"
        ),
        Setting(
            "checkpoint_share", float, "share of the time that they may take; 1: all that are due", "positive"
        ),
        Setting("train_batch_size", int, "interactions per step", "positive"),
        Setting("learner", ("adam", "sgd", "adagrad", "rmsprop"), "optimiser"),
        Setting("learning_rate", float, "step size", "positive"),
        Setting("learning_rate_scheduler", list[float], "[a, b]: rate times a^(epoch / b)", "positive"),
        Setting("weight_decay", float, "weight decay of the optimiser", "not negative"),
        Setting(
            "clip_grad_norm",
            float | dict | None,
            "largest gradient norm, or {max_norm: ..., norm_type: ...}",
            "positive",
        ),
        Setting("zero_grad", ("none", "zeros"), "gradient of a weight that a step did not use"),
        Setting("use_neg_sampling", bool, "draw one negative item per interaction"),
        Setting("negative_items", ("train", "all"), "items they are drawn from: those of training, or all"),
        Setting("use_full_sampling", bool, "batches of users alone, for models of MMRec's that ask for it"),
        Setting(
            "use_neighborhood_loss", bool, "two more items per interaction, one near it and one not, likewise"
        ),
    ),
    "evaluation": (
        Setting("metrics", list[str], "metrics to report: Recall, NDCG, Precision, MAP, Hit, MRR"),
        Setting("topk", list[int], "their cut-offs", "positive"),
        Setting("valid_metric", str, "metric that picks epoch and grid point, on validation"),
        Setting("valid_metric_decimals", int | None, "decimals it is compared at; null: all", "not negative"),
        Setting("mask_validation_at_test", bool, "keep validation items out of the test ranking"),
        Setting("eval_batch_size", int, "users ranked at a time; changes no result", "positive"),
        Setting("save_recommended_topk", bool, "keep the top-50 lists of the test ranking"),
        Setting("save_model", bool, "keep the weights of the best epoch"),
    ),
}

FRAMEWORK: dict[str, Setting] = {setting.name: setting for group in GROUPS.values() for setting in group}

STUDY: dict[str, Any] = {
    "missing_rate": 0.0,
    "modality_ablation": "none",
    "modality_noise": 0.0,
    "modality_shuffle": "none",
}
"""Settings that change the content of items to learn what it is worth, and the values at which they do not."""

MMREC_IGNORED = frozenset(
    # of its overall.yaml and data sets
    "checkpoint_dir eval_type end2end hidden_dropout_prob hidden_size layer_norm_eps max_img_size "
    "max_position_embeddings max_txt_len NEG_PREFIX pad_token_id RATING_FIELD recommend_topk state "
    "TIME_FIELD training_neg_sample_num type_vocab_size use_raw_features vocab_size "
    # of its model files
    "cf_model degree_ratio feat_embed_dim lambda_coeff mess_dropout temperature weight_size".split()
)
"""Settings of MMRec's own YAML files without an effect here, unless the model declares them."""

MMREC_UNSUPPORTED = frozenset({"end2end"})
"""Those of them that would change a run if they were true."""

FOLDERS = frozenset({"data_path", "runs_path", "cache_path", "models_dir"})
"""Settings that name a folder: relative to the project root in a YAML, to the current folder elsewhere."""


def study_in(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of STUDY that change something, of the settings of a trial that may not know them."""
    return {name: settings[name] for name, neutral in STUDY.items() if settings.get(name, neutral) != neutral}


def studied(model: str, settings: Mapping[str, Any]) -> str:
    """A model on changed content of items is a row of its own, for it is no setting that validation may choose.

    >>> studied("TMFUN", {"modality_ablation": "image", "missing_rate": 0.0})
    'TMFUN (modality_ablation=image)'
    """
    changed = ", ".join(f"{name}={value}" for name, value in study_in(settings).items())
    return f"{model} ({changed})" if changed else model


def declared(name: str, kind: Kind) -> Setting:
    """A setting as a model declares it: its kind, or a pair of kind and range.

    >>> declared("dropout", (float, "in [0, 1)")).range, declared("knn_weight", ("binary", "cosine")).range
    ('in [0, 1)', 'any')
    """
    if isinstance(kind, tuple) and not isinstance(kind[0], str):
        return Setting(name, kind[0], "", kind[1])
    return Setting(name, kind, "")


def read_value(setting: Setting, value: Any, origin: str) -> Any:
    """`value` in the type of the setting (an int becomes a float where one is wanted). Raises UserError."""
    try:
        converted = _convert(setting.kind, value)
    except ValueError:
        expected, hint = describe(setting.kind), _hint(setting.kind, value)
        raise UserError(f"{setting.name} expects {expected}, got {_shown(value)} ({origin}){hint}") from None
    for number in converted if isinstance(converted, list) else [converted]:
        if _out_of_range(number, setting.range):
            raise UserError(f"{setting.name} must be {setting.range}, got {number} ({origin})")
    return converted


def describe(kind: Kind) -> str:
    """A kind in words.

    >>> describe(int | None)
    'a whole number or nothing'
    """
    if isinstance(kind, UnionType):
        return " or ".join(describe(part) for part in get_args(kind))
    if isinstance(kind, tuple):
        return f"one of {', '.join(kind)}"
    if get_origin(kind) is list:
        return f"a list of {_WORDS[get_args(kind)[0]].split(' ', 1)[-1]}s"
    return _WORDS[kind]


def includes_list(kind: Kind) -> bool:
    """Whether a list is a value of this kind, not several values."""
    return any(part is list or get_origin(part) is list for part in get_args(kind) + (kind,))


def kind_of(values: Iterable[Any]) -> Kind:
    """The kind that these values, met in the YAML of a model without declared settings, suggest."""
    kinds = {_kind_of_one(value) for value in values}
    return kinds.pop() if len(kinds) == 1 else object


def _kind_of_one(value: Any) -> Kind:
    kinds = (bool, Real, str, list, dict)  # bool first: it is a number too
    return next((kind for kind in kinds if isinstance(value, kind)), object)


def _convert(kind: Kind, value: Any) -> Any:
    """`value` as `kind`; raises a bare ValueError where it does not fit."""
    if isinstance(kind, UnionType):
        return _first_fit(get_args(kind), value)
    if isinstance(kind, tuple):
        return _choice(kind, value)
    if get_origin(kind) is list:
        element = get_args(kind)[0]
        return [_convert(element, one) for one in _list(value)]
    return _CONVERTERS[kind](value)


def _first_fit(kinds: tuple[Kind, ...], value: Any) -> Any:
    for kind in kinds:
        try:
            return _convert(kind, value)
        except ValueError:
            continue
    raise ValueError


def _choice(choices: tuple[str, ...], value: Any) -> str:
    for choice in choices:
        if isinstance(value, str) and value.lower() == choice.lower():
            return choice
    raise ValueError


def _check(fits: bool, value: Any) -> Any:
    if not fits:
        raise ValueError
    return value


def _number(value: Any) -> float:
    try:
        number = float(_check(_is_number(value), value))
    except OverflowError:
        raise ValueError from None
    return _check(math.isfinite(number), number)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _whole(value: Any) -> int:
    return int(_check(isinstance(value, Integral) and _is_number(value), value))


def _list(value: Any) -> list[Any]:
    return list(_check(isinstance(value, list | tuple | range), value))


_CONVERTERS: Mapping[Kind, Callable[[Any], Any]] = {
    int: _whole,
    float: _number,
    Real: lambda value: value if type(value) is int else _number(value),
    bool: lambda value: _check(isinstance(value, bool), value),
    str: lambda value: os.fspath(_check(isinstance(value, str | os.PathLike), value)),
    list: _list,
    dict: lambda value: dict(_check(isinstance(value, Mapping), value)),
    NoneType: lambda value: _check(value is None, value),
    object: lambda value: value,
}

_WORDS: Mapping[Kind, str] = {
    int: "a whole number",
    float: "a number",
    Real: "a number",
    bool: "true or false",
    str: "a text",
    list: "a list",
    dict: "a mapping",
    NoneType: "nothing",
    object: "anything",
}


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)


def _hint(kind: Kind, value: Any) -> str:
    """What to do about a value of the wrong kind, where that is plain."""
    if isinstance(value, str) and isinstance(kind, tuple):
        return did_you_mean(value, kind)
    if isinstance(value, str) and _fits(kind, parse_value(value)):
        return "; write it without quotes"
    if isinstance(value, list) and not includes_list(kind):
        return "; to sweep over it, name the setting under `hyper_parameters:` or put the list under `grid:`"
    return ""


def _fits(kind: Kind, value: Any) -> bool:
    try:
        _convert(kind, value)
    except ValueError:
        return False
    return True


def _out_of_range(value: Any, allowed: str) -> bool:
    return isinstance(value, int | float) and not RANGES[allowed](value)
