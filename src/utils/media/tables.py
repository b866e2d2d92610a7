"""The texts and images of items as a data set's files name them: `items.csv`, or a JSON list of texts."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from utils.errors import UserError, did_you_mean

LONGEST_FIELD = 2**24  # Python's own limit of 131,072 characters is that of a careless table, not of a text


class Line(NamedTuple):
    """What a table says of one item; None where it says nothing about texts, or about images, at all."""

    item: int
    text: str | None
    image: str | None


def read_table(path: Path, n_items: int, item_field: str) -> Iterator[Line]:
    """Lines of a CSV with `item_field` and any of `text`, `title` (taken where the text is empty) and `image`.

    Items may be missing and stand in any order. Raises UserError.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))
    seen = bytearray(n_items)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            columns = _columns(path, header, item_field)
            for fields in filter(None, reader):
                where = f"{path}, line {reader.line_num}"
                if len(fields) != len(header):
                    raise UserError(
                        f"{where} has {len(fields)} fields; expected {len(header)}, as the header has"
                    )
                line = _line(dict(zip(header, fields, strict=True)), columns, item_field, n_items, where)
                if seen[line.item]:
                    raise UserError(f"{where}: item {line.item} has a line already; expected one per item")
                seen[line.item] = True
                yield line
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; check the file and its permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text; save it as UTF-8") from error
    except csv.Error as error:
        raise UserError(f"{path}: {error}; expected a CSV table of items") from error


def read_texts(path: Path, n_items: int) -> Iterator[Line]:
    """Lines of a JSON list of texts, index = item id, null where an item has none. Raises UserError."""
    expected = "expected a JSON list of texts, index = item id"
    try:
        texts = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; {expected}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}); {expected}") from error
    if not isinstance(texts, list):
        raise UserError(f"{path} holds no list; {expected}")
    if len(texts) != n_items:
        raise UserError(f"{path} has {len(texts)} texts, and the data set has {n_items} items; {expected}")
    for item, text in enumerate(texts):
        if not isinstance(text, str | None):
            raise UserError(f"{path}: the text of item {item} is {text!r:.80}; expected a text or null")
        yield Line(item, text or "", None)


def _columns(path: Path, header: list[str], item_field: str) -> frozenset[str]:
    """Those of text, title and image that the table has."""
    found = ", ".join(map(repr, header)) or "nothing"
    if item_field not in header:
        raise UserError(
            f"{path} has no column '{item_field}'; found {found}{did_you_mean(item_field, header)}"
        )
    columns = frozenset(header) & {"text", "title", "image"}
    if not columns:
        raise UserError(f"{path} has none of the columns text, title and image; found {found}")
    return columns


def _line(row: dict[str, str], columns: frozenset[str], item_field: str, n_items: int, where: str) -> Line:
    item = row[item_field].strip()
    if not (item.isascii() and item.isdigit() and len(item) < 19 and int(item) < n_items):
        raise UserError(f"{where}: {item_field} is {item!r:.40}; expected an item id from 0 to {n_items - 1}")
    text = (row.get("text", "").strip() or row.get("title", "")) if columns & {"text", "title"} else None
    return Line(int(item), text, row.get("image"))
