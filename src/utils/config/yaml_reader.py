"""YAML as plain data: PyYAML's safe loader, with floats like 1e-5 and without silent duplicate keys."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from utils.errors import UserError


class _Loader(yaml.SafeLoader):
    """A loader of its own: what is added here stays out of every other loader of the process."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                problem = f"'{key.value}' is there already, in line {seen[key.value]}; keep one of the two"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen[key.value] = line
        return super().construct_mapping(node, deep=deep)


# YAML 1.1 wants a dot and a signed exponent in a float; people, and MMRec's files, write 1e-5 and 1.5e3.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def read_mapping(path: Path, name: str) -> dict[str, Any]:
    """The settings of a YAML file that messages call `name`; {} for an empty one.

    Raises UserError for a file that cannot be read, is no YAML or no mapping from names to values.
    """
    try:
        content = _load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{name}{_where(error)}: {_problem(error)}") from error
    except (OSError, ValueError) as error:  # not there, not UTF-8, or a date such as 2024-13-45
        raise UserError(f"{name} cannot be read: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{name} must hold lines of the form `name: value`, found {_short(content)}")
    for key in content:
        if not isinstance(key, str):
            raise UserError(f"{name}: a setting's name must be a text, found {key!r}")
    return content


def parse_value(text: str) -> Any:
    """A single value, as in a YAML file; a text that is no YAML is itself. Never raises.

    >>> parse_value("1e-5"), parse_value("[1, 2]"), parse_value("adam")
    (1e-05, [1, 2], 'adam')
    """
    try:
        return _load(text)
    except (yaml.YAMLError, ValueError):
        return text


def _load(text: str) -> Any:
    """`yaml.safe_load` by the loader above."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def _problem(error: yaml.YAMLError) -> str:
    """What PyYAML found, in one line."""
    return " ".join(str(getattr(error, "problem", None) or error).split())


def _short(content: Any) -> str:
    text = repr(content)
    return text if len(text) <= 60 else text[:57] + "..."
