"""Tables as users have them, CSV, TSV or Parquet, read as streams of text columns."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from utils.errors import UserError, did_you_mean
from utils.preparing.engine import Connection, first_line, is_disk_full, literal

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".inter": "\t", ".txt": "\t"}
PARQUET = (".parquet", ".pq")
GZIP = b"\x1f\x8b"
LONGEST_HEADER = 1_000_000
REASONS = {
    r"Number of Columns: (\d+) Found: (\d+)": "has {1} fields; expected {0}, as the header has (a field with the "
    "separator in it belongs in quotes)",
    r"unterminated quote|quote should be followed": "has a quote that is not closed, or one inside a quoted field; "
    'write "" for a quote inside quotes',
    r"(?i)not utf-8|invalid unicode": "is no UTF-8 text; save the file as UTF-8, for instance with: "
    "iconv -f latin1 -t utf-8",
    r"(?i)maximum line size": "is longer than two million characters; is a quote or a line end missing?",
}


@dataclass(frozen=True)
class Table:
    """A file, the names of its columns, and the SQL that reads them as text."""

    path: Path
    columns: tuple[str, ...]
    sql: str
    lenient: bool = False
    """Lines that cannot be read come as rows of nothing, to be counted."""


def open_table(connection: Connection, path: Path, separator: str | None = None) -> Table:
    """Look at the header of a table. Raises UserError for what is no such file."""
    check_file(path)
    suffix = _suffix(path)
    if suffix in PARQUET:
        return _open_parquet(connection, path)
    if suffix not in SEPARATORS and separator is None:
        known = ", ".join([*SEPARATORS, *PARQUET])
        raise UserError(
            f"{path} has no known ending; expected one of {known}, each also with .gz, or --separator"
        )
    return _open_text(path, separator or SEPARATORS[suffix])


def check_file(path: Path) -> None:
    """Raises UserError for a file that is not there, or is empty."""
    if not path.is_file():
        near = (
            did_you_mean(path.name, [one.name for one in path.parent.iterdir()])
            if path.parent.is_dir()
            else ""
        )
        raise UserError(f"{path} is {'a folder' if path.is_dir() else 'not there'}; expected a file{near}")
    if not path.stat().st_size:
        raise UserError(f"{path} is empty; was it downloaded whole?")


def need_columns(table: Table, options: dict[str, str | None]) -> None:
    """Raises UserError for an option that names a column which the table lacks."""
    for option, name in options.items():
        if name is not None and name not in table.columns:
            raise UserError(f"{table.path} has no column '{name}' ({option}); {_hint(table.columns, name)}")


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """A file, unpacked if it is gzip, whatever it is called. Raises UserError for a broken one."""
    check_file(path)
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == GZIP
            file.seek(0)
            yield gzip.open(file) if packed else file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path} is a damaged or incomplete gzip file ({error}); download it again"
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """DuckDB's complaints about a file as UserErrors that name the line."""
    import duckdb

    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.InterruptException):
        raise
    except duckdb.Error as error:
        if is_disk_full(error):
            raise
        raise UserError(_complaint(path, str(error), first_line(error))) from error


def is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == GZIP


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _open_parquet(connection: Connection, path: Path) -> Table:
    source = f"read_parquet({literal(plain(path))})"
    with reading(path):
        names = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
    return Table(path, tuple(names), f"(SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {source})")


def _open_text(path: Path, separator: str) -> Table:
    separator = "\t" if separator == "\\t" else separator
    names = _header(path, separator)
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    options = {
        "columns": f"{{{columns}}}",  # given, not guessed: a guess from the first lines can change with their order
        "auto_detect": "false",
        "header": "true",
        "delim": literal(separator),
        "quote": literal('"'),
        "escape": literal('"'),
        "compression": literal("gzip" if is_gzip(path) else "none"),
    }
    written = ", ".join(f"{name} = {value}" for name, value in options.items())
    return Table(path, tuple(names), f"read_csv({literal(plain(path))}, {written})")


def _header(path: Path, separator: str) -> list[str]:
    with open_bytes(path) as file:
        line = file.readline(LONGEST_HEADER)
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is no UTF-8 text, by its first line; expected a table: unpack it, or save it as UTF-8"
        ) from error
    names = next(csv.reader(io.StringIO(text), delimiter=separator), []) if len(separator) == 1 else None
    names = text.split(separator) if names is None else names
    if not any(name.strip() for name in names):
        raise UserError(f"{path} has an empty first line; expected the names of the columns there")
    # A column without a name is the index that pandas writes; DuckDB takes 'ID' and 'id' for one name.
    names = [name if name.strip() else f"unnamed_{number}" for number, name in enumerate(names)]
    lower = [name.lower() for name in names]
    twice = [name for name in names if lower.count(name.lower()) > 1]
    if twice:
        raise UserError(f"{path} has the column '{twice[0]}' twice; rename one of them in its first line")
    if len(names) == 1:
        _suspect_separator(path, names[0], separator)
    return names


def _suspect_separator(path: Path, header: str, separator: str) -> None:
    """Raises UserError where a single column looks like several."""
    for other, word in ((",", ","), (";", ";"), ("\t", "\\t"), ("|", "|"), (" ", " ")):
        if other in header and other != separator:
            raise UserError(
                f"{path} has a single column, '{header[:60]}', where {separator!r} separates; "
                f"is it separated by {other!r}? Then add --separator '{word}'"
            )


def _hint(columns: Sequence[str], name: str) -> str:
    found = f"found {', '.join(map(repr, columns[:20]))}"
    if all(re.fullmatch(r"-?[0-9.]+", column) for column in columns):
        return f"{found} in its first line, which is no header: write the names of the columns there"
    return found + did_you_mean(name, columns)


def plain(path: Path) -> str:
    """The path for DuckDB, to which *, ? and [ in names are patterns."""
    return re.sub(r"([*?[])", r"[\1]", str(path))


def _complaint(path: Path, text: str, first: str) -> str:
    line = re.search(r"CSV Error on Line: (\d+)", text)
    where = f"{path}, line {line[1]}" if line else str(path)
    for pattern, reason in REASONS.items():
        if match := re.search(pattern, text):
            return f"{where} {reason.format(*match.groups())}"
    if "GZIP" in text:
        return f"{path} is a damaged or incomplete gzip file; download it again"
    return f"cannot read {where}: {first}"
