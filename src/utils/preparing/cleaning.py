"""From raw rows to interactions with ids from 0: duplicates, threshold, k-core, re-indexing. All out of core.

Each step is a query whose result is a table on the disk. Nothing depends on the order of the rows or on the number
of threads: ids follow the raw ids in order, and what is random follows a hash of the seed and the raw ids.
"""

from __future__ import annotations

from dataclasses import dataclass

from utils.errors import UserError
from utils.preparing.engine import Connection, literal, one, quoted
from utils.preparing.sources import Table, reading

DUPLICATES = ("first", "last", "error")
SEPARATOR = "chr(31)"  # between the parts of a hashed key; it is in no sane id
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
FARTHEST = 1e11
"""Seconds since 1970, of the year 5138: times from there on are in the next smaller unit."""
NO_ID = ("nan", "NaN", "NaT", "<NA>", "None", "null", "NULL")
"""What programs write for an id that is not there: taken as one, it would be the busiest user of all."""


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table of interactions."""

    user: str
    item: str
    rating: str | None = None
    time: str | None = None


@dataclass(frozen=True)
class Rules:
    """What is kept: of repeated pairs, by rating, and by the number of interactions; 0 or None keeps all."""

    k_core: int = 0
    min_rating: float | None = None
    duplicates: str = "first"


@dataclass
class Counts:
    """Rows that were read, and those that each step took away."""

    rows: int
    unreadable: int = 0
    duplicates: int = 0
    below: int = 0
    outside_core: int = 0
    rounds: int = 0
    users: int = 0
    items: int = 0
    interactions: int = 0
    time_unit: str = "s"


def load(connection: Connection, table: Table, columns: Columns) -> Counts:
    """Fill `raw` (user, item, rating, time) from a table, and check every value. Raises UserError.

    rating is a number, time seconds since 1970, either NULL throughout where there is no such column.
    """
    with reading(table.path):
        time = _time_expression(connection, table, columns)
        rating = _number(quoted(columns.rating)) if columns.rating else "NULL"
        connection.execute(
            f"CREATE OR REPLACE TABLE raw AS SELECT {quoted(columns.user)} AS user, {quoted(columns.item)} AS item, "
            f"CAST({rating} AS DOUBLE) AS rating, CAST({time} AS DOUBLE) AS time FROM {table.sql}"
        )
        counts = Counts(rows=one(connection, "SELECT count(*) FROM raw"))
        if table.lenient:
            counts.unreadable = _drop_unreadable(connection)
        if counts.rows == counts.unreadable:
            expected = f"expected rows with {', '.join(table.columns)}"
            raise UserError(f"{table.path} has no row that could be read, of {counts.rows:,}; {expected}")
        _check_values(connection, table, columns, time)
    counts.time_unit = _to_seconds(connection, table, columns.time) if columns.time else "s"
    return counts


def clean(connection: Connection, rules: Rules, seed: int, counts: Counts) -> None:
    """Turn `raw` into `interactions` (u, i, rating, time, key), and `users` and `items` (raw, id, key).

    Duplicates first, then the threshold (so a user's last word counts where the last is kept), then the core.
    Raises UserError where nothing is left.
    """
    for kind in ("user", "item"):
        _index(connection, kind, seed)
    connection.execute(
        f"CREATE OR REPLACE TABLE interactions AS SELECT users.id AS u, items.id AS i, rating, time, "
        f"{_hash(seed, 'raw.user', 'raw.item')} AS key "
        f"FROM raw JOIN users ON raw.user = users.raw JOIN items ON raw.item = items.raw"
    )
    connection.execute("DROP TABLE raw")
    counts.duplicates = _drop_duplicates(connection, rules.duplicates)
    if rules.min_rating is not None:
        counts.below = _drop(connection, f"rating < CAST('{rules.min_rating!r}' AS DOUBLE)")
    counts.rounds, counts.outside_core = _drop_outside_core(connection, rules.k_core)
    _close_gaps(connection)
    counts.interactions = _size(connection)
    counts.users, counts.items = (
        one(connection, f"SELECT count(*) FROM {name}") for name in ("users", "items")
    )
    if not counts.interactions:
        raise UserError(
            f"no interaction is left of {counts.rows:,} rows: {counts.duplicates:,} were duplicates, "
            f"{counts.below:,} below --min-rating, {counts.outside_core:,} outside the --k-core {rules.k_core}; "
            f"lower what took most"
        )


def _drop_unreadable(connection: Connection) -> int:
    nothing = " AND ".join(f"{name} IS NULL" for name in ("user", "item", "rating", "time"))
    return connection.execute(f"DELETE FROM raw WHERE {nothing}").fetchone()[0]


def _number(column: str) -> str:
    """A column of text as finite numbers, NULL for what is none."""
    return f"(CASE WHEN isfinite(TRY_CAST({column} AS DOUBLE)) THEN TRY_CAST({column} AS DOUBLE) END)"


def _moment(column: str) -> str:
    return f"epoch(TRY_CAST({column} AS TIMESTAMPTZ))"


def _time_expression(connection: Connection, table: Table, columns: Columns) -> str:
    """How the times are written, by the first of them: all as numbers, or all as dates."""
    if not columns.time:
        return "NULL"
    column = quoted(columns.time)
    sample = f"(SELECT {column} FROM {table.sql} WHERE {column} IS NOT NULL LIMIT 1)"
    is_date = one(
        connection,
        f"SELECT {_number(column)} IS NULL AND {_moment(column)} IS NOT NULL FROM {sample}",
    )
    return _moment(column) if is_date else _number(column)


def _check_values(connection: Connection, table: Table, columns: Columns, time: str) -> None:
    for name, column in (("user", columns.user), ("item", columns.item)):
        if count := one(connection, f"SELECT count(*) FROM raw WHERE {_no_id(name)}"):
            row, value = _first(connection, table, column, _no_id(quoted(column)))
            shown = "" if value is None or not value.strip() else f" with {value.strip()!r}"
            raise UserError(
                f"{table.path}: column '{column}' has no id in {count:,} rows, the first is row {row} below the "
                f"header{shown}; expected an id in every row: remove these rows, or give them one"
            )
    expressions = {
        "rating": (columns.rating, _number, "a number"),
        "time": (
            columns.time,
            lambda _: time,
            "a number (seconds since 1970), or a date such as 2014-05-03 10:00:00, throughout",
        ),
    }
    for name, (column, expression, expected) in expressions.items():
        if column and (count := one(connection, f"SELECT count(*) FROM raw WHERE {name} IS NULL")):
            row, value = _first(connection, table, column, f"{expression(quoted(column))} IS NULL")
            shown = "empty" if value is None else repr(value[:60])
            advice = "download the file again" if table.lenient else f"correct it, or leave out --{name}-col"
            raise UserError(
                f"{table.path}: column '{column}' has no {name} in {count:,} rows, the first is row {row} below the "
                f"header, {shown}; expected {expected}: {advice}"
            )


def _no_id(column: str) -> str:
    return f"coalesce(trim({column}), '') IN ('', {', '.join(map(literal, NO_ID))})"


def _first(connection: Connection, table: Table, column: str, condition: str) -> tuple[int, str | None]:
    """Number of the first row for which a condition holds, and its value. Slow, for errors."""
    connection.execute("SET preserve_insertion_order = true")
    try:
        return connection.execute(
            f'SELECT "row number", {quoted(column)} FROM (SELECT row_number() OVER () AS "row number", '
            f"{quoted(column)} FROM {table.sql}) WHERE {condition} ORDER BY 1 LIMIT 1"
        ).fetchone()
    finally:
        connection.execute("SET preserve_insertion_order = false")


def _to_seconds(connection: Connection, table: Table, column: str) -> str:
    """Divide times in smaller units, as their largest tells; returns the unit they had. Raises UserError."""
    largest = one(connection, "SELECT max(abs(time)) FROM raw")
    for unit, factor in UNITS.items():
        if largest < FARTHEST * factor:
            if factor > 1:
                connection.execute(f"UPDATE raw SET time = time / {factor}")
            return unit
    raise UserError(
        f"{table.path}: column '{column}' has a time of {largest:g}; expected seconds since 1970, or ms, us or ns: "
        f"correct it, or is it another column?"
    )


def _index(connection: Connection, kind: str, seed: int) -> None:
    """The table `users` or `items`: raw ids in order, as numbers where all are whole numbers, else as text."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE met AS SELECT DISTINCT {kind} AS raw FROM raw")
    whole = one(connection, "SELECT bool_and(regexp_full_match(raw, '0|[1-9][0-9]*')) FROM met")
    order = "length(raw), raw" if whole else "raw"  # equal to the order of numbers without leading zeros
    connection.execute(
        f"CREATE OR REPLACE TABLE {kind}s AS SELECT raw, CAST(row_number() OVER () - 1 AS INTEGER) AS id, "
        f"{_hash(seed, 'raw')} AS key FROM (SELECT raw FROM met ORDER BY {order})"
    )
    connection.execute("DROP TABLE met")


def _hash(seed: int, *columns: str) -> str:
    """64 bits of MD5, which every version of DuckDB and every machine computes alike."""
    return f"md5_number_lower(concat_ws({SEPARATOR}, {literal(str(seed))}, {', '.join(columns)}))"


def _drop_duplicates(connection: Connection, policy: str) -> int:
    """Keep one row of each pair: the earliest or the latest, of equally old ones that with the highest rating."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE repeated AS SELECT u, i FROM interactions GROUP BY u, i HAVING count(*) > 1"
    )
    pairs = one(connection, "SELECT count(*) FROM repeated")
    if pairs and policy == "error":
        user, item = connection.execute(
            "SELECT users.raw, items.raw FROM (SELECT * FROM repeated ORDER BY u, i LIMIT 1) AS pair "
            "JOIN users ON pair.u = users.id JOIN items ON pair.i = items.id"
        ).fetchone()
        raise UserError(
            f"{pairs:,} pairs of user and item stand in several rows, the first is user {user!r} and item {item!r}; "
            f"expected each once: --duplicates first or last keeps one row"
        )
    removed = 0
    if pairs:
        before, direction = _size(connection), "DESC" if policy == "last" else "ASC"
        connection.execute(
            f"CREATE OR REPLACE TABLE interactions AS "
            f"SELECT * FROM interactions ANTI JOIN repeated USING (u, i) UNION ALL "
            f"SELECT * EXCLUDE place FROM (SELECT *, row_number() OVER (PARTITION BY u, i "
            f"ORDER BY time {direction}, rating DESC) AS place FROM interactions SEMI JOIN repeated USING (u, i)) "
            f"WHERE place = 1"
        )
        removed = before - _size(connection)
    connection.execute("DROP TABLE repeated")
    return removed


def _drop_outside_core(connection: Connection, k: int) -> tuple[int, int]:
    """Leave users and items with at least k interactions each, all counted in what is left: rounds and rows gone.

    The core is the largest such set, and the same whichever row goes first.
    """
    rounds = removed = 0
    while k > 1:
        few = [
            f"{column} IN (SELECT {column} FROM interactions GROUP BY {column} HAVING count(*) < {k})"
            for column in ("u", "i")
        ]
        gone = (_delete if rounds else _drop)(connection, " OR ".join(few))
        if not gone:
            break
        rounds, removed = rounds + 1, removed + gone
    return rounds, removed


def _delete(connection: Connection, condition: str) -> int:
    """Rows that went, marked as such: right for few of them."""
    return connection.execute(f"DELETE FROM interactions WHERE {condition}").fetchone()[0]


def _drop(connection: Connection, condition: str) -> int:
    """Rows that went. The others are written anew: right for many, which would be read whole every time."""
    before = _size(connection)
    connection.execute(
        f"CREATE OR REPLACE TABLE interactions AS SELECT * FROM interactions WHERE NOT ({condition})"
    )
    return before - _size(connection)


def _close_gaps(connection: Connection) -> None:
    """Ids 0..n-1 of the users and items that are left, in their order."""
    for name, column in (("users", "u"), ("items", "i")):
        connection.execute(
            f"CREATE OR REPLACE TABLE {name} AS SELECT raw, key, id AS old, "
            f"CAST(row_number() OVER () - 1 AS INTEGER) AS id FROM (SELECT * FROM {name} "
            f"WHERE id IN (SELECT {column} FROM interactions) ORDER BY id)"
        )
    connection.execute(
        "CREATE OR REPLACE TABLE interactions AS SELECT users.id AS u, items.id AS i, rating, time, "
        "interactions.key AS key FROM interactions JOIN users ON u = users.old JOIN items ON i = items.old"
    )


def _size(connection: Connection) -> int:
    return one(connection, "SELECT count(*) FROM interactions")
