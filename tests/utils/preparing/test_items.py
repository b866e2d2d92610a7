"""`items.csv`: what a table of items, a column of images and a folder of images make of it."""

from __future__ import annotations

import csv

import pytest

from utils.data.titles import read_titles
from utils.preparing.items import LONGEST_TEXT

COLUMNS = ["--user-col", "user", "--item-col", "item"]
ITEM_HEADER = ("item", "name", "about", "kind", "picture")


@pytest.fixture
def call(prepare, write, grid):
    """Prepare `grid` with a table of items and options; the rows of items.csv and the whole."""

    def run(rows, *options, header=ITEM_HEADER, name="set"):
        interactions = write([row[:2] for row in grid])
        items = write(rows, "items-of-mine.csv", header)
        found = prepare("--interactions", interactions, *COLUMNS, "--items", items, *options, name=name)
        with open(found.path / "items.csv", newline="") as file:
            return {row["rawID"]: row for row in csv.DictReader(file)}, found

    return run


def test_titles_and_texts_are_on_one_line(call):
    rows = [
        ("i1", "A\n  tent", 'with "poles", and', "camp", ""),
        ("i0", "Ball", "", "toy", ""),
        ("i99", "?", "", "", ""),
    ]
    items, found = call(rows, "--title-col", "name", "--text-cols", "name", "kind", "about")
    assert list(items) == sorted(f"i{n}" for n in range(15))
    assert (items["i1"]["title"], items["i1"]["text"]) == ("A tent", 'A tent camp with "poles", and')
    assert items["i0"]["text"] == "Ball toy"
    titles = read_titles(found.path, 15, "itemID")
    assert titles[int(items["i0"]["itemID"])] == "Ball" and sum(title is not None for title in titles) == 2
    assert found.card["item_table"]["titles"] == found.card["item_table"]["texts"] == 2


def test_the_title_is_the_text_where_no_columns_are_named(call):
    items, _ = call([("i1", "Tent", "", "", "")], "--title-col", "name")
    assert items["i1"]["text"] == "Tent"


def test_the_first_line_of_an_item_counts(call):
    rows = [(f"i{n % 15}", f"title {n}", "", "", "") for n in range(40)]
    items, found = call(rows, "--title-col", "name")
    assert [items[f"i{n}"]["title"] for n in range(15)] == [f"title {n}" for n in range(15)]
    assert found.card["item_table"]["repeated"] == 25


def test_long_texts_are_shortened_and_counted(call):
    items, found = call([("i1", "Tent", "x" * (LONGEST_TEXT + 1), "", "")], "--text-cols", "about")
    assert len(items["i1"]["text"]) == LONGEST_TEXT and found.card["item_table"]["shortened"] == 1


def test_images_are_absolute_paths_or_addresses(call, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "one.jpg").touch()
    rows = [
        ("i0", "", "", "", "pictures/one.jpg"),
        ("i1", "", "", "", "https://x/2.jpg"),
        ("i2", "", "", "", "lost.jpg"),
    ]
    items, found = call(rows, "--image-col", "picture")
    assert items["i0"]["image"] == str(tmp_path / "pictures" / "one.jpg")
    assert items["i1"]["image"] == "https://x/2.jpg" and items["i2"]["image"] == str(tmp_path / "lost.jpg")
    counts = [found.card["item_table"][key] for key in ("images", "addresses", "lost_images")]
    assert counts == [2, 1, 1]
    card = (found.path / "card.md").read_text()
    assert "1 images are addresses, from which nothing is downloaded; 1 images are not where they" in card
    assert f"features -d set --image MODEL --images {tmp_path} data_path=" in found.out
    rows = [("i0", "", "", "", "one.jpg")]
    items, _ = call(rows, "--image-col", "picture", "--image-dir", tmp_path / "pictures", name="two")
    assert items["i0"]["image"] == str(tmp_path / "pictures" / "one.jpg")


def test_a_folder_of_images_that_are_named_after_items_needs_no_table(prepare, write, grid, tmp_path):
    (tmp_path / "pictures").mkdir()
    for name in ("i0.jpg", "i1.PNG", "i2.txt", "i99.jpg"):
        (tmp_path / "pictures" / name).touch()
    path = write([row[:2] for row in grid])
    found = prepare("--interactions", path, *COLUMNS, "--image-dir", tmp_path / "pictures")
    with open(found.path / "items.csv", newline="") as file:
        images = {row["rawID"]: row["image"] for row in csv.DictReader(file)}
    folder = tmp_path / "pictures"
    assert {raw: image for raw, image in images.items() if image} == {
        "i0": str(folder / "i0.jpg"),
        "i1": str(folder / "i1.PNG"),
    }


def test_what_is_refused(refused, write, grid, tmp_path):
    base = ["--interactions", write([row[:2] for row in grid]), *COLUMNS]
    items = ["--items", write([("7", "x")], "it.csv", ("item", "name"))]
    assert "no column 'title' (--title-col); found 'item', 'name'" in refused(
        *base, *items, "--title-col", "title"
    )
    assert "no column 'nam' (--text-cols)" in refused(*base, *items, "--text-cols", "name", "nam")
    err = refused(*base, *items, "--title-col", "name")
    assert "(there '7' for one, here 'i0'); is it the right column? --item-id-col names another" in err
    assert "--title-col is a column of the table of items" in refused(*base, "--title-col", "name")
    assert "is no folder" in refused(*base, "--image-dir", tmp_path / "none")
