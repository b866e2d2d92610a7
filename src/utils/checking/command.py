"""The command `check`: what is wrong with data sets, and the fix for each."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from utils.checking.checker import check_dataset
from utils.checking.settings import TAKES, check_overrides
from utils.cli.words import distinct

__all__ = ["TAKES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-d",
        "--dataset",
        nargs="+",
        action="extend",
        required=True,
        metavar="DATA_SET",
        help="folders in data_path",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 for warnings too")


def run(arguments: argparse.Namespace, overrides: Mapping[str, Any]) -> int:
    """0 where nothing is wrong, 1 for errors. Raises UserError for settings that are not the command's."""
    check_overrides(overrides)
    failed = False
    for dataset in distinct(arguments.dataset):
        report = check_dataset(dataset, overrides)
        failed |= report.failed(arguments.strict)
        print("\n".join(report.lines()), flush=True)
    return int(failed)
