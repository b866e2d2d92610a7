"""The commands `recommend` and `export`: lists of the best trial, shown or written to a file."""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from common.registry import get_model
from utils.config import Config
from utils.data.titles import read_titles
from utils.errors import UserError, did_you_mean
from utils.evaluation.ranking import Lists
from utils.experiments.identity import code_digest
from utils.experiments.recommending import (
    Loaded,
    best_trial,
    load_trial,
    modality_shares,
    recommend,
    recommend_all,
)
from utils.experiments.store import Store, StoredTrial
from utils.files import atomic_write

TITLE_WIDTH = 60
SHARE = "share_"
"""In front of a modality's name in the columns of a file."""


def add_recommend_arguments(parser: argparse.ArgumentParser) -> None:
    _add_common(parser, k=10)
    parser.add_argument("--users", required=True, nargs="+", metavar="ID", help="user ids: 12,57")


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    _add_common(parser, k=50)


def _add_common(parser: argparse.ArgumentParser, k: int) -> None:
    formats = ", ".join(WRITERS)
    parser.add_argument("-m", "--model", required=True, metavar="MODEL", help="a model with a finished trial")
    parser.add_argument("-d", "--dataset", required=True, metavar="DATA_SET", help="what it was trained on")
    parser.add_argument("-k", type=int, default=k, metavar="K", help=f"items per user; {k} if not given")
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"file to write: {formats}")
    parser.add_argument(
        "--keep-validation",
        action="store_true",
        help="let items of validation in, as the test ranking does; only those of training are left out",
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
        if result.environment.get("code") != code_digest(result.model):
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
    others = dict(overrides)
    model = get_model(arguments.model)
    place = {"runs_path": others.pop("runs_path")} if "runs_path" in others else {}
    # Any data set will do: this one needs no files, and the trial that is chosen tells of its own.
    where = Config(arguments.model, "demo", place, "command line", model_settings=model.settings)
    trial = best_trial(Store(where.path("runs_path")), arguments.dataset, arguments.model)
    loaded = load_trial(trial, others)
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


def check_output(path: Path) -> None:
    """Raises UserError for a file that cannot be written, before anything is computed for it."""
    if path.suffix.lower() not in WRITERS:
        formats = ", ".join(WRITERS)
        hint = did_you_mean(path.suffix, WRITERS)
        raise UserError(f"--output {path}: the format follows the suffix; expected one of {formats}{hint}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        why = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise UserError(f"--output {path}: {why}; name a file in a folder that is there")
    if path.suffix.lower() == ".parquet" and not importlib.util.find_spec("pyarrow"):
        raise UserError(
            f"--output {path}: Parquet needs pyarrow; install the extra [parquet] with pip install '.[parquet]' "
            f"in the project's folder, or write .tsv"
        )


def _write(path: Path, tables: Iterable[pd.DataFrame]) -> None:
    """Write tables, one below the other, as the suffix says, in place of whatever was there."""
    rows = 0

    def counted() -> Iterator[pd.DataFrame]:
        nonlocal rows
        for table in tables:
            rows += len(table)
            yield table

    try:
        atomic_write(path, lambda file: WRITERS[path.suffix.lower()](file, counted()))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; nothing was written") from error
    print(f"written    {path}, {rows:,} lines")


def _write_text(separator: str) -> Callable[[BinaryIO, Iterator[pd.DataFrame]], None]:
    def write(file: BinaryIO, tables: Iterator[pd.DataFrame]) -> None:
        for number, table in enumerate(tables):
            text = table.to_csv(sep=separator, index=False, header=number == 0, lineterminator="\n")
            file.write(text.encode())

    return write


def _write_json(file: BinaryIO, tables: Iterator[pd.DataFrame]) -> None:
    """A list of objects, one a line."""
    before = "[\n"
    for table in tables:
        for record in table.to_dict("records"):
            file.write(f"{before}{json.dumps(record, ensure_ascii=False)}".encode())
            before = ",\n"
    file.write(b"[]\n" if before == "[\n" else b"\n]\n")


def _write_parquet(file: BinaryIO, tables: Iterator[pd.DataFrame]) -> None:
    """A row group per table."""
    import pyarrow  # an optional extra
    import pyarrow.parquet

    first = next(tables)
    kinds = {
        name: pyarrow.string() if name == "title" else pyarrow.from_numpy_dtype(first[name].dtype)
        for name in first
    }
    schema = pyarrow.schema(kinds)  # told, for a block without any title would look like one of nothing
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for table in chain([first], tables):
            writer.write_table(pyarrow.Table.from_pandas(table, schema, preserve_index=False))


WRITERS: Mapping[str, Callable[[BinaryIO, Iterator[pd.DataFrame]], None]] = {
    ".tsv": _write_text("\t"),
    ".csv": _write_text(","),
    ".json": _write_json,
    ".parquet": _write_parquet,
}
"""How a file of lists is written, by its suffix."""
