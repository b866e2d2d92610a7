"""Where raw data comes from: Amazon's files or a table of the user's, behind one interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from utils.preparing import amazon
from utils.preparing.carrying import Rows, carry
from utils.preparing.cleaning import Columns, Counts, load
from utils.preparing.engine import Connection
from utils.preparing.items import ItemColumns, ItemFacts, load_meta, no_meta, write_items
from utils.preparing.sources import Table, need_columns, open_table


class Origin(Protocol):
    """In the order of the calls. All raise UserError; nothing is read to the end before `load`."""

    kind: str
    raw_item: str
    """Column of raw item ids in the map of item ids, as MMRec's notebooks expect it of Amazon's."""

    def files(self) -> list[Path]: ...

    def modalities(self) -> list[str]:
        """Those whose features `write_features` writes."""
        ...

    def open(self, connection: Connection) -> list[str]:
        """Check the headers; lines that say what was found."""
        ...

    def load(self, connection: Connection) -> Counts:
        """Fill `raw`."""
        ...

    def write_items(self, connection: Connection, path: Path) -> ItemFacts: ...

    def write_features(self, connection: Connection, folder: Path) -> list[str]:
        """Write what features there are; lines that say what was met."""
        ...


@dataclass
class TableOrigin:
    """A table of interactions and, maybe, one of items. Paths of images count from the folder of the latter."""

    interactions: Path
    columns: Columns
    items: Path | None = None
    item_columns: ItemColumns | None = None
    image_dir: Path | None = None
    separator: str | None = None
    features: Mapping[str, Path] = field(default_factory=dict)
    """Files by modality, a row per line of `items`, or per raw id without it."""
    kind: str = "table"
    raw_item: str = "item_id"
    _table: Table | None = field(default=None, repr=False)
    _items: Table | None = field(default=None, repr=False)
    _rows: dict[str, Rows] = field(default_factory=dict, repr=False)

    def files(self) -> list[Path]:
        return [path for path in (self.interactions, self.items, *self.features.values()) if path]

    def modalities(self) -> list[str]:
        return list(self.features)

    @property
    def image_base(self) -> Path:
        """The folder that paths of images count from."""
        return self.image_dir or (self.items or self.interactions).parent

    def open(self, connection: Connection) -> list[str]:
        self._table = open_table(connection, self.interactions, self.separator)
        names = {"user": self.columns.user, "item": self.columns.item}
        names |= {"rating": self.columns.rating, "time": self.columns.time}
        need_columns(self._table, {f"--{name}-col": column for name, column in names.items()})
        lines = [_found(self._table)]
        if self.items:
            self._items = open_table(connection, self.items, self.separator)
            columns = self.item_columns
            need_columns(self._items, {
                "--item-id-col": columns.item, "--title-col": columns.title, "--image-col": columns.image,
            })  # fmt: skip
            for text in columns.texts:
                need_columns(self._items, {"--text-cols": text})
            lines.append(_found(self._items))
        self._rows = {name: Rows.open(path) for name, path in self.features.items()}
        return lines + [
            f"features   {rows.path.name}: {rows.shape[0]:,} x {rows.shape[1]:,} {rows.dtype}"
            for rows in self._rows.values()
        ]

    def load(self, connection: Connection) -> Counts:
        return load(connection, self._table, self.columns)

    def write_items(self, connection: Connection, path: Path) -> ItemFacts:
        no_meta(connection)
        repeated = load_meta(connection, self._items, self.item_columns) if self._items else 0
        facts = write_items(connection, path, self.image_base, self.image_dir)
        facts.repeated = repeated
        return facts

    def write_features(self, connection: Connection, folder: Path) -> list[str]:
        return [carry(connection, name, rows, folder, self._items) for name, rows in self._rows.items()]


@dataclass
class AmazonOrigin:
    """Reviews, meta data and image features of a category of the release of 2014."""

    reviews: Path
    meta: Path | None = None
    image_features: Path | None = None
    kind: str = "amazon"
    raw_item: str = "asin"
    _table: Table | None = field(default=None, repr=False)

    def files(self) -> list[Path]:
        return [path for path in (self.reviews, self.meta, self.image_features) if path]

    def modalities(self) -> list[str]:
        return ["image"] if self.image_features else []

    def open(self, connection: Connection) -> list[str]:
        self._table = amazon.open_reviews(self.reviews)
        lines = [_found(self._table)]
        if self.meta:
            amazon.check_meta(self.meta)
            lines.append(f"meta       {self.meta.name}")
        if self.image_features:
            records = amazon.check_image_features(self.image_features)
            lines.append(
                f"features   {self.image_features.name}" + (f": {records:,} records" if records else "")
            )
        return lines

    def load(self, connection: Connection) -> Counts:
        return load(connection, self._table, amazon.COLUMNS)

    def write_items(self, connection: Connection, path: Path) -> ItemFacts:
        no_meta(connection)
        repeated, unreadable = amazon.load_meta(connection, self.meta) if self.meta else (0, 0)
        facts = write_items(connection, path, path.parent, None)
        facts.repeated, facts.unreadable = repeated, unreadable
        return facts

    def write_features(self, connection: Connection, folder: Path) -> list[str]:
        if not self.image_features:
            return []
        met = amazon.write_image_features(connection, self.image_features, folder)
        done = f"features   image: {met['items']:,} of {met['of']:,} items from {self.image_features.name}"
        return [f"{done}, {met['records']:,} records read" + "".join(
            f", {met[key]:,} {words}" for key, words in
            (("repeated", "of an item that had one already"), ("not_finite", "not finite, so missing")) if met[key]
        )]  # fmt: skip


def _found(table: Table) -> str:
    return f"columns    {table.path.name}: {', '.join(table.columns)}"
