"""Reading `<name>.inter`: user, item and split of every interaction, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from utils.errors import UserError
from utils.settings import did_you_mean

SPLITS = ("training", "validation", "test")
FORMAT = "a text file with a header, whole-number ids from 0, and a split column of 0 (training), 1 (validation), 2 (test)"


@dataclass(frozen=True)
class Interactions:
    """Distinct interactions in file order: users, items and labels (n,) int64; and what was odd about the file."""

    users: np.ndarray
    items: np.ndarray
    labels: np.ndarray
    warnings: tuple[str, ...] = ()


def read_interactions(
    path: Path, user_field: str, item_field: str, label_field: str, separator: str = "\t"
) -> Interactions:
    """The interactions of a file. Raises UserError with file, line, what was found and expected."""
    fields = [user_field, item_field, label_field]
    _check_header(path, fields, separator)
    try:
        table = pd.read_csv(path, sep=separator, usecols=fields, dtype=np.int64)[fields].to_numpy()
    except (ValueError, OverflowError):
        table = None
    if table is None or (table < 0).any() or (table[:, 2] > 2).any():
        raise _bad_line(path, fields, separator)
    if not len(table):
        raise UserError(f"{path} has a header and no interactions")
    _check_ids(path, table, fields)
    distinct, warnings = _merge_duplicates(path, table)
    return Interactions(*distinct.T.copy(), warnings=warnings)


def _check_header(path: Path, fields: list[str], separator: str) -> None:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        columns = file.readline().rstrip("\r\n").split(separator)
    for field in fields:
        if field not in columns:
            raise UserError(
                f"{path} has no column '{field}'{did_you_mean(field, columns)}; its columns are "
                f"{', '.join(repr(c) for c in columns)} (separated by {separator!r}); expected {FORMAT}"
            )


def _bad_line(path: Path, fields: list[str], separator: str) -> UserError:
    """The error for the first line that is not as it should be."""
    text = pd.read_csv(path, sep=separator, usecols=fields, dtype=str, keep_default_na=False, skip_blank_lines=False)
    wrong = np.stack([~text[f].str.fullmatch(r"\s*\+?\d{1,18}\s*").to_numpy(dtype=bool) for f in fields], axis=1)
    label = text[fields[2]].str.strip()
    wrong[:, 2] |= ~label.isin(["0", "1", "2"]).to_numpy()
    row, column = np.argwhere(wrong)[0] if wrong.any() else (0, 0)
    expected = "0, 1 or 2" if column == 2 else "a whole number, 0 or more"
    found = text[fields[column]].iloc[row]
    return UserError(
        f"{path}, line {row + 2}: {fields[column]} is {found!r}, expected {expected} "
        f"({int(wrong.any(axis=1).sum())} such lines); re-index the ids or mend the line"
    )


def _check_ids(path: Path, table: np.ndarray, fields: list[str]) -> None:
    """Ids index the rows of matrices, so a raw id of some catalogue would ask for absurd ones."""
    for column in (0, 1):
        highest, distinct = int(table[:, column].max()), len(np.unique(table[:, column]))
        if highest > 10_000_000 and highest > 50 * distinct:
            raise UserError(
                f"{path}: the highest {fields[column]} is {highest}, with {distinct} distinct ones; these look like "
                f"raw ids; number them from 0 without gaps"
            )


def _merge_duplicates(path: Path, table: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The first of every repeated row, in file order, and warnings with the counts."""
    _, first = np.unique(table, axis=0, return_index=True)
    distinct, warnings = table[np.sort(first)], []
    if len(distinct) < len(table):
        warnings.append(f"{path.name}: {len(table) - len(distinct)} duplicated rows merged")
    pairs = np.unique(distinct[:, :2], axis=0)
    if len(pairs) < len(distinct):
        warnings.append(
            f"{path.name}: {len(distinct) - len(pairs)} user-item pairs stand in more than one split; a test item "
            f"that the user also has in training is masked and can never be hit"
        )
    return distinct, tuple(warnings)
