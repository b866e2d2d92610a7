"""What is read of tables of items and of lists of texts, and what is said of the others."""

from __future__ import annotations

import csv

import pytest

from utils.media.tables import Line, read_table, read_texts


def lines(path, n_items=3):
    return list(read_table(path, n_items, "itemID"))


def test_the_text_or_else_the_title_and_the_image(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text(
        '\ufeffitemID,rawID,title,text,image\n2,b,a title,"text, in\nlines",x.jpg\n\n0,c,only a title, ,\n'
    )
    assert lines(path) == [Line(2, "text, in\nlines", "x.jpg"), Line(0, "only a title", "")]


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("itemID,text", "1,words", Line(1, "words", None)),
        ("itemID,title", "1,words", Line(1, "words", None)),
        ("image,itemID", "x.jpg,1", Line(1, None, "x.jpg")),
    ],
)
def test_what_a_table_has_no_column_for_is_not_spoken_of(tmp_path, header, row, expected):
    (tmp_path / "items.csv").write_text(f"{header}\n{row}\n")
    assert lines(tmp_path / "items.csv") == [expected]


def test_a_text_longer_than_pythons_limit(tmp_path):
    long = "x" * 200_000
    (tmp_path / "items.csv").write_text(f"itemID,text\n0,{long}\n")
    assert csv.field_size_limit() >= 131_072
    assert lines(tmp_path / "items.csv") == [Line(0, long, None)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no column 'itemID'; found nothing"),
        (b"itemid,text\n", "has no column 'itemID'; found 'itemid', 'text'; did you mean 'itemid'?"),
        (b"itemID,rawID\n", "has none of the columns text, title and image; found 'itemID', 'rawID'"),
        (b"itemID,text\n0\n", "line 2 has 1 fields; expected 2, as the header has"),
        (b"itemID,text\n3,a\n", "line 2: itemID is '3'; expected an item id from 0 to 2"),
        (b"itemID,text\n-1,a\n", "itemID is '-1'; expected an item id from 0 to 2"),
        (b"itemID,text\n1e0,a\n", "itemID is '1e0'; expected"),
        (b"itemID,text\n" + b"9" * 5000 + b",a\n", "expected an item id from 0 to 2"),
        (b"itemID,text\n1,a\n1,b\n", "line 3: item 1 has a line already; expected one per item"),
        (b"itemID,text\n1,\xff\n", "is no UTF-8 text; save it as UTF-8"),
    ],
)
def test_what_is_wrong_with_a_table(tmp_path, fails, content, message):
    (tmp_path / "items.csv").write_bytes(content)
    fails(lines, message, tmp_path / "items.csv")


def test_a_table_that_is_not_there(tmp_path, fails):
    fails(lines, "cannot read", tmp_path / "items.csv")


def test_a_list_of_texts(tmp_path):
    (tmp_path / "texts.json").write_text('["a", null, ""]')
    expected = [Line(0, "a", None), Line(1, "", None), Line(2, "", None)]
    assert list(read_texts(tmp_path / "texts.json", 3)) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("{}", "holds no list; expected a JSON list of texts, index = item id"),
        ('["a"]', "has 1 texts, and the data set has 3 items"),
        ('["a", 2, "c"]', "the text of item 1 is 2; expected a text or null"),
    ],
)
def test_what_is_wrong_with_a_list(tmp_path, fails, content, message):
    (tmp_path / "texts.json").write_text(content)
    fails(lambda: list(read_texts(tmp_path / "texts.json", 3)), message)
