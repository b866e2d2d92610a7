"""Of every item the store has content or a reason why not, never both and never an older one."""

from __future__ import annotations

import pytest

from utils.media.images import Stamp
from utils.media.media_store import Entry, MediaStore, Origin, content_digest
from utils.media.problems import BROKEN, NO_TEXT, Problem

ORIGIN = Origin("a b\udcff.jpg", Stamp(2**40, -1, 3))


def text(item, content=b"words"):
    return Entry("text", item, content)


def test_what_was_put_is_there_when_reopened(tmp_path):
    with MediaStore(tmp_path, writing=True) as store:
        assert store.put([text(2), text(1, b"other"), Entry("image", 1, b"pixels", origin=ORIGIN)]) == 3
    with MediaStore(tmp_path) as store, store.file.read():
        assert store.count("text") == 2 and store.count("image") == 1
        assert list(store.digests("text")) == [1, 2]
        assert store.contents("text", [2, 1]) == [
            (content_digest(b"words"), b"words"),
            (content_digest(b"other"), b"other"),
        ]
        assert store.origins() == {1: ORIGIN}


def test_only_what_is_new_or_changed_counts(media):
    problem = Entry("text", 3, None, Problem(NO_TEXT))
    assert media.put([text(1), problem]) == 2
    assert media.put([text(1), problem]) == 0
    assert media.put([text(1, b"changed")]) == 1


def test_a_problem_takes_the_place_of_content_and_the_other_way_round(media):
    media.put([Entry("image", 1, b"pixels", origin=ORIGIN)])
    media.put([Entry("image", 1, None, Problem(BROKEN, "why"))])
    assert not media.digests("image") and not media.origins() and not media.count("image")
    assert media.problems("image") == {1: Problem(BROKEN, "why")}
    media.put([Entry("image", 1, b"pixels", origin=ORIGIN)])
    assert list(media.digests("image")) == [1] and not media.problems("image")


def test_a_text_without_content_leaves_the_image_alone(media):
    media.put([text(1), Entry("image", 1, b"pixels", origin=ORIGIN)])
    media.put([Entry("text", 1, None, Problem(NO_TEXT))])
    assert list(media.digests("image")) == [1] and media.origins() == {1: ORIGIN}


def test_entries_are_kept_together_or_not_at_all(media):
    def entries():
        yield text(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        media.put(entries())
    with pytest.raises(AttributeError):
        media.put([text(1), Entry("text", 2, None, None)])  # neither content nor problem
    assert not media.count("text")


def test_items_that_the_data_set_has_no_longer(media):
    media.put([text(1), text(5), Entry("image", 5, b"pixels", origin=ORIGIN), text(300)])
    media.put([Entry("text", 7, None, Problem(NO_TEXT))])
    media.forget(5)
    assert list(media.digests("text")) == [1]
    assert not media.problems("text") and not media.count("image") and not media.origins()


def test_an_item_without_content(media):
    with pytest.raises(KeyError):
        media.contents("text", [1])


def test_what_a_problem_is_about_is_kept_in_short(media):
    media.put([Entry("text", 1, None, Problem(BROKEN, "x" * 10_000 + "\udcff"))])
    assert media.problems("text")[1].detail == "x" * 300
