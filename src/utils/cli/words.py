"""The words of a command line: `name=value` settings among options, and what is wrong with a misplaced one."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any, NoReturn

from utils.config.settings import FRAMEWORK
from utils.config.yaml_reader import parse_value
from utils.errors import UserError

OVERRIDE = re.compile(r"(?:--)?([A-Za-z_]\w*)=(.*)", re.DOTALL)


WIDTH, COLUMN = 110, 30
"""Of a help text, and where the explanations begin."""


class Parser(argparse.ArgumentParser):
    """Whose errors are UserErrors that end with `usage`, one line."""

    def __init__(self, usage: str, prog: str | None = None):
        super().__init__(prog=prog, add_help=False, allow_abbrev=False, formatter_class=_Help)
        self._line = usage

    def describe(self, summary: str, settings: Mapping[str, str]) -> None:
        """For the help text: what the command does, and the settings it takes with what each is."""
        self.usage = "\n".join(wrap(self._line, WIDTH - 7, subsequent_indent=" " * 11))
        self.description = summary
        lines = [f"  {name + '=...':{COLUMN - 4}}  {what}" for name, what in settings.items()]
        self.epilog = "\n".join(["settings:", *lines]) if lines else None

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; usage: {self._line}")

    def parse_all(self, words: Sequence[str]) -> argparse.Namespace:
        """Raises UserError for a word that nobody wanted."""
        arguments, rest = self.parse_known_args(words)
        if rest:
            raise UserError(_misplaced(rest))
        return arguments

    def options(self) -> frozenset[str]:
        """Names of its options, such as --html."""
        return frozenset(self._option_string_actions)


class _Help(argparse.RawDescriptionHelpFormatter):
    """An option a line, with its value named once."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=COLUMN, width=WIDTH)
        self._action_max_length = COLUMN  # else the explanations begin where the longest option ends

    def _format_action_invocation(self, action: argparse.Action) -> str:
        value = action.metavar or ""
        value = " ".join(value) if isinstance(value, tuple) else value
        several = " ..." if action.nargs == "+" else ""
        return f"{', '.join(action.option_strings)} {value}{several}".strip()


def split_overrides(
    argv: Sequence[str], options: frozenset[str] = frozenset()
) -> tuple[list[str], dict[str, Any]]:
    """Take the `name=value` words, wherever they stand, out of the others; `--name=value` of an option stays.

    Raises UserError for a name given twice and for a value that the shell has cut at a space.

    >>> split_overrides(["-d", "baby", "knn_k=20", "--seed=[1,2]", "-m", "BPR"])
    (['-d', 'baby', '-m', 'BPR'], {'knn_k': 20, 'seed': [1, 2]})
    """
    words: list[str] = []
    given: dict[str, str] = {}
    for word in argv:
        match = OVERRIDE.fullmatch(word)
        if not match or word.partition("=")[0] in options:
            words.append(word)
        elif match[1] in given:
            raise UserError(
                f"{match[1]} is given twice, {given[match[1]]} and {word} (command line); keep one"
            )
        else:
            given[match[1]] = word
    return words, {name: _value(word) for name, word in given.items()}


def add_models_dir(parser: argparse.ArgumentParser) -> None:
    """`--models-dir PATH`, another way to write the setting models_dir."""
    parser.add_argument("--models-dir", metavar="PATH", help=FRAMEWORK["models_dir"].help)


def with_models_dir(arguments: argparse.Namespace, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides with what `--models-dir` says. Raises UserError where they have it already."""
    if arguments.models_dir is None:
        return dict(overrides)
    if "models_dir" in overrides:
        raise UserError(
            f"models_dir is given twice, {overrides['models_dir']} and --models-dir {arguments.models_dir} "
            f"(command line); keep one"
        )
    return {**overrides, "models_dir": arguments.models_dir}


def distinct(names: Sequence[str]) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(names))


def positive(text: str) -> int:
    """A number from 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1")
    return number


def _value(word: str) -> Any:
    text = word.partition("=")[2]
    value = parse_value(text)
    if isinstance(value, str) and text.startswith(("[", "{")):
        raise UserError(f"'{word}' ends too early or is no YAML; put it in quotes where it contains spaces")
    return value


def _misplaced(rest: Sequence[str]) -> str:
    """What is wrong with the first word that nobody wanted, and the right form."""
    word = rest[0]
    name = word.lstrip("-").split("=")[0]
    if word.startswith("-") and name:
        value = rest[1] if len(rest) > 1 and not rest[1].startswith("--") else "..."
        value = word.partition("=")[2] or value
        return f"unknown option '{word}'; a setting is written {name}={value}, without spaces"
    return (
        f"unexpected word '{word}'; models stand behind -m, data sets behind -d, and a setting is written "
        f"name=value, in quotes where it contains spaces"
    )
