"""Interactions from MMRec's .inter files: a line each of user, item and split."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from utils.errors import UserError, did_you_mean

SPLITS = ("training", "validation", "test")
"""What the labels 0, 1 and 2 mean."""

MANY_IDS = 10_000_000  # from here on, ids that are mostly unused cost gigabytes of embeddings
SPARSE_IDS = 50


@dataclass(frozen=True, eq=False)
class Interactions:
    """Users, items and labels (n,) int64 in file order, a repeated line once; ids count from 0."""

    users: np.ndarray
    items: np.ndarray
    labels: np.ndarray
    warnings: list[str] = field(default_factory=list)


def read_interactions(
    path: Path, user_field: str, item_field: str, label_field: str, separator: str = "\t"
) -> Interactions:
    """Read and check the three named columns; other columns are ignored.

    A line is a row, and quotes mean nothing. Raises UserError, with the line where there is one.
    """
    separator = "\t" if separator == "\\t" else separator  # YAML's '\t' is two characters, and means the tab
    if len(separator) != 1:
        raise UserError(f"field_separator is {separator!r}; expected one character, such as a tab or a comma")
    names = (user_field, item_field, label_field)
    table = _read(path, names, separator)
    if not table.size:
        raise UserError(f"{path} has a header and nothing below it; expected a line for each interaction")
    for name, ids in zip(names[:2], table[:2], strict=True):
        _check_dense(path, name, ids)
    table, warnings = _merge(path, table)
    _check_splits(path, label_field, table[2])
    return Interactions(*table, warnings)


def _read(path: Path, names: Sequence[str], separator: str) -> np.ndarray:
    """The named columns as a table (3, n)."""
    try:
        columns = _find_columns(path, names, separator)
        table = _read_fast(path, names, separator)
        return _read_by_line(path, names, columns, separator) if table is None else table
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is no UTF-8 text; expected a plain table: unpack it, or save it as UTF-8"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; check the file and its permissions"
        ) from error


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line number, from 1, and fields of every line that is not blank."""
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            text = line.rstrip("\n")
            if text.strip(" "):
                yield number, text.split(separator)


def _find_columns(path: Path, names: Sequence[str], separator: str) -> list[int]:
    """Positions of the named columns in the header."""
    _, header = next(_rows(path, separator), (0, None))
    if header is None:
        raise UserError(
            f"{path} is empty; expected a header with {', '.join(names)} and a line per interaction"
        )
    for name in names:
        if name not in header:
            raise UserError(f"{path} has no column '{name}'; {_header_hint(name, header, separator)}")
    return [header.index(name) for name in names]


def _header_hint(name: str, header: Sequence[str], separator: str) -> str:
    found = f"found {', '.join(map(repr, header))}"
    if all(re.fullmatch(r"-?[0-9.]+", column) for column in header):
        return f"{found} in its first line, which is no header: write the names of the columns there"
    if len(header) == 1:
        return f"{found} alone: is the field_separator {separator!r} right?"
    return found + did_you_mean(name, header)


def _read_fast(path: Path, names: Sequence[str], separator: str) -> np.ndarray | None:
    """The table (3, n), or None where a value is not what it should be.

    Types are left to pandas: told to read integers, it takes 3.0, 1e3 and True for integers too.
    """
    try:
        frame = pd.read_csv(
            path, sep=separator, usecols=list(names), index_col=False, quoting=csv.QUOTE_NONE,
            na_filter=False, compression=None, encoding="utf-8-sig", low_memory=False,
        )  # fmt: skip
    except UnicodeDecodeError:
        raise
    except (ValueError, OverflowError):  # of which pandas' parser errors are a kind
        return None
    if any(frame[name].dtype != np.int64 for name in names):
        return None
    table = np.stack([frame[name].to_numpy() for name in names])
    return None if (table < 0).any() or (table[2] > 2).any() else table


def _read_by_line(path: Path, names: Sequence[str], columns: Sequence[int], separator: str) -> np.ndarray:
    """The table (3, n) read in Python, slowly, to name the line that is wrong."""
    rows = _rows(path, separator)
    _, header = next(rows)
    table = []
    for number, fields in rows:
        where = f"{path}, line {number}"
        if len(fields) <= max(columns):
            raise UserError(f"{where} has {len(fields)} fields; expected {len(header)}, as the header has")
        table.append([_whole(fields[c], name, where) for c, name in zip(columns, names, strict=True)])
        if table[-1][2] > 2:
            raise UserError(
                f"{where}: {names[2]} is {table[-1][2]}; expected 0 (training), 1 (validation) or 2 (test)"
            )
    return np.array(table, dtype=np.int64).reshape(-1, 3).T


def _whole(text: str, name: str, where: str) -> int:
    if re.fullmatch(r"[+-]?[0-9]+", text.strip()) and 0 <= int(text) < 2**63:
        return int(text)
    raise UserError(f"{where}: {name} is {text!r}; expected a whole number from 0, written without a point")


def _check_dense(path: Path, name: str, ids: np.ndarray) -> None:
    size = int(ids.max()) + 1
    if size > MANY_IDS and size > SPARSE_IDS * (distinct := len(np.unique(ids))):
        raise UserError(
            f"{path}: {name} runs up to {size - 1}, with only {distinct} different ids: these look like raw "
            f"ids; expected ids re-indexed to 0..{distinct - 1} (rows of feature files follow item ids)"
        )


def _merge(path: Path, table: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The table with each repeated row once, and what there is to say about repetitions."""
    warnings = []
    users, items, labels = table
    n_items = int(items.max()) + 1
    keys, first = np.unique((users * n_items + items) * len(SPLITS) + labels, return_index=True)
    if len(first) < len(users):
        warnings.append(
            f"duplicated rows in {path.name}: {len(users) - len(first)} merged (same user, item and split)"
        )
        table = table[:, np.sort(first)]
    pairs = keys // len(SPLITS)
    shared = np.unique(pairs[1:][pairs[1:] == pairs[:-1]])
    if len(shared):
        user, item = divmod(int(shared[0]), n_items)
        warnings.append(
            f"user-item pairs in more than one split of {path.name}: {len(shared)}, the first is user {user}, "
            f"item {item}; the ranking masks training items, so held out they can never be hit"
        )
    return table, warnings


def _check_splits(path: Path, label_field: str, labels: np.ndarray) -> None:
    counts = np.bincount(labels, minlength=3)
    for label, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        if not count:
            found = ", ".join(f"{n} of {name}" for name, n in zip(SPLITS, counts, strict=True))
            raise UserError(
                f"{path} has no {split} rows, found {found}; expected some with {label_field} {label}: "
                f"move a part of the interactions there"
            )
