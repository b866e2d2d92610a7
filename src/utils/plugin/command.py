"""The command `plugin`: TMFUN's files copied into an MMRec checkout."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.plugin.copying import MODEL, Copy, check_conflicts, find_source, plan, write

TAKES = ()
"""The settings that the command takes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", type=Path, metavar="TARGET_DIR", help="an MMRec checkout, or its src/")
    parser.add_argument(
        "--force", action="store_true", help="replace changed files; the old ones become .bak"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be copied, and copy nothing")


def run(arguments: argparse.Namespace, overrides: Mapping[str, Any]) -> int:
    """Copy, and say what was done and what to do next. Raises UserError; nothing is copied then."""
    if overrides:
        raise UserError(
            f"'{next(iter(overrides))}' has no effect on plugin, which takes no settings; leave it out"
        )
    source = find_source(arguments.target.expanduser())
    copies = plan(source)
    if not arguments.force:
        check_conflicts(copies, source)
    backups = {} if arguments.dry_run else write(copies)
    print(f"target     {source}")
    for copy in copies:
        print(_line(copy, backups))
    if not arguments.dry_run:
        print(f"next       cd {shlex.quote(str(source))} && python main.py -m {MODEL} -d baby")
    return 0


def _line(copy: Copy, backups: Mapping[str, Path | None]) -> str:
    """What became of a file, or would become of one that is not in `backups`, for nothing was written."""
    if copy.is_there:
        return f"there      {copy.name}, the same already"
    if copy.name not in backups:
        return f"would copy {copy.name}{'; the old one is kept as .bak' if copy.in_the_way else ''}"
    backup = backups[copy.name]
    return f"copied     {copy.name}{f'; the old one is {backup.name} beside it' if backup else ''}"
