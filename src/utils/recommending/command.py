"""The commands `recommend` and `export`: lists of the best trial, shown or written to a file."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from common.registry import get_model, label
from utils.cli.words import add_models_dir, with_models_dir
from utils.config.config import find_models_dir
from utils.data.titles import read_titles
from utils.errors import UserError
from utils.evaluation.ranking import Lists
from utils.experiments.identity import code_digest
from utils.experiments.reopening import open_store
from utils.experiments.store import StoredTrial
from utils.recommending.files import WRITERS, check_output, write_tables
from utils.recommending.lists import modality_shares, recommend, recommend_all
from utils.recommending.loading import CHANGEABLE, Loaded, best_trial, load_trial

TAKES = ("runs_path", *CHANGEABLE)
"""The settings that the commands take."""

TITLE_WIDTH = 60
SHARE = "share_"
"""In front of a modality's name in the columns of a file."""


def add_recommend_arguments(parser: argparse.ArgumentParser) -> None:
    _add_trial(parser)
    parser.add_argument("--users", required=True, nargs="+", metavar="ID", help="user ids, such as 12,57")
    _add_lists(parser, k=10, otherwise="instead of showing the lists")


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    _add_trial(parser)
    _add_lists(parser, k=50, otherwise="MODEL-DATA_SET-topK.tsv if not given")


def _add_trial(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", "--model", required=True, metavar="MODEL", help="a model with a finished trial")
    parser.add_argument("-d", "--dataset", required=True, metavar="DATA_SET", help="what it was trained on")
    add_models_dir(parser)


def _add_lists(parser: argparse.ArgumentParser, k: int, otherwise: str) -> None:
    parser.add_argument("-k", type=int, default=k, metavar="K", help=f"items per user, {k} if not given")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"file to write, {otherwise}; its suffix says the format: {', '.join(WRITERS)}",
    )
    parser.add_argument(
        "--keep-validation",
        action="store_true",
        help="recommend items of validation too, as the test ranking does, and leave out only those of training",
    )


def recommend_command(arguments: argparse.Namespace, overrides: Mapping[str, Any]) -> int:
    """Show the lists of some users, or write them to `--output`. Raises UserError."""
    users = read_users(arguments.users)
    if arguments.output:
        check_output(arguments.output)
    best = _load(arguments, overrides)
    lists = recommend(*best.loaded[:3], users, arguments.k, arguments.keep_validation)
    shares = modality_shares(best.loaded.model)
    for line in best.lines:
        print(line)
    cold = np.setdiff1d(users, best.loaded.dataset.train.users)
    if len(cold):
        print(f"note       no training items, so nothing was learned about user {', '.join(map(str, cold))}")
    table = best.table(lists, shares)
    if arguments.output:
        _write(arguments.output, [table])
        return 0
    if shares:
        print(f"shares     {', '.join(shares)}: how much each modality counted for the item; they sum to 1")
    for user in users:
        print(f"\nuser {user}")
        of_user = table[table[best.user_field] == user].drop(columns=best.user_field)
        of_user.insert(0, "rank", of_user.pop("rank"))
        for line in table_lines(of_user):
            print(line)
    return 0


def export_command(arguments: argparse.Namespace, overrides: Mapping[str, Any]) -> int:
    """Write the lists of all users to `--output`, else to <model>-<data set>-top<k>.tsv here. Raises UserError."""
    path = arguments.output or Path(f"{arguments.model}-{arguments.dataset}-top{arguments.k}.tsv")
    check_output(path)
    best = _load(arguments, overrides)
    for line in best.lines:
        print(line)
    blocks = recommend_all(*best.loaded[:3], arguments.k, arguments.keep_validation)
    _write(path, (best.table(lists) for lists in blocks))
    return 0


class Best(NamedTuple):
    """The chosen trial, loaded, with the titles of its items (I,) where there are any."""

    trial: StoredTrial
    loaded: Loaded
    titles: np.ndarray | None

    @property
    def user_field(self) -> str:
        return self.loaded.config["USER_ID_FIELD"]

    @property
    def lines(self) -> list[str]:
        """Which trial it is, and what may surprise about it."""
        result, metric = self.trial.result, self.loaded.config["valid_metric"].lower()
        lines = [
            f"trial      {self.trial.folder}, seed {self.loaded.config['seed']}: the best on validation",
            f"           epoch {result.best_epoch}, valid {metric} {result.valid[metric]:.4f}",
        ]
        if result.environment.get("code") != code_digest(result.model, self.loaded.config.models_dir):
            lines.append(
                f"warning    the code of {result.model} has changed since it was trained, so its lists may be others"
            )
        return lines

    def table(self, lists: Lists, shares: Mapping[str, Tensor] | None = None) -> pd.DataFrame:
        """A row per user and item, best first: the ids, rank from 1, score, and title and shares if there are."""
        rows, places = np.nonzero(lists.items >= 0)
        items = lists.items[rows, places]
        table = pd.DataFrame(
            {
                self.user_field: lists.users[rows],
                self.loaded.config["ITEM_ID_FIELD"]: items,
                "rank": places + 1,
                "score": lists.scores[rows, places],
            }
        )
        for name, share in (shares or {}).items():
            table[SHARE + name] = share.numpy()[items]
        if self.titles is not None:
            table["title"] = pd.Series(self.titles[items], dtype=object)
        return table


def _load(arguments: argparse.Namespace, overrides: Mapping[str, Any]) -> Best:
    overrides = with_models_dir(arguments, overrides)
    store, folder = open_store(overrides), find_models_dir(arguments.dataset, overrides, "command line")
    if not store.trials([arguments.dataset], [arguments.model]):
        get_model(
            arguments.model, folder
        )  # raises UserError for one that is none, with the names of those that are
    trial = best_trial(store, arguments.dataset, label(arguments.model, folder))
    if folder is not None:
        overrides = {**overrides, "models_dir": str(folder)}
    loaded = load_trial(trial, {name: value for name, value in overrides.items() if name != "runs_path"})
    config, dataset = loaded.config, loaded.dataset
    titles = read_titles(config.path("data_path") / dataset.name, dataset.n_items, config["ITEM_ID_FIELD"])
    return Best(trial, loaded, None if titles is None else np.array(titles, dtype=object))


def read_users(words: Sequence[str]) -> np.ndarray:
    """Distinct user ids (U,) in their order, from words such as '12,57'. Raises UserError."""
    ids = [text.strip() for word in words for text in word.split(",") if text.strip()]
    for text in ids:
        if not (text.isascii() and text.isdigit() and len(text) < 19):  # beyond, it would not fit int64
            raise UserError(f"--users: {text!r} is no user id; expected whole numbers such as 12,57")
    if not ids:
        raise UserError("--users names nobody; expected user ids such as 12,57")
    return np.array(list(dict.fromkeys(map(int, ids))), dtype=np.int64)


def table_lines(table: pd.DataFrame) -> list[str]:
    """A table as aligned lines: numbers to the right, the title, shortened, to the left at the end."""
    columns = [
        [column.removeprefix(SHARE), *(_cell(column, value) for value in table[column])] for column in table
    ]
    padded = [
        column if column[0] == "title" else [cell.rjust(max(map(len, column))) for cell in column]
        for column in columns
    ]
    return ["  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]


def _cell(column: str, value: Any) -> str:
    if column == "score":
        return f"{value:#.4g}"
    if column.startswith(SHARE):
        return f"{value:.3f}"
    text = "" if value is None else str(value)
    return text if len(text) <= TITLE_WIDTH else text[: TITLE_WIDTH - 3].rstrip() + "..."


def _write(path: Path, tables: Iterable[pd.DataFrame]) -> None:
    print(f"written    {path}, {write_tables(path, tables):,} lines")
