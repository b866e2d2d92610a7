"""Files of lists: tables written one below the other, in the format that the suffix names."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from utils import files
from utils.errors import UserError, did_you_mean


def check_output(path: Path) -> None:
    """Raises UserError for a file that cannot be written, before anything is computed for it."""
    if path.suffix.lower() not in WRITERS:
        formats, hint = ", ".join(WRITERS), did_you_mean(path.suffix, WRITERS)
        raise UserError(f"--output {path}: the format follows the suffix; expected one of {formats}{hint}")
    files.check_output(path)
    if path.suffix.lower() == ".parquet" and not importlib.util.find_spec("pyarrow"):
        raise UserError(
            f"--output {path}: Parquet needs pyarrow; install the extra [parquet] with pip install '.[parquet]' "
            f"in the project's folder, or write .tsv"
        )


def write_tables(path: Path, tables: Iterable[pd.DataFrame]) -> int:
    """Write tables as the suffix says, in place of whatever was there. Returns their rows. Raises UserError."""
    rows = 0

    def counted() -> Iterator[pd.DataFrame]:
        nonlocal rows
        for table in tables:
            rows += len(table)
            yield table

    files.write_output(path, lambda file: WRITERS[path.suffix.lower()](file, counted()))
    return rows


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
