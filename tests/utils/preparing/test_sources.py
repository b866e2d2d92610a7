"""Tables in every form, and what is said about broken ones."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from utils.preparing.cleaning import Columns, load
from utils.preparing.sources import open_table

COLUMNS = ["--user-col", "user", "--item-col", "item"]

ALL = [*COLUMNS, "--rating-col", "rating", "--time-col", "time"]
HEADER = ("user", "item", "rating", "time")
EACH = Columns(*HEADER)
PAIRS = Columns("user", "item")


@pytest.fixture
def read(connection):
    """Rows (user, item, rating, time), sorted, and the unit of times that a table is read as."""

    def make(path, columns=EACH):
        counts = load(connection, open_table(connection, path), columns)
        return connection.execute("SELECT * FROM raw ORDER BY ALL").fetchall(), counts.time_unit

    return make


@pytest.mark.parametrize(
    "name", ["t.csv", "t.tsv", "t.csv.gz", "t.parquet", "t.txt", "[t]*.csv", "named.gz.csv"]
)
def test_every_form_gives_the_same(read, tmp_path, grid, name):
    frame = pd.DataFrame(grid, columns=HEADER)
    path = tmp_path / name
    if name.endswith("parquet"):
        frame.to_parquet(path)
    else:
        packed = {"compression": "gzip"} if "gz" in name else {}
        frame.to_csv(path, sep="," if ".csv" in name else "\t", index=False, **packed)
    assert read(path) == (sorted(grid), "s")


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_marks_quotes_and_other_columns(read, tmp_path, grid, ending, mark):
    lines = [f'{mark},"user",row,item', *(f'{n},"{u}, {u}",6" x,{i}' for n, (u, i, *_) in enumerate(grid))]
    (tmp_path / "t.csv").write_bytes(ending.join(lines).encode())
    rows, _ = read(tmp_path / "t.csv", PAIRS)
    assert rows == sorted((f"{u}, {u}", i, None, None) for u, i, *_ in grid)


def test_another_separator(prepare, write, grid):
    path = write([row[:2] for row in grid], "t.csv", separator=";")
    assert len(prepare("--interactions", path, *COLUMNS, "--separator", ";").inter) == len(grid)


@pytest.mark.parametrize(
    ("write_time", "unit"),
    [
        (lambda t: t, "s"),
        (lambda t: t * 1000, "ms"),
        (lambda t: t * 1_000_000, "us"),
        (lambda t: t * 1_000_000_000, "ns"),
        (lambda t: pd.Timestamp(t, unit="s").isoformat(), "s"),
        (lambda t: pd.Timestamp(t, unit="s").strftime("%Y-%m-%d %H:%M:%S"), "s"),
        (lambda t: pd.Timestamp(t, unit="s", tz="UTC").tz_convert("Asia/Tokyo").isoformat(), "s"),
    ],
)
def test_times_become_seconds(read, write, grid, write_time, unit):
    path = write([(u, i, r, write_time(t)) for u, i, r, t in grid], header=HEADER)
    assert read(path) == (sorted(grid), unit)


def test_whole_seconds_are_written_as_such_and_dated(prepare, write, grid):
    path = write([(u, i, r, f"{1000 * t}") for u, i, r, t in grid], header=HEADER)
    found = prepare("--interactions", path, *ALL)
    assert sorted(found.inter.timestamp) == sorted(t for *_, t in grid)
    assert found.inter.timestamp.dtype == np.int64
    assert found.card["rows"]["time_unit"] == "ms" and found.card["time"]["first_date"] == "2014-05-13"
    assert "times      in ms, by their size; kept as seconds" in found.out


def test_dates_of_parquet(read, tmp_path, grid):
    frame = pd.DataFrame(grid, columns=HEADER).assign(time=lambda f: pd.to_datetime(f.time, unit="s"))
    frame.to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet") == (sorted(grid), "s")


BROKEN = {
    "a column is missing": ("usr,item\na,b\n", "no column 'user' (--user-col); found 'usr', 'item'; did you mean"),
    "no header": ("1,2\n3,4\n", "in its first line, which is no header"),
    "another separator": ("user;item\na;b\n", "separated by ';'? Then add --separator ';'"),
    "tabs": ("user\titem\na\tb\n", "Then add --separator '\\t'"),
    "too few fields": ("user,item\na,b\nc\n", "line 3 has 1 fields; expected 2"),
    "too many fields": ("user,item\na,b,c\n", "line 2 has 3 fields; expected 2"),
    "an open quote": ('user,item\na,"b\nc,d\n', "line 2 has a quote that is not closed"),
    "an empty user": ("user,item\na,b\n,b\n", "column 'user' has no id in 1 rows, the first is row 2 below the"),
    "a user of NaN": ("user,item\na,b\nNaN,b\n", "the first is row 2 below the header with 'NaN'; expected an id"),
    "a blank item": ("user,item\na,b\na,  \n", "column 'item' has no id in 1 rows, the first is row 2"),
    "no rows": ("user,item\n", "no row that could be read"),
    "nothing": ("", "is empty"),
    "a column twice": ("user,item,Item\na,b,c\n", "has the column 'item' twice"),
    "not UTF-8": ("user,item\nbj\xf6rn,b\n", "line 2 is no UTF-8 text; save the file as UTF-8"),
    "a header that is not UTF-8": ("user,item,gr\xf6\xdfe\na,b,c\n", "is no UTF-8 text, by its first line"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken_tables(refused, tmp_path, what):
    content, message = BROKEN[what]
    (tmp_path / "t.csv").write_bytes(content.encode("latin-1"))
    err = refused("--interactions", tmp_path / "t.csv", *COLUMNS)
    assert message in err and str(tmp_path / "t.csv") in err


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [("a", "b", "five", 1)],
            "column 'rating' has no rating in 1 rows, the first is row 1 below the header, 'five'",
        ),
        (
            [("a", "b", 5, 1), ("a", "c", "nan", 1)],
            "the first is row 2 below the header, 'nan'; expected a number",
        ),
        ([("a", "b", "", 1)], "empty; expected a number: correct it, or leave out --rating-col"),
        ([("a", "b", 5, "yesterday")], "column 'time' has no time in 1 rows"),
        (
            [("a", "b", 5, 1), ("a", "c", 5, "2014-01-01")],
            "expected a number (seconds since 1970), or a date",
        ),
        (
            [("a", "b", 5, 1), ("a", "c", 5, 1e30)],
            "column 'time' has a time of 1e+30; expected seconds since 1970",
        ),
    ],
)
def test_ratings_and_times_that_are_none(refused, write, values, message):
    assert message in refused("--interactions", write(values, header=HEADER), *ALL)


def test_damaged_files(refused, tmp_path, grid):
    packed = gzip.compress(b"user,item\n" + b"".join(f"u{n},i{n % 9}\n".encode() for n in range(30_000)))
    for name, content, message in (
        ("short.csv.gz", packed[:-3000], "damaged or incomplete gzip file"),
        ("tiny.csv.gz", packed[:12], "damaged or incomplete gzip file"),
        ("no.parquet", b"PAR1 and nothing else", "cannot read"),
        ("t.xlsx", b"x", "has no known ending; expected one of .csv"),
    ):
        (tmp_path / name).write_bytes(content)
        assert message in refused("--interactions", tmp_path / name, *COLUMNS)


def test_a_plain_file_that_is_called_gz_is_read(read, write, grid):
    assert read(write(grid, "t.csv.gz", HEADER))[0] == sorted(grid)


def test_a_file_that_is_not_there(refused, write, tmp_path, grid):
    write(grid, "ratings.csv", HEADER)
    err = refused("--interactions", tmp_path / "rating.csv", *COLUMNS)
    assert "is not there; expected a file; did you mean 'ratings.csv'?" in err
    assert "is a folder" in refused("--interactions", tmp_path, *COLUMNS)
