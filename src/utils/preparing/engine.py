"""The database in which tables of any size are cleaned and split: DuckDB, on the disk, within a memory limit."""

from __future__ import annotations

import errno
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import UserError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection as Connection
else:
    Connection = Any

CHUNK = 64
"""Vectors of 2,048 values that are fetched at a time."""


@contextmanager
def database(scratch: Path, memory_limit: str, threads: int | None = None) -> Iterator[Connection]:
    """A database whose tables and spilled data are files in `scratch`. Raises UserError."""
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise UserError(
            "prepare needs duckdb; install what the project needs: pip install -r requirements.txt"
        ) from error
    with _explained(duckdb, scratch, memory_limit), _interrupts():
        connection = duckdb.connect(str(scratch / "work.duckdb"))
        try:
            connection.execute(f"SET memory_limit = {literal(memory_limit)}")
            connection.execute(f"SET temp_directory = {literal(str(scratch / 'spilled'))}")
            if threads is not None:
                connection.execute(f"SET threads = {threads}")
            # Nothing is fetched from the network, and dates mean the same on every machine.
            connection.execute("SET autoinstall_known_extensions = false")
            connection.execute("SET TimeZone = 'UTC'")
            # Rows in any order take less memory; what has an order is sorted by name.
            connection.execute("SET preserve_insertion_order = false")
            connection.execute("SET enable_progress_bar = false")
            _keep_try_cast(connection)
            yield connection
        finally:
            connection.close()


def _keep_try_cast(connection: Connection) -> None:
    """2.0 moves TRY_CAST into the reading of a CSV, where it fails instead of giving NULL (duckdb issue 23818)."""
    known = {name for (name,) in connection.execute("SELECT name FROM duckdb_optimizers()").fetchall()}
    if "type_pushdown" in known:
        connection.execute("SET disabled_optimizers = 'type_pushdown'")


def one(connection: Connection, query: str) -> Any:
    """The single value of a query, or None where it has no row."""
    row = connection.execute(query).fetchone()
    return None if row is None else row[0]


def literal(text: str) -> str:
    """
    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A column's name.

    >>> quoted('my "id"')
    '"my ""id\"""'
    """
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def _explained(duckdb: Any, scratch: Path, memory_limit: str) -> Iterator[None]:
    """Full disks and small limits in the words of a user."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        what = "max_temp_directory_size" in str(error) and f"the disk of {scratch.parent} has too little room"
        raise UserError(
            f"{what or f'--memory-limit {memory_limit} is too little'} for this table "
            f"({first_line(error)}); nothing was written"
        ) from error
    except (duckdb.Error, OSError) as error:
        if not is_disk_full(error):
            raise
        raise UserError(
            f"the disk of {scratch.parent} is full; nothing was written: free some space, or keep data_path=... "
            f"on another disk"
        ) from error


@contextmanager
def _interrupts() -> Iterator[None]:
    """Ctrl-C and SIGTERM during a query end the program as they do elsewhere.

    DuckDB asks for signals, throws away what their handlers raise, and raises a RuntimeError of its own.
    """
    raised: list[BaseException] = []

    def remembering(handler: Callable[[int, object], object]) -> Callable[[int, object], None]:
        def handle(number: int, frame: object) -> None:
            try:
                handler(number, frame)
            except BaseException as error:
                raised.append(error)
                raise

        return handle

    in_main = (
        threading.current_thread() is threading.main_thread()
    )  # no other may set handlers, nor gets signals
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if in_main}
    handlers = {number: handler for number, handler in before.items() if callable(handler)}
    for number, handler in handlers.items():
        signal.signal(number, remembering(handler))
    try:
        yield
    except RuntimeError:
        if raised:
            raise raised[0] from None
        raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def is_disk_full(error: BaseException) -> bool:
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)


def first_line(error: BaseException) -> str:
    """What an error of DuckDB says, without its kind and its advice.

    >>> first_line(ValueError("IO Error: no such file\\nLINE 1: select"))
    'no such file'
    """
    line = str(error).split("\n", 1)[0]
    return line.split("Error: ", 1)[-1].strip()
