"""Axes of a grid: which settings take several values in a run, in which order, and the points they span."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from utils.config.settings import Setting, includes_list, read_value
from utils.errors import UserError


@dataclass(frozen=True)
class Entry:
    """A value as written, and where."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Axis:
    """The values of a setting in a run, and where they stand."""

    values: list[Any]
    origin: str


def is_axis(setting: Setting, value: Any) -> bool:
    """Whether `value` is several values of the setting: a list, or a list of lists where a list is one value.

    >>> is_axis(Setting("knn_k", int, ""), [10, 20]), is_axis(Setting("topk", list[int], ""), [10, 20])
    (True, False)
    """
    if not isinstance(value, list | tuple | range):
        return False
    if not includes_list(setting.kind):
        return True
    return len(value) > 0 and all(isinstance(one, list | tuple | range) for one in value)


def read_axes(
    schema: Mapping[str, Setting], entries: Mapping[str, Entry], order: Iterable[str], warnings: list[str]
) -> dict[str, Axis]:
    """The axes among the entries named in `order`, in that order; other lists are left alone.

    Raises UserError for an empty list and for a value that does not fit its setting.
    """
    named = {name: entries[name] for name in order if name in entries}
    return {
        name: read_axis(schema[name], entry, warnings)
        for name, entry in named.items()
        if is_axis(schema[name], entry.value)
    }


def read_axis(setting: Setting, entry: Entry, warnings: list[str]) -> Axis:
    """The values of one axis, checked; one that comes again is dropped with a warning. Raises UserError."""
    if not len(entry.value):
        raise UserError(f"{setting.name} has an empty list of values ({entry.origin}); give it at least one")
    values: list[Any] = []
    for raw in entry.value:
        value = read_value(setting, raw, entry.origin)
        if value in values:
            warnings.append(f"{setting.name} lists {value} more than once ({entry.origin}); it runs once")
        else:
            values.append(value)
    return Axis(values, entry.origin)


def axis_order(hyper_parameters: Iterable[str], grid: Iterable[str], overrides: Iterable[str]) -> list[str]:
    """Names that may be axes, slowest first: the seed, then as the files list them, then as the overrides."""
    return list(dict.fromkeys(["seed", *hyper_parameters, *grid, *overrides]))


def points(axes: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Every combination, the last axis fastest; [{}] without axes.

    >>> points({"seed": [1, 2], "knn_k": [5]})
    [{'seed': 1, 'knn_k': 5}, {'seed': 2, 'knn_k': 5}]
    """
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
