"""Ranking lists of another system, read from a file and scored under the protocol of a board."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import pandas as pd

from utils.errors import UserError, did_you_mean
from utils.evaluation.metrics import evaluate
from utils.evaluation.ranking import Lists, hit_matrix
from utils.experiments.trial import LIST_LENGTH
from utils.leaderboard.board import Board, PerUser, Row, Stat
from utils.leaderboard.loading import Data, load
from utils.leaderboard.words import count


def add_foreign(board: Board, name: str, path: Path, places: Mapping[str, Any] | None = None) -> Board:
    """The board with lists of another system, scored under the protocol of the best of ours. Raises UserError.

    `path` is a table of tabs or commas with a header, columns of user and item as the data set names them, and a
    column 'rank' or 'score', else best first. What the protocol would not rank is left out with a warning.
    """
    if name in [row.model for row in board.rows]:
        raise UserError(f"--add {name}: there is a row of that name already; choose another")
    data = load(board.first_run, places or {})
    users, items = read_ranking(path, data.config["USER_ID_FIELD"], data.config["ITEM_ID_FIELD"])
    users, items, warnings = _rankable(users, items, data)
    evaluator, truth = data.evaluator, data.evaluator.test_truth
    length = min(max(LIST_LENGTH, *evaluator.topk), data.dataset.n_items)
    lists = _as_lists(users, items, truth.users, length)
    if (lists.items < 0).all():
        raise UserError(
            f"{path} ranks nothing for any of the {len(truth.users)} test users; are the ids ours?"
        )
    warnings += _gaps(lists, max(evaluator.topk))
    hits = hit_matrix(lists.items, truth, data.dataset.n_items)
    values = evaluate(hits, truth.n_relevant, evaluator.metrics, evaluator.topk)
    order = np.argsort(truth.users)
    per_user = PerUser(truth.users[order], {metric: value[order] for metric, value in values.items()})
    test = {metric: Stat(float(value.mean())) for metric, value in values.items()}
    row = Row(board.dataset, name, test, lambda: per_user, lambda: lists)
    return board.with_row(row, [f"{name}: {warning}" for warning in warnings])


def _gaps(lists: Lists, k: int) -> list[str]:
    """Warnings about users without a list and about lists of fewer than k items."""
    lengths = (lists.items >= 0).sum(axis=1)
    missing, short = (lengths == 0).sum(), ((lengths > 0) & (lengths < k)).sum()
    warnings = []
    if missing:
        warnings.append(f"{missing:,} of {len(lengths):,} test users have no list, and count as 0")
    if short:
        warnings.append(f"{short:,} lists hold fewer than {k} items, which lowers the metrics")
    return warnings


def read_ranking(path: Path, user_field: str, item_field: str) -> tuple[np.ndarray, np.ndarray]:
    """Users and items (n,) int64 of a ranking file, each user's best first. Raises UserError."""
    try:
        with open(path, encoding="utf-8-sig") as file, catch_warnings():
            separator = "\t" if "\t" in file.readline() else ","
            simplefilter("error", pd.errors.ParserWarning)  # of a line with too many values
            table = pd.read_csv(
                path, sep=separator, encoding="utf-8-sig", index_col=False, skipinitialspace=True
            )
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the name of the file") from error
    except (ValueError, pd.errors.ParserWarning) as error:  # of pandas, and for what is no UTF-8
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is no table of tabs or commas with a header: {reason}") from error
    if table.empty:
        raise UserError(f"{path} holds no ranking; expected a header and a line for each user and item")
    for name in (user_field, item_field):
        if name not in table:
            found, hint = ", ".join(map(str, table)), did_you_mean(name, map(str, table))
            raise UserError(f"{path} has no column '{name}'; its header names {found}{hint}")
        _check_numbers(path, table[name], np.int64, "a whole number, the id that the data set uses")
    order = next((name for name in ("rank", "score") if name in table), None)
    if order:
        _check_numbers(path, table[order], np.number, "a number")
        keys = table[order] if order == "rank" else -table[order]
        table = table.iloc[np.lexsort([table[item_field], keys])]
    return table[user_field].to_numpy(), table[item_field].to_numpy()


def _check_numbers(path: Path, column: pd.Series, kind: type, expected: str) -> None:
    """Raises UserError with the line of the first value that is not as expected."""
    if np.issubdtype(column.to_numpy().dtype, kind) and not column.isna().any():
        return
    numbers = pd.to_numeric(column, errors="coerce")
    bad = np.flatnonzero(numbers.isna() | ((numbers % 1 != 0) if kind is np.int64 else False))
    row = bad[0] if len(bad) else 0
    raise UserError(f"{path}, line {row + 2}: {column.name} is '{column.iloc[row]}'; expected {expected}")


def _rankable(users: np.ndarray, items: np.ndarray, data: Data) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The pairs (n,) that the protocol ranks, and warnings about the others."""
    dataset, seen = data.dataset, data.evaluator.seen_at_test
    warnings = []

    def keep(kept: np.ndarray, what: str) -> None:
        nonlocal users, items
        if not kept.all():
            warnings.append(f"{count((~kept).sum(), 'line')} left out: {what}")
        users, items = users[kept], items[kept]

    known = (users >= 0) & (users < dataset.n_users) & (items >= 0) & (items < dataset.n_items)
    keep(known, f"{dataset.name} has no such user or item")
    pairs = users * dataset.n_items + items
    first = np.zeros(len(pairs), dtype=bool)
    first[np.unique(pairs, return_index=True)[1]] = True
    keep(first, "the item is in the user's list already")
    masked = np.repeat(np.arange(dataset.n_users), np.diff(seen.indptr)) * dataset.n_items + seen.items
    keep(
        ~np.isin(users * dataset.n_items + items, masked),
        "items that the user has already, masked in the test",
    )
    return users, items, warnings


def _as_lists(users: np.ndarray, items: np.ndarray, of_users: np.ndarray, length: int) -> Lists:
    """Lists of the users (U,) from pairs (n,), each user's best first; those of other users are passed over."""
    row_of = np.full(max(users.max(initial=0), of_users.max()) + 1, -1)
    row_of[of_users] = np.arange(len(of_users))
    rows = row_of[users]
    order = np.argsort(rows, kind="stable")
    order = order[rows[order] >= 0]
    rows, items = rows[order], items[order]
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = places < length
    lists = Lists(
        of_users, np.full((len(of_users), length), -1), np.zeros((len(of_users), length), "float32")
    )
    lists.items[rows[kept], places[kept]] = items[kept]
    lists.scores[rows[kept], places[kept]] = -places[kept]
    return lists
