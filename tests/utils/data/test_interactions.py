"""Interactions files: what is read back, and what is said of what cannot be."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from utils.data import interactions as module
from utils.data.interactions import read_interactions

HEADER = "userID\titemID\tx_label\n"
GOOD = HEADER + "0\t0\t0\n0\t1\t1\n1\t1\t2\n"
COLUMNS = ("userID", "itemID", "x_label")


@pytest.fixture
def read(tmp_path):
    def call(text, separator="\t", columns=COLUMNS):
        path = tmp_path / "toy.inter"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_interactions(path, *columns, separator)

    return call


def rows_of(found) -> list[tuple[int, int, int]]:
    return list(zip(found.users.tolist(), found.items.tolist(), found.labels.tolist(), strict=True))


def test_rows_stay_in_file_order_as_int64(read):
    found = read(HEADER + "5\t2\t2\n0\t9\t0\n3\t3\t1\n")
    assert rows_of(found) == [(5, 2, 2), (0, 9, 0), (3, 3, 1)]
    assert {array.dtype for array in (found.users, found.items, found.labels)} == {np.dtype(np.int64)}
    assert found.warnings == []


def test_columns_are_found_by_name_and_the_others_are_ignored(read):
    text = 'note\tx_label\trating\titemID\tuserID\na "quote\t0\t3.5\t1\t2\n\t1\tx\t4\t5\nb"\t2\t\t7\t8\n'
    assert rows_of(read(text)) == [(2, 1, 0), (5, 4, 1), (8, 7, 2)]


def test_columns_have_the_names_that_settings_give(read):
    text = "u\ti\tsplit\n" + GOOD.removeprefix(HEADER)
    assert len(read(text, columns=("u", "i", "split")).users) == 3


@pytest.mark.parametrize("separator", [",", ";", " ", "|"])
def test_other_separators(read, separator):
    assert rows_of(read(GOOD.replace("\t", separator), separator)) == rows_of(read(GOOD))


def test_a_tab_in_single_quotes_of_yaml_is_a_tab(read):
    assert rows_of(read(GOOD, "\\t")) == rows_of(read(GOOD))


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        GOOD.rstrip("\n"),
        "\n" + GOOD.replace("\n", "\n\n"),
        GOOD.replace("1\t2", "+1\t 2 ").replace("0\t0", "00\t-0"),
        GOOD.replace("1\t2\n", "1\t2\tmore\tfields\n"),
    ],
    ids=["CRLF", "BOM", "no newline at the end", "blank lines", "other spellings of numbers", "longer rows"],
)
def test_tolerated_forms(read, text):
    assert rows_of(read(text)) == rows_of(read(GOOD))


@hypothesis_settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 2)),
        min_size=3,
        max_size=60,
        unique=True,
    ),
    extra=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=5), max_size=3
    ),
    order=st.permutations(range(3)),
    blank=st.booleans(),
)
def test_what_is_written_is_read_back(tmp_path, rows, extra, order, blank):
    """Any rows, with any further columns, in any order of columns; and by both readers."""
    rows += [(50, 50 + label, label) for label in range(3)]
    names = [COLUMNS[c] for c in order] + [f"extra{n}" for n in range(len(extra))]
    lines = ["\t".join(names)]
    lines += ["\t".join([*(str(row[c]) for c in order), *extra]) for row in rows]
    path = tmp_path / "toy.inter"
    path.write_text(("\n\n" if blank else "\n").join(lines) + "\n", encoding="utf-8")
    assert rows_of(read_interactions(path, *COLUMNS)) == rows
    slow = module._read_by_line(path, COLUMNS, module._find_columns(path, COLUMNS, "\t"), "\t")
    assert [tuple(row) for row in slow.T.tolist()] == rows


@pytest.mark.parametrize(
    "value", ["3.5", "3.0", "", "abc", "-1", "1e3", "True", "NA", '"3"', "0x1f", "1_0", "٣", str(2**63)]
)
@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_value_that_is_no_id_is_named_with_its_line(read, fails, value, column):
    bad = ["1", "1", "1"]
    bad[column] = value
    text = GOOD + "\n" + "\t".join(bad) + "\n"  # line 6, after a blank one
    what = f"toy.inter, line 6: {COLUMNS[column]} is {value!r}; expected a whole number from 0"
    fails(read, what, text)


def test_one_bad_value_among_many_lines(read, fails):
    lines = [f"{n % 100}\t{n // 100}\t{n % 3}" for n in range(20_000)]
    lines[12_344] = "7\t3.0\t0"
    fails(read, "line 12346: itemID is '3.0'", HEADER + "\n".join(lines))


@pytest.mark.parametrize("label", [3, 17])
def test_label_out_of_range(read, fails, label):
    message = f"toy.inter, line 5: x_label is {label}; expected 0 (training), 1 (validation) or 2 (test)"
    fails(read, message, GOOD + f"1\t1\t{label}\n")


def test_short_row(read, fails):
    fails(read, "toy.inter, line 5 has 2 fields; expected 3, as the header has", GOOD + "1\t1\n")


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_empty_file(read, fails, text):
    fails(read, "toy.inter is empty; expected a header with userID, itemID, x_label", text)


def test_header_alone(read, fails):
    fails(read, "toy.inter has a header and nothing below it; expected a line for each interaction", HEADER)


def test_missing_column_names_those_there_and_the_nearest(read, fails):
    message = "toy.inter has no column 'itemID'; found 'userID', 'ItemId', 'x_label'; did you mean 'ItemId'?"
    fails(read, message, GOOD.replace("itemID", "ItemId"))
    fails(
        read, "has no column 'userID'; found 'userID:token', 'itemID'", GOOD.replace("userID", "userID:token")
    )
    fails(read, "has no column 'x_label'; found 'userID', 'itemID', 'fold'", GOOD.replace("x_label", "fold"))


def test_missing_header(read, fails):
    fails(read, "found '0', '0', '0' in its first line, which is no header", GOOD.removeprefix(HEADER))


def test_other_separator_than_set(read, fails):
    fails(
        read,
        "found 'userID,itemID,x_label' alone: is the field_separator '\\t' right?",
        GOOD.replace("\t", ","),
    )


@pytest.mark.parametrize("separator", ["", ", ", r"\s+"])
def test_separator_of_other_than_one_character(read, fails, separator):
    fails(read, f"field_separator is {separator!r}; expected one character", GOOD, separator)


NO_TEXT = {
    "gzip": gzip.compress(GOOD.encode(), mtime=0),
    "utf-16": GOOD.encode("utf-16"),
    "a stray byte": GOOD.encode() + b"\xff\t1\t1\n",
}


@pytest.mark.parametrize("content", NO_TEXT.values(), ids=NO_TEXT)  # bytes as names differ with a clock
def test_no_text(read, fails, content):
    fails(read, "toy.inter is no UTF-8 text; expected a plain table: unpack it, or save it as UTF-8", content)


def test_file_that_cannot_be_read(tmp_path, fails):
    (tmp_path / "toy.inter").mkdir()
    fails(read_interactions, "toy.inter: Is a directory; check the file", tmp_path / "toy.inter", *COLUMNS)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_empty_split(read, fails, label):
    text = HEADER + "".join(f"{n}\t{n}\t{n % 3}\n" for n in range(6) if n % 3 != label)
    split = ("training", "validation", "test")[label]
    found = ", ".join(
        f"{0 if n == label else 2} of {s}" for n, s in enumerate(("training", "validation", "test"))
    )
    fails(read, f"toy.inter has no {split} rows, found {found}; expected some with x_label {label}", text)


@pytest.mark.parametrize("column", [0, 1])
def test_raw_ids_are_not_taken_for_indices(read, fails, column):
    raw = ["5", "5", "0"]
    raw[column] = "83923499"
    message = (
        f"toy.inter: {COLUMNS[column]} runs up to 83923499, with only 3 different ids: these look like raw "
        f"ids; expected ids re-indexed to 0..2"
    )
    fails(read, message, GOOD + "\t".join(raw) + "\n")


def test_large_ids_that_are_used_or_not_too_large_are_taken(read, monkeypatch):
    assert read(GOOD + "9999999\t5\t0\n").users.max() == 9_999_999
    monkeypatch.setattr(module, "MANY_IDS", 100)
    dense = "".join(f"{user * 50}\t0\t0\n" for user in range(100))
    assert read(GOOD + dense).users.max() == 4950


def test_duplicated_rows_are_merged_in_place_of_the_first(read):
    found = read(HEADER + "4\t2\t0\n1\t1\t1\n4\t2\t0\n3\t0\t2\n1\t1\t1\n4\t2\t0\n")
    assert rows_of(found) == [(4, 2, 0), (1, 1, 1), (3, 0, 2)]
    assert found.warnings == ["duplicated rows in toy.inter: 3 merged (same user, item and split)"]


def test_pairs_in_two_splits_are_kept_with_a_warning(read):
    rows = [(0, 0, 0), (0, 1, 0), (1, 1, 1), (7, 3, 0), (7, 3, 2), (7, 3, 1), (0, 1, 2), (1, 0, 2)]
    found = read(HEADER + "".join("\t".join(map(str, row)) + "\n" for row in rows))
    assert rows_of(found) == rows
    (warning,) = found.warnings
    assert warning.startswith(
        "user-item pairs in more than one split of toy.inter: 2, the first is user 0, item 1;"
    )
    assert "can never be hit" in warning


@hypothesis_settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)
@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=40))
def test_merging_against_plain_python(tmp_path, rows):
    rows += [(4, 4 + label, label) for label in range(3)]
    path = tmp_path / "toy.inter"
    path.write_text(HEADER + "".join("\t".join(map(str, row)) + "\n" for row in rows))
    found = read_interactions(path, *COLUMNS)
    distinct = list(dict.fromkeys(rows))
    assert rows_of(found) == distinct
    splits: dict[tuple[int, int], set[int]] = {}
    for user, item, label in distinct:
        splits.setdefault((user, item), set()).add(label)
    numbers = [int(re.search(r"\.inter: (\d+)", warning)[1]) for warning in found.warnings]
    shared = sum(len(labels) > 1 for labels in splits.values())
    assert numbers == [n for n in (len(rows) - len(distinct), shared) if n]


def test_path_is_named_in_full(read, tmp_path, fails):
    fails(read, str(Path(tmp_path) / "toy.inter"), "")
