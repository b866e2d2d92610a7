"""Amazon's files of 2014: reviews as lines of JSON, meta data as lines of Python literals, image features as bytes."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from utils.errors import UserError
from utils.preparing.cleaning import Columns
from utils.preparing.engine import Connection, literal
from utils.preparing.items import ADDRESSES, insert_meta, no_meta
from utils.preparing.presence import NOT_FINITE, write_presence
from utils.preparing.sources import Table, check_file, is_gzip, open_bytes, plain

COLUMNS = Columns("reviewerID", "asin", "overall", "unixReviewTime")
LONGEST_LINE = 2**20
"""Bytes of a line of meta data; the longest of the release has a tenth."""
ASIN = re.compile(rb"""["']asin["']: ?["']([^"']*)["']""")
BATCH = 500

RECORD = np.dtype([("asin", "S10"), ("features", "<f4", 4096)])
RECORDS = 256  # read at a time: 4 MB


def open_reviews(path: Path) -> Table:
    """The reviews as a table. Raises UserError for a file that is not there."""
    check_file(path)
    columns = (COLUMNS.user, COLUMNS.item, COLUMNS.rating, COLUMNS.time)
    names = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in columns)
    packed = "gzip" if is_gzip(path) else "none"
    lines = (
        f"read_json({literal(plain(path))}, format = 'newline_delimited', columns = {{{names}}}, "
        f"compression = '{packed}', ignore_errors = true)"
    )
    return Table(path, columns, lines, lenient=True)


def load_meta(connection: Connection, path: Path) -> tuple[int, int]:
    """Fill `meta` from meta_X.json.gz: how many lines of items were repeated, and how many could not be read.

    The text is title, brand, categories and description, in MMRec's order. Only lines of items with interactions
    are read to the end. Raises UserError.
    """
    no_meta(connection)
    wanted = {raw for (raw,) in connection.execute("SELECT raw FROM items").fetchall()}
    taken: set[str] = set()
    rows, repeated, unreadable = [], 0, 0
    with open_bytes(path) as file:
        for line in _lines(file):
            about = _parse(line, wanted.__contains__) if line is not None else None
            if about is None:
                unreadable += 1
            elif about and about["asin"] in taken:
                repeated += 1
            elif about and about["asin"] in wanted:
                taken.add(about["asin"])
                rows.append(
                    (
                        about["asin"],
                        _text(about.get("title")),
                        _full_text(about),
                        _address(about.get("imUrl")),
                    )
                )
                if len(rows) == BATCH:
                    insert_meta(connection, rows)
                    rows.clear()
    insert_meta(connection, rows)
    if not taken:
        raise UserError(
            f"{path} describes no item of the reviews ({unreadable:,} lines could not be read); expected "
            f"meta_X.json.gz of the same category"
        )
    return repeated, unreadable


def write_image_features(connection: Connection, path: Path, folder: Path) -> dict[str, int]:
    """Write image_feat.npy (I, 4096) float32, its mask and the list of what is missing, from image_features_X.b.

    Read as a stream and written through a memory map. An item that the file lacks, or whose numbers are not finite,
    has a row of zeros and counts as missing. Returns what was met. Raises UserError.
    """
    check_file(path)
    ids = {raw.encode(): item for raw, item in connection.execute("SELECT raw, id FROM items").fetchall()}
    features = np.lib.format.open_memmap(
        folder / "image_feat.npy", "w+", np.float32, (len(ids), RECORD["features"].shape[0])
    )
    missing = dict.fromkeys(ids.values(), f"no record in {path.name}")
    met = {"records": 0, "repeated": 0, "not_finite": 0}
    for records in _records(path):
        met["records"] += len(records)
        for record in records[[asin in ids for asin in records["asin"]]]:
            item = ids[record["asin"]]
            if item not in missing:
                met["repeated"] += 1
            elif np.isfinite(record["features"]).all():
                features[item] = record["features"]
                del missing[item]
            else:
                met["not_finite"] += 1
                missing[item] = NOT_FINITE
    features.flush()
    if len(missing) == len(ids):
        raise UserError(f"{path} has features of no item of the reviews; is it of the same category?")
    write_presence(connection, folder, "image", missing)
    met |= {"items": len(ids) - len(missing), "of": len(ids)}
    return met


def check_image_features(path: Path) -> int:
    """Records of the file, by its size. Raises UserError for one that ends amid a record."""
    check_file(path)
    if is_gzip(path):
        return 0
    records, rest = divmod(path.stat().st_size, RECORD.itemsize)
    if rest:
        raise UserError(_truncated(path, records))
    return records


def _records(path: Path) -> Iterator[np.ndarray]:
    """Blocks of (asin, features)."""
    position = 0
    with open_bytes(path) as file:
        while block := file.read(RECORDS * RECORD.itemsize):
            if len(block) % RECORD.itemsize:
                raise UserError(_truncated(path, position + len(block) // RECORD.itemsize))
            yield np.frombuffer(block, dtype=RECORD)
            position += len(block) // RECORD.itemsize


def _truncated(path: Path, records: int) -> str:
    return (
        f"{path} ends amid record {records + 1}, which begins at byte {records * RECORD.itemsize:,}; expected "
        f"{RECORD.itemsize:,} bytes each (10 of ASIN, 4096 float32): download it again"
    )


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """The lines that are not blank; None for one that is too long."""
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while (more := file.readline(LONGEST_LINE)) and not more.endswith(b"\n"):
                pass
            yield None
        elif line.strip():
            yield line


def _parse(line: bytes, is_wanted: Callable[[str], bool]) -> dict[str, Any] | None:
    """What a line says of an item; nothing where nobody wants it, None where it cannot be read."""
    asin = ASIN.search(line)
    if asin and not is_wanted(asin[1].decode(errors="replace")):
        return {}
    try:
        about = _literal(line.decode())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return about if isinstance(about, dict) and isinstance(about.get("asin"), str) else None


def _literal(text: str) -> Any:
    """JSON, or a Python literal, of which the release of 2014 consists.

    literal_eval runs nothing: it takes the syntax tree apart and knows constants, lists and dicts, no names and no
    calls. What a hostile line could do is cost memory, which LONGEST_LINE bounds, or nest too deeply, which it refuses.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return ast.literal_eval(text.strip())


def _full_text(about: dict[str, Any]) -> str:
    categories = about.get("categories") or []
    first = categories[0] if isinstance(categories, list) and categories else ""  # MMRec takes the first path
    parts = (about.get("title"), about.get("brand"), first, about.get("description"))
    return " ".join(filter(None, map(_text, parts)))


def _text(value: Any) -> str:
    """A text, or the texts of a list, on one line."""
    if isinstance(value, list):
        return " ".join(filter(None, map(_text, value)))
    return " ".join(value.split()) if isinstance(value, str) else ""


def _address(value: Any) -> str:
    """An address of an image, or nothing: no line of a download names a file of this machine."""
    text = _text(value)
    return text if text.startswith(ADDRESSES) else ""


def check_meta(path: Path) -> None:
    """Raises UserError for a file whose first line is no item."""
    with open_bytes(path) as file:
        line = next(_lines(file), None)
    if line is None or not _parse(line, lambda asin: True):
        shown = "" if line is None else f", found {line[:60].decode(errors='replace').strip()!r}"
        raise UserError(
            f"{path} does not begin with an item{shown}; expected meta_X.json.gz, a line per item"
        )
