"""The command line: models, data sets, `name=value` settings."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from utils.config.layers import yaml_names
from utils.config.settings import GROUPS, describe
from utils.config.yaml_reader import parse_value, read_mapping
from utils.errors import UserError

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
OVERRIDE = re.compile(r"(?:--)?([A-Za-z_]\w*)=(.*)", re.DOTALL)

USAGE = """\
python main.py -m MODEL ... -d DATA_SET ... [name=value ...] [--grid]
       python main.py --list-models
       python main.py --help"""

EXAMPLES = """\
examples
  python main.py -m TMFUN -d sports                       one model, one data set
  python main.py -m TMFUN VBPR FREEDOM -d baby sports     several of each, with a table at the end
  python main.py -m TMFUN -d sports knn_k=20              any setting (--knn_k=20 works too)
  python main.py -m TMFUN -d sports seed=[1,2,3]          a list runs every value
  python main.py -m LATTICE -d baby --grid                the grid of the model's YAML
  python main.py -m BPR -d baby data_path=../shared/data  data from elsewhere"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; usage: {USAGE.splitlines()[0]}")


def main(argv: list[str] | None = None) -> int:
    """Run the command line. Its status: 0, 1 where all trials of a model failed, 2 after a user's error, 130 or
    141 where it was stopped or its reader has gone.
    """
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(argv: list[str]) -> int:
    words, overrides = split_overrides(argv)
    arguments, rest = _parser().parse_known_args(words)
    if rest:
        raise UserError(_misplaced(rest))
    if arguments.help:
        print(help_text())
        return 0
    if arguments.list_models:
        from common.registry import describe_models  # with torch, which --help can do without

        print(describe_models())
        return 0
    if not arguments.model:
        print(f"usage: {USAGE}", file=sys.stderr)
        raise UserError(
            f"no model given; add -m with one or more of {', '.join(yaml_names(CONFIGS / 'model'))}"
        )
    if not arguments.dataset:
        known = ", ".join(yaml_names(CONFIGS / "dataset"))
        raise UserError(
            f"no data set given; add -d with one or more of {known}, or a folder's name in data_path"
        )
    from utils.experiments.sweep import run_all

    sweeps = run_all(
        _distinct(arguments.model), _distinct(arguments.dataset), overrides, arguments.grid, "command line"
    )
    return 0 if all(sweep.trials for sweep in sweeps) else 1


def split_overrides(argv: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Take the `name=value` words, wherever they stand, out of the others.

    Raises UserError for a name given twice and for a value that the shell has cut at a space.

    >>> split_overrides(["-d", "baby", "knn_k=20", "--seed=[1,2]", "-m", "BPR"])
    (['-d', 'baby', '-m', 'BPR'], {'knn_k': 20, 'seed': [1, 2]})
    """
    words: list[str] = []
    given: dict[str, str] = {}
    for word in argv:
        match = OVERRIDE.fullmatch(word)
        if not match or word.startswith(("--model=", "--dataset=")):
            words.append(word)
        elif match[1] in given:
            raise UserError(
                f"{match[1]} is given twice, {given[match[1]]} and {word} (command line); keep one"
            )
        else:
            given[match[1]] = word
    return words, {name: _value(word) for name, word in given.items()}


def _value(word: str) -> Any:
    text = word.partition("=")[2]
    value = parse_value(text)
    if isinstance(value, str) and text.startswith(("[", "{")):
        raise UserError(f"'{word}' ends too early or is no YAML; put it in quotes where it contains spaces")
    return value


def help_text() -> str:
    """Usage, examples and the framework's settings with their defaults."""
    defaults = read_mapping(CONFIGS / "overall.yaml", "overall.yaml")
    lines = [
        f"usage: {USAGE}",
        "",
        "  -m, --model      models: " + ", ".join(yaml_names(CONFIGS / "model")),
        "  -d, --dataset    data sets: "
        + ", ".join(yaml_names(CONFIGS / "dataset"))
        + ", or any folder of data_path",
        "  --grid           run every point of the grid in the model's YAML; validation chooses",
        "  --list-models    what each model needs",
        "",
        EXAMPLES,
    ]
    for title, settings in GROUPS.items():
        lines += ["", f"settings: {title}"]
        for setting in settings:
            default = repr(defaults[setting.name]).replace("'", "").replace("None", "null")
            choices = f" ({describe(setting.kind)})" if isinstance(setting.kind, tuple) else ""
            lines.append(f"  {setting.name + '=' + default:41} {setting.help}{choices}")
    lines += ["", "Settings of a model, with its values and its grid: src/configs/model/<model>.yaml"]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("-m", "--model", nargs="+", action="extend", metavar="MODEL")
    parser.add_argument("-d", "--dataset", nargs="+", action="extend", metavar="DATA_SET")
    parser.add_argument("--grid", action="store_true")
    parser.add_argument("--list-models", action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    return parser


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


def _distinct(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))
