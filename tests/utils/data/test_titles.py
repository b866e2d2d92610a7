"""Titles of items: where they are looked for, and what is wrong with them."""

from __future__ import annotations

import json

import pytest

from utils.data.titles import read_titles


def read(folder, n_items=3):
    return read_titles(folder, n_items, "itemID")


def test_a_folder_without_titles_has_none(tmp_path):
    assert read(tmp_path) is None


@pytest.mark.parametrize("name", ["item_titles.json", "item_keywords.json"])
def test_a_list_has_a_title_per_item(tmp_path, name):
    (tmp_path / name).write_text(json.dumps(["a tent", None, "  ein\nGrüner\tBall "]), encoding="utf-8")
    assert read(tmp_path) == ["a tent", None, "ein Grüner Ball"]


def test_titles_come_before_key_phrases_and_lists_before_tables(tmp_path):
    (tmp_path / "items.tsv").write_text("itemID\ttitle\n0\tof the table\n")
    (tmp_path / "item_keywords.json").write_text('["of the phrases"]')
    assert read(tmp_path, 1) == ["of the phrases"]
    (tmp_path / "item_titles.json").write_text('["of the titles"]')
    assert read(tmp_path, 1) == ["of the titles"]


def test_a_table_may_leave_items_out_and_have_other_columns(tmp_path):
    (tmp_path / "items.tsv").write_text(
        'price\titemID\ttitle\n3\t2\t"5" rod\n\n4\t0\t\n', encoding="utf-8-sig"
    )
    assert read(tmp_path) == [None, None, '"5" rod']


def test_quotes_count_where_commas_separate(tmp_path):
    (tmp_path / "items.csv").write_text('itemID,title\r\n1,"rod, 5"" long"\r\n')
    assert read(tmp_path) == [None, 'rod, 5" long', None]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("item_titles.json", '["a", ', "item_titles.json is no JSON ("),
        ("item_titles.json", '{"0": "a"}', "holds no list; expected a JSON list of titles"),
        ("item_titles.json", '["a", "b"]', "has 2 titles, and the data set has 3 items"),
        ("item_titles.json", '["a", 5, "c"]', "the title of item 1 is 5; expected a text or null"),
        ("items.tsv", "", "items.tsv has no column 'itemID'; found nothing"),
        (
            "items.tsv",
            "itemId\ttitle\n",
            "has no column 'itemID'; found 'itemId', 'title'; did you mean 'itemId'?",
        ),
        ("items.tsv", "itemID\tname\n", "has no column 'title'"),
        ("items.tsv", "itemID\ttitle\n3\ta\n", "line 2: itemID is '3'; expected an item id from 0 to 2"),
        ("items.tsv", "itemID\ttitle\n-1\ta\n", "line 2: itemID is '-1'"),
        ("items.tsv", "itemID\ttitle\n1\ta\n1\tb\n", "line 3: item 1 has a title already"),
        ("items.tsv", "itemID\ttitle\n1\n", "line 2 has 1 fields; expected 2"),
        ("items.csv", "itemID,title\n1,a,b\n", "line 2 has 3 fields; expected 2"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, fails, name, content, message):
    (tmp_path / name).write_text(content)
    fails(read, message, tmp_path)


def test_another_encoding_is_an_error(tmp_path, fails):
    for name in ("items.csv", "item_titles.json"):
        (tmp_path / name).write_bytes('["Bälle"]'.encode("latin-1"))
        fails(read, f"{name} is no UTF-8 text", tmp_path)
