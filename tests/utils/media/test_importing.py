"""The store follows the table: what is new or changed is read, and nothing else."""

from __future__ import annotations

import pytest
from media_sets import picture, write_items

from utils.media.images import ImageFolders
from utils.media.importing import import_media
from utils.media.problems import BROKEN, NO_IMAGE, NO_LINE, NO_TEXT, NOT_THERE
from utils.media.tables import read_table


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    for name in "ab":
        (tmp_path / "images" / f"{name}.png").write_bytes(picture(ord(name)))
    return tmp_path / "images"


def bring(media, folder, rows, n_items=3):
    return import_media(
        media, read_table(write_items(folder, rows), n_items, "itemID"), n_items, ImageFolders(folder)
    )


def reasons(media, kind):
    return {item: problem.reason for item, problem in media.problems(kind).items()}


ROWS = [(0, "", "one", "a.png"), (1, "", "", "b.png"), (2, "a title", "", "")]


def test_every_item_has_content_or_a_reason(media, tmp_path, images):
    found = bring(media, tmp_path, ROWS, n_items=4)
    assert found.met == {"text": 3, "image": 3} and found.changed == 8
    assert [content for _, content in media.contents("text", [0, 2])] == [b"one", b"a title"]
    assert reasons(media, "text") == {1: NO_TEXT, 3: NO_LINE}
    assert reasons(media, "image") == {2: NO_IMAGE, 3: NO_LINE}
    assert media.contents("image", [1])[0][1] == picture(ord("b"))
    assert bring(media, tmp_path, ROWS, n_items=4).changed == 0


def test_a_file_that_is_unchanged_is_not_read_again(media, tmp_path, images, monkeypatch):
    bring(media, tmp_path, ROWS)
    (images / "b.png").write_bytes(picture(9))
    opened = []
    monkeypatch.setattr("utils.media.importing.open_image", opened.append)
    assert bring(media, tmp_path, ROWS).changed == 1
    assert opened == [picture(9)]
    assert media.contents("image", [1])[0][1] == picture(9)


def test_a_file_that_is_gone_is_kept_and_another_name_is_not(media, tmp_path, images):
    bring(media, tmp_path, ROWS)
    (images / "a.png").unlink()
    assert bring(media, tmp_path, ROWS).changed == 0
    assert 0 in media.digests("image")
    bring(media, tmp_path, [(0, "", "one", "c.png"), *ROWS[1:]])
    assert reasons(media, "image")[0] == NOT_THERE


def test_a_file_that_breaks_is_a_problem_and_mended_content_again(media, tmp_path, images):
    (images / "a.png").write_bytes(b"<html>")
    bring(media, tmp_path, ROWS)
    assert media.problems("image")[0].reason == BROKEN
    assert media.problems("image")[0].detail == "no JPEG, PNG, WEBP, GIF, BMP, TIFF"
    (images / "a.png").write_bytes(picture(1))
    bring(media, tmp_path, ROWS)
    assert 0 in media.digests("image") and 0 not in media.problems("image")


def test_a_kind_without_a_column_stays_and_a_smaller_set_forgets(media, tmp_path, images):
    bring(media, tmp_path, ROWS)
    (tmp_path / "texts.csv").write_text("itemID,text\n0,new\n")
    import_media(media, read_table(tmp_path / "texts.csv", 2, "itemID"), 2, ImageFolders(tmp_path))
    assert list(media.digests("image")) == [0, 1]
    assert media.contents("text", [0])[0][1] == b"new" and reasons(media, "text") == {1: NO_LINE}


@pytest.mark.parametrize("limits", [{"BATCH_ITEMS": 2}, {"BATCH_BYTES": 1}])
def test_the_size_of_transactions_changes_nothing(media, tmp_path, images, monkeypatch, limits):
    for name, value in limits.items():
        monkeypatch.setattr(f"utils.media.importing.{name}", value)
    assert bring(media, tmp_path, ROWS).changed == 6
    assert list(media.digests("image")) == [0, 1]
