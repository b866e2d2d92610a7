"""The command `leaderboard`: the store as a table in the terminal or a file, and as a page."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.config import PROJECT, SRC
from utils.config.settings import FRAMEWORK, read_value
from utils.config.yaml_reader import read_mapping
from utils.errors import UserError, did_you_mean
from utils.experiments.leaderboard import Board, add_foreign, leaderboard
from utils.experiments.store import Store
from utils.experiments.tables import FORMATS, terminal
from utils.files import atomic_write

PLACES = ("runs_path", "data_path", "cache_path")
"""The settings that the command takes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--dataset", nargs="+", action="extend", metavar="DATA_SET", help="if not all")
    parser.add_argument("-m", "--model", nargs="+", action="extend", metavar="MODEL", help="if not all")
    parser.add_argument(
        "--metric", default="recall@20", metavar="NAME@K", help="that ranks the models, by its test value"
    )
    parser.add_argument("--add", nargs=2, action="append", default=[], metavar=("NAME", "FILE"),
                        help="score ranking lists of another system under the same protocol; with one -d")  # fmt: skip
    parser.add_argument("--format", choices=tuple(FORMATS), default="terminal", help="of the table")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the page with plots there")


def run(arguments: argparse.Namespace, overrides: Mapping[str, Any]) -> int:
    """Print or write what is asked for. Raises UserError before anything is written."""
    places = _places(overrides)
    _check_files(arguments)
    root = _store_folder(places.pop("runs_path", None))
    boards = leaderboard(
        Store(root), _distinct(arguments.dataset), _distinct(arguments.model), arguments.metric
    )
    boards = _with_foreign(boards, arguments, places)
    files = {}
    if arguments.html:
        files[arguments.html] = _page(boards, places)
    if arguments.output:
        files[arguments.output] = FORMATS[arguments.format](boards)
    for path, text in files.items():
        _write(path, text)
    if not arguments.output:
        print(_shown(boards, arguments.format), end="")
    for path in files:
        print(f"written    {path}", file=sys.stderr)
    if not arguments.html and arguments.format == "terminal":
        print("\nplots and more: add --html leaderboard.html; for a paper: --format latex, markdown or csv")
    return 0


def _places(overrides: Mapping[str, Any]) -> dict[str, Any]:
    for name in overrides:
        if name not in PLACES:
            raise UserError(
                f"'{name}' has no effect on a leaderboard (command line); it takes {', '.join(PLACES)}"
                f"{did_you_mean(name, PLACES)}"
            )
    return {n: read_value(FRAMEWORK[n], value, "command line") for n, value in overrides.items()}


def _store_folder(given: str | None) -> Path:
    """As a configuration has it: what is given from where the user is, the default from the project's root."""
    if given is not None:
        return Path.cwd() / Path(given).expanduser()
    return PROJECT / read_mapping(SRC / "configs" / "overall.yaml", "overall.yaml")["runs_path"]


def _with_foreign(
    boards: list[Board], arguments: argparse.Namespace, places: Mapping[str, Any]
) -> list[Board]:
    if arguments.add and len(boards) != 1:
        found = ", ".join(board.dataset for board in boards)
        raise UserError(f"--add needs exactly one data set, with -d: that of the lists; here are {found}")
    for name, path in arguments.add:
        boards = [add_foreign(boards[0], name, Path(path).expanduser(), places)]
    return boards


def _page(boards: list[Board], places: Mapping[str, Any]) -> str:
    try:
        from utils.experiments.page import page  # with matplotlib and Jinja2, which a table can do without
    except ModuleNotFoundError as error:
        raise UserError(
            f"--html needs {error.name}; install what the project needs: pip install -r requirements.txt"
        ) from error
    return page(boards, places)


def _shown(boards: list[Board], form: str) -> str:
    """For stdout; bold and underlined only where that is a terminal and NO_COLOR does not object."""
    if form == "terminal":
        return terminal(boards, styled=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    return FORMATS[form](boards)


def _check_files(arguments: argparse.Namespace) -> None:
    """Raises UserError for a file that cannot be written."""
    files = [path for path in (arguments.html, arguments.output) if path]
    for path in files:
        if path.is_dir() or not path.absolute().parent.is_dir():
            why = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
            raise UserError(f"cannot write {path}: {why}; name a file in a folder that is there")
    if len(files) == 2 and files[0].absolute() == files[1].absolute():
        raise UserError(f"--html and --output both name {files[0]}; give each its own file")


def _write(path: Path, text: str) -> None:
    try:
        atomic_write(path, lambda file: file.write(text.encode()))
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; nothing was written there"
        ) from error


def _distinct(names: list[str] | None) -> list[str] | None:
    return list(dict.fromkeys(names)) if names else None
