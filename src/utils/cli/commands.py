"""The commands beside training: what is done with finished trials."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from utils.cli.words import Parser, split_overrides


@dataclass(frozen=True)
class Command:
    """A command's usage, and where its functions are: imported when it is called, for they bring torch along."""

    usage: str
    module: str
    add_arguments: str
    run: str


_ROOM = "utils.experiments"
COMMANDS = {
    "leaderboard": Command(
        "python main.py leaderboard [-d DATA_SET ...] [-m MODEL ...] [--metric NDCG@20] [--add NAME FILE] "
        "[--format terminal|csv|markdown|latex] [--output FILE] [--html FILE] [runs_path=...]",
        f"{_ROOM}.leaderboard_command",
        "add_arguments",
        "run",
    ),
    "recommend": Command(
        "python main.py recommend -m MODEL -d DATA_SET --users 12,57 [-k 10] [--output FILE] [runs_path=...]",
        f"{_ROOM}.recommend_command",
        "add_recommend_arguments",
        "recommend_command",
    ),
    "export": Command(
        "python main.py export -m MODEL -d DATA_SET [-k 50] [--output FILE.tsv|.parquet] [runs_path=...]",
        f"{_ROOM}.recommend_command",
        "add_export_arguments",
        "export_command",
    ),
}


def run_command(name: str, argv: Sequence[str]) -> int:
    """Raises UserError."""
    command = COMMANDS[name]
    module = importlib.import_module(command.module)
    parser = Parser(command.usage, prog=f"python main.py {name}")
    parser.usage = command.usage
    getattr(module, command.add_arguments)(parser)
    parser.add_argument("-h", "--help", action="store_true", help="this text")
    words, overrides = split_overrides(argv, parser.options())
    if not {"-h", "--help"}.isdisjoint(words):
        parser.print_help()
        return 0
    return getattr(module, command.run)(parser.parse_all(words), overrides)
