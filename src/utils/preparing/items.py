"""What is known of items, their title, text and image, from a table of the user's; kept as `items.csv`."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UserError
from utils.preparing.engine import Connection, literal, one, quoted
from utils.preparing.sources import Table, reading

HEADER = ("itemID", "rawID", "title", "text", "image")
LONGEST_TEXT = 32_000
"""Characters: what an encoder reads is far shorter, and what Python's csv reads at most is 131,072."""
ADDRESSES = ("http://", "https://")
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class ItemColumns:
    """Names of the columns of a table of items; `image` holds paths or addresses."""

    item: str
    title: str | None = None
    texts: tuple[str, ...] = ()
    image: str | None = None


@dataclass
class ItemFacts:
    """How many of the items have what, and what was wrong with the table that tells it."""

    items: int = 0
    titles: int = 0
    texts: int = 0
    images: int = 0
    """Files that are there, or addresses."""
    addresses: int = 0
    shortened: int = 0
    lost_images: int = 0
    repeated: int = 0
    unreadable: int = 0


def no_meta(connection: Connection) -> None:
    """An empty `meta` (raw, title, text, image, line)."""
    connection.execute(
        "CREATE OR REPLACE TABLE meta (raw VARCHAR, title VARCHAR, text VARCHAR, image VARCHAR, line BIGINT)"
    )


def load_meta(connection: Connection, table: Table, columns: ItemColumns) -> int:
    """Fill `meta` with a row for each item that interactions have: its first line in the table, from 1.

    Returns how many further lines such items had. Raises UserError.
    """
    texts = columns.texts or ((columns.title,) if columns.title else ())
    title = quoted(columns.title) if columns.title else "''"
    text = f"concat_ws(' ', {', '.join(map(quoted, texts))})" if texts else "''"
    image = quoted(columns.image) if columns.image else "''"
    connection.execute("SET preserve_insertion_order = true")
    try:
        with reading(table.path):
            connection.execute(
                f"CREATE OR REPLACE TABLE lines AS SELECT row_number() OVER () AS line, {quoted(columns.item)} AS raw, "
                f"{title} AS title, {text} AS text, {image} AS image FROM {table.sql}"
            )
    finally:
        connection.execute("SET preserve_insertion_order = false")
    connection.execute("CREATE OR REPLACE TABLE lines AS SELECT * FROM lines SEMI JOIN items USING (raw)")
    met = one(connection, "SELECT count(*) FROM lines")
    connection.execute(
        "CREATE OR REPLACE TABLE meta AS SELECT raw, title, text, image, line FROM lines JOIN "
        "(SELECT raw, min(line) AS line FROM lines GROUP BY raw) USING (raw, line)"
    )
    connection.execute("DROP TABLE lines")
    count = one(connection, "SELECT count(*) FROM meta")
    if not count:
        example, found = (
            one(connection, "SELECT min(raw) FROM items"),
            _example(connection, table, columns.item),
        )
        raise UserError(
            f"{table.path}: no id of its column '{columns.item}' is that of an item with interactions (there "
            f"{found!r} for one, here {example!r}); is it the right column? --item-id-col names another"
        )
    return met - count


def write_items(connection: Connection, path: Path, base: Path, images: Path | None) -> ItemFacts:
    """Write `items.csv`: a line for each item in the order of ids, its texts on one line each.

    Paths of images count from `base`; with a folder `images` an item without one has the file that is named after
    its raw id there. A file that is not there is counted, and named all the same: `features` lists it then as
    missing, with its name. Nothing is opened here. Raises UserError for a folder that is none, OSError.
    """
    facts = ItemFacts()
    by_stem = _by_stem(images) if images else {}
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for item, raw, title, text, image in _rows(connection):
            is_address = image.startswith(ADDRESSES)
            place = (
                image if is_address else str((base / Path(image).expanduser()).absolute()) if image else ""
            )
            place = place or by_stem.get(raw, "")
            lost = bool(image) and not is_address and not Path(place).is_file()
            facts.items += 1
            facts.titles += bool(title)
            facts.texts += bool(text)
            facts.images += bool(place) and not lost
            facts.addresses += is_address
            facts.lost_images += lost
            facts.shortened += len(text) > LONGEST_TEXT
            writer.writerow([item, raw, title[:LONGEST_TEXT], text[:LONGEST_TEXT], place])
    return facts


def _rows(connection: Connection) -> Iterator[tuple[int, str, str, str, str]]:
    clean = [
        f"trim(regexp_replace(coalesce(meta.{name}, ''), '[\\s\\x00]+', ' ', 'g'))"
        for name in ("title", "text")
    ]
    connection.execute(
        f"SELECT items.id, items.raw, {', '.join(clean)}, trim(coalesce(meta.image, '')) "
        f"FROM items LEFT JOIN meta ON items.raw = meta.raw ORDER BY items.id"
    )
    while rows := connection.fetchmany(2_000):
        yield from rows


def _by_stem(folder: Path) -> dict[str, str]:
    """Image files of a folder by their names without the ending."""
    if not folder.is_dir():
        raise UserError(f"--image-dir {folder} is no folder; expected one with an image file per item")
    found: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGES and path.is_file():
            found.setdefault(path.stem, str(path.absolute()))
    return found


def _example(connection: Connection, table: Table, column: str) -> str | None:
    return one(connection, f"SELECT {quoted(column)} FROM {table.sql} LIMIT 1")


def insert_meta(connection: Connection, rows: list[tuple[str, str, str, str]]) -> None:
    """Add rows (raw, title, text, image) to `meta`."""
    values = ", ".join(f"({', '.join(literal(_printable(text)) for text in row)})" for row in rows)
    if rows:
        connection.execute(f"INSERT INTO meta (raw, title, text, image) VALUES {values}")


def _printable(text: str) -> str:
    """Without zero bytes and lone surrogates, which no UTF-8 text has."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
