"""Small tables, the command called on them, and what it wrote."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from utils.cli import main
from utils.preparing import card
from utils.preparing.cleaning import Counts, Rules, clean
from utils.preparing.engine import database
from utils.preparing.splits import Split, split

ALL = Rules()


@pytest.fixture(scope="session")
def connection(tmp_path_factory):
    with database(tmp_path_factory.mktemp("scratch"), "500MB", 1) as connection:
        connection.execute(
            "ATTACH ':memory:' AS fast"
        )  # a disk that is synced at every table takes most of the time
        connection.execute("USE fast")
        yield connection


@pytest.fixture(scope="session")
def fill(connection):
    """Fill `raw` with rows (user, item, rating or None, time or None)."""

    def make(rows) -> None:
        connection.execute(
            "CREATE OR REPLACE TABLE raw AS SELECT unnest(?::VARCHAR[]) AS user, unnest(?::VARCHAR[]) AS item, "
            "unnest(?::DOUBLE[]) AS rating, unnest(?::DOUBLE[]) AS time",
            [list(column) for column in zip(*rows, strict=True)],
        )

    return make


@pytest.fixture(scope="session")
def splits(connection, fill):
    """The rows (u, i, time, part, raw ids) of a split of rows (user, item, time or None), by raw ids."""

    def make(rows, how: Split, rules: Rules = ALL) -> pd.DataFrame:
        fill([(user, item, None, time) for user, item, time in rows])
        clean(connection, rules, how.seed, Counts(len(rows)))
        told = split(connection, how)
        table = connection.execute(
            "SELECT users.raw AS user, items.raw AS item, u, i, time, part FROM labelled "
            "JOIN users ON u = users.id JOIN items ON i = items.id ORDER BY u, i"
        ).df()
        table.attrs["told"] = told
        return table

    return make


@pytest.fixture(autouse=True)
def _not_drawn(monkeypatch):
    """The plot takes most of the time of small sets; it has a test of its own."""
    monkeypatch.setattr(card, "plot", lambda facts: "<svg/>")


@pytest.fixture
def write(tmp_path):
    """Write a table of rows with a header; returns its path."""

    def make(rows, name="rows.csv", header=("user", "item"), separator=",") -> Path:
        with open(tmp_path / name, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=separator, lineterminator="\n").writerows([header, *rows])
        return tmp_path / name

    return make


@pytest.fixture
def prepare(tmp_path, capsys):
    """Call the command with words; what it wrote as `path`, `inter`, `card`, and what it said as `out`."""

    def call(*words, name="set", kind="table") -> SimpleNamespace:
        capsys.readouterr()
        data = tmp_path / "data"
        status = main(["prepare", kind, *map(str, words), "-d", name, f"data_path={data}", "threads=1"])
        out, err = capsys.readouterr()
        assert (status, err) == (0, ""), err
        folder = data / name
        found = SimpleNamespace(path=folder, out=out)
        if (folder / f"{name}.inter").exists():
            found.inter = pd.read_csv(folder / f"{name}.inter", sep="\t")
            found.card = json.loads((folder / "card.json").read_text())
        return found

    return call


@pytest.fixture
def refused(tmp_path, capsys):
    """The one line of error of a call that ends with status 2 and leaves nothing behind in the data folder."""

    def call(*words, name="set", kind="table") -> str:
        data = tmp_path / "data"
        before = sorted(data.rglob("*"))
        assert main(["prepare", kind, *map(str, words), "-d", name, f"data_path={data}", "threads=1"]) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ") and err.count("\n") == 1, err
        assert sorted(data.rglob("*")) == before
        return err

    return call


@pytest.fixture
def grid():
    """Ten users with twelve of fifteen items each: rows (user, item, rating, time)."""
    return [
        (f"u{user}", f"i{(user + step) % 15}", 1 + (user + step) % 5, 1_400_000_000 + 100 * step + user)
        for user in range(10)
        for step in range(12)
    ]
