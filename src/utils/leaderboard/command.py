"""The command `leaderboard`: the store as a table in the terminal or a file, and as a page."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.cli.words import distinct
from utils.config.settings import FRAMEWORK, read_value
from utils.errors import UserError, did_you_mean
from utils.experiments.reopening import open_store
from utils.files import check_output, write_output
from utils.leaderboard.board import Board
from utils.leaderboard.foreign import add_foreign
from utils.leaderboard.formats import FORMATS, Found, terminal
from utils.leaderboard.insights import insights
from utils.leaderboard.selection import leaderboard

TAKES = ("runs_path", "data_path", "cache_path")
"""The settings that the command takes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    # fmt: off
    add("-d", "--dataset", nargs="+", action="extend", metavar="DATA_SET", help="data sets to show, if not all")
    add("-m", "--model", nargs="+", action="extend", metavar="MODEL", help="models to show, if not all")
    add("--metric", default="recall@20", metavar="NAME@K",
        help="test metric that ranks the models, recall@20 if not given; settings are chosen by validation")
    add("--add", nargs=2, action="append", default=[], metavar=("NAME", "FILE"),
        help="add a row NAME for ranking lists of another system, scored under the same protocol: a table of tabs or "
        "commas with user, item, and rank or score; needs one data set")
    add("--beyond", action="store_true",
        help="a second table: coverage, novelty, diversity and more, and results by group of users and of items")
    add("--format", choices=tuple(FORMATS), metavar="FORMAT", default="terminal",
        help=f"form of the tables: {', '.join(FORMATS)}")
    add("--output", type=Path, metavar="FILE", help="write the tables there instead of showing them")
    add("--html", type=Path, metavar="FILE", help="write a page with plots there, beside the tables")
    # fmt: on


def run(arguments: argparse.Namespace, overrides: Mapping[str, Any]) -> int:
    """Print or write what is asked for. Raises UserError before anything is written."""
    places = _places(overrides)
    _check_files(arguments)
    names = distinct(arguments.dataset or ()) or None, distinct(arguments.model or ()) or None
    boards = leaderboard(open_store(overrides), *names, arguments.metric)
    boards = _with_foreign(boards, arguments, places)
    wanted = arguments.beyond or arguments.html
    found = {board.dataset: insights(board, places) for board in boards} if wanted else {}
    shown = found if arguments.beyond else {}
    files = {}
    if arguments.html:
        files[arguments.html] = _page(boards, found)
    if arguments.output:
        files[arguments.output] = FORMATS[arguments.format](boards, shown)
    for path, text in files.items():
        write_output(path, lambda file, text=text: file.write(text.encode()))
    if not arguments.output:
        print(_on_stdout(boards, shown, arguments.format), end="")
    for path in files:
        print(f"written    {path}", file=sys.stderr)
    if arguments.format in ("csv", "latex"):  # which have no place for them
        for note in [note for one in shown.values() for note in one.notes]:
            print(f"warning    {note}", file=sys.stderr)
    if not files and arguments.format == "terminal":
        print("\nplots and more: add --html leaderboard.html; for a paper: --format latex, markdown or csv")
    return 0


def _places(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that say where the data is. Raises UserError."""
    for name in overrides:
        if name not in TAKES:
            raise UserError(
                f"'{name}' has no effect on a leaderboard (command line); it takes {', '.join(TAKES)}"
                f"{did_you_mean(name, TAKES)}"
            )
    read = {n: read_value(FRAMEWORK[n], value, "command line") for n, value in overrides.items()}
    return {name: value for name, value in read.items() if name != "runs_path"}


def _with_foreign(
    boards: list[Board], arguments: argparse.Namespace, places: Mapping[str, Any]
) -> list[Board]:
    if arguments.add and len(boards) != 1:
        found = ", ".join(board.dataset for board in boards)
        raise UserError(f"--add needs exactly one data set, with -d: that of the lists; here are {found}")
    for name, path in arguments.add:
        boards = [add_foreign(boards[0], name, Path(path).expanduser(), places)]
    return boards


def _page(boards: list[Board], found: Found) -> str:
    try:
        from utils.leaderboard.page import page  # with matplotlib and Jinja2, which a table can do without
    except ModuleNotFoundError as error:
        raise UserError(
            f"--html needs {error.name}; install what the project needs: pip install -r requirements.txt"
        ) from error
    return page(boards, found)


def _on_stdout(boards: list[Board], found: Found, form: str) -> str:
    """Bold and underlined only where that is a terminal and NO_COLOR does not object."""
    if form == "terminal":
        return terminal(boards, found, styled=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    return FORMATS[form](boards, found)


def _check_files(arguments: argparse.Namespace) -> None:
    """Raises UserError for a file that cannot be written."""
    files = [path for path in (arguments.html, arguments.output) if path]
    for path in files:
        check_output(path)
    if len(files) == 2 and files[0].absolute() == files[1].absolute():
        raise UserError(f"--html and --output both name {files[0]}; give each its own file")
