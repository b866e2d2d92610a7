"""Titles of items, where the folder of a data set has them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from utils.errors import UserError, did_you_mean

LISTS = ("item_titles.json", "item_keywords.json")
TABLES = {"items.tsv": "\t", "items.csv": ","}
TITLE = "title"


def read_titles(folder: Path, n_items: int, item_field: str) -> list[str | None] | None:
    """Title of every item (I,), None for an item without one; None where the folder has no titles.

    The first of item_titles.json and item_keywords.json (a JSON list, index = item id), items.tsv and items.csv
    (a header with `item_field` and `title`; items may be missing) counts. Raises UserError.
    """
    path = next((folder / name for name in (*LISTS, *TABLES) if (folder / name).is_file()), None)
    if path is None:
        return None
    try:
        titles = _from_table(path, n_items, item_field) if path.name in TABLES else _from_list(path, n_items)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text; save it as UTF-8") from error
    return [" ".join(title.split()) or None if title else None for title in titles]


def _from_list(path: Path, n_items: int) -> list[str | None]:
    try:
        titles = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON ({error}); expected a list of titles, index = item id") from error
    if not isinstance(titles, list):
        raise UserError(f"{path} holds no list; expected a JSON list of titles, index = item id")
    if len(titles) != n_items:
        raise UserError(
            f"{path} has {len(titles)} titles, and the data set has {n_items} items; expected one for each, "
            f"index = item id (null where there is none)"
        )
    for item, title in enumerate(titles):
        if not isinstance(title, str | None):
            raise UserError(f"{path}: the title of item {item} is {title!r}; expected a text or null")
    return titles


def _from_table(path: Path, n_items: int, item_field: str) -> list[str | None]:
    titles: list[str | None] = [None] * n_items
    named: set[int] = set()
    for where, text, title in _rows(path, item_field):
        if not (text.isascii() and text.isdigit() and int(text) < n_items):
            raise UserError(f"{where}: {item_field} is {text!r}; expected an item id from 0 to {n_items - 1}")
        item = int(text)
        if item in named:
            raise UserError(f"{where}: item {item} has a title already; expected one line per item")
        named.add(item)
        titles[item] = title
    return titles


def _rows(path: Path, item_field: str) -> Iterator[tuple[str, str, str]]:
    """Place, item id and title of every line; quotes mean nothing where tabs separate."""
    separator = TABLES[path.name]
    with open(path, encoding="utf-8-sig", newline="") as file:
        quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
        reader = csv.reader(file, delimiter=separator, quoting=quoting)
        try:
            header = next(reader, [])
            columns = [_column(path, header, name) for name in (item_field, TITLE)]
            for fields in filter(None, reader):
                where = f"{path}, line {reader.line_num}"
                if len(fields) != len(header):
                    raise UserError(
                        f"{where} has {len(fields)} fields; expected {len(header)}, as the header has"
                    )
                yield where, fields[columns[0]].strip(), fields[columns[1]]
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num}: {error}; expected a table of titles") from error


def _column(path: Path, header: list[str], name: str) -> int:
    if name not in header:
        found = ", ".join(map(repr, header)) or "nothing"
        raise UserError(f"{path} has no column '{name}'; found {found}{did_you_mean(name, header)}")
    return header.index(name)
