"""The commands beside training: data sets made and checked, finished trials used, a model taken elsewhere."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from utils.cli.words import Parser, split_overrides
from utils.config.settings import FRAMEWORK


@dataclass(frozen=True)
class Command:
    """What a command does and how it is called, and where its functions are.

    They are imported when it is called, for most bring torch along. `module.TAKES` names the settings it takes.
    """

    summary: str
    usage: str
    module: str
    add_arguments: str
    run: str
    resumes: bool = False
    """Whether the same command goes on where it was stopped."""


COMMANDS = {
    "leaderboard": Command(
        "Compare what is finished: per data set a row per model, with the settings that validation chose.",
        "python main.py leaderboard [-d DATA_SET ...] [-m MODEL ...] [--metric NAME@K] [--add NAME FILE] [--beyond] "
        "[--format terminal|csv|markdown|latex] [--output FILE] [--html FILE] [runs_path=...]",
        "utils.leaderboard.command",
        "add_arguments",
        "run",
    ),
    "recommend": Command(
        "Show what the best trial of a model recommends to some users, with the titles of the items if there are any.",
        "python main.py recommend -m MODEL -d DATA_SET --users ID ... [-k K] [--output FILE] [--keep-validation] "
        "[runs_path=...]",
        "utils.recommending.command",
        "add_recommend_arguments",
        "recommend_command",
    ),
    "export": Command(
        "Write what the best trial of a model recommends to each user of a data set to a file.",
        "python main.py export -m MODEL -d DATA_SET [-k K] [--output FILE] [--keep-validation] [runs_path=...]",
        "utils.recommending.command",
        "add_export_arguments",
        "export_command",
    ),
    "prepare": Command(
        "Make a data set: filter, re-index and split interactions, with a data card, from Amazon's files or a table.",
        "python main.py prepare amazon --reviews FILE [--meta FILE] [--image-features FILE] -d NAME | "
        "table --interactions FILE --user-col NAME --item-col NAME ... -d NAME [--split NAME] [--dry-run] "
        "[data_path=...]",
        "utils.preparing.command",
        "add_arguments",
        "run",
    ),
    "check": Command(
        "Verify everything about data sets that can make numbers wrong, with the fix for each fault; writes nothing.",
        "python main.py check -d DATA_SET [DATA_SET ...] [--strict] [data_path=...]",
        "utils.checking.command",
        "add_arguments",
        "run",
    ),
    "media": Command(
        "Keep the texts and images of a data set's items in media.lmdb, and list what is missing or broken.",
        "python main.py media -d DATA_SET [--items FILE] [--texts FILE] [--images FOLDER] [data_path=...]",
        "utils.media.command",
        "add_media_arguments",
        "media_command",
    ),
    "features": Command(
        "Encode texts and images of items and write them as features; stopped, it goes on where it was.",
        "python main.py features -d DATA_SET [--text MODEL] [--image MODEL] [--items FILE] [--texts FILE] "
        "[--images FOLDER] [--device NAME] [--batch-size N] [--output-names KIND:NAME ...] [--force] [data_path=...]",
        "utils.media.command",
        "add_features_arguments",
        "features_command",
        resumes=True,
    ),
    "results": Command(
        "Run the recipes of the published table and compare with docs/results.json; what is finished is not run again.",
        "python main.py results [RECIPE ...] [--seeds N] [--workers N] [--write] [data_path=...]",
        "utils.results.command",
        "add_arguments",
        "run",
        resumes=True,
    ),
    "plugin": Command(
        "Copy TMFUN into an MMRec checkout, where it runs as MMRec's own models do.",
        "python main.py plugin TARGET_DIR [--force] [--dry-run]",
        "utils.plugin.command",
        "add_arguments",
        "run",
    ),
}


def run_command(name: str, argv: Sequence[str]) -> int:
    """Raises UserError."""
    command = COMMANDS[name]
    module = importlib.import_module(command.module)
    parser = Parser(command.usage, prog=f"python main.py {name}")
    parser.describe(command.summary, {name: FRAMEWORK[name].help for name in module.TAKES})
    getattr(module, command.add_arguments)(parser)
    parser.add_argument("-h", "--help", action="store_true", help="this text")
    words, overrides = split_overrides(argv, parser.options())
    if not {"-h", "--help"}.isdisjoint(words):
        parser.print_help()
        return 0
    return getattr(module, command.run)(parser.parse_all(words), overrides)
