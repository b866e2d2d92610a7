"""Rows in the order of items, and every item without a vector marked, listed and zero."""

from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest

from utils.media.exporting import Outcome, export, mask_path, outcome_of, write_report
from utils.media.media_store import Entry
from utils.media.problems import BROKEN, NO_LINE, NO_TEXT, NOT_ENCODED, Problem
from utils.media.vector_store import Record

N = 7


@pytest.fixture
def outcome(media, vectors):
    """Of seven items: vectors of 1, 3 and 4, two of them of one text; 0 broken, 2 empty, 5 changed since, 6 absent."""
    media.put(
        [Entry("text", item, b"same" if item in (3, 4) else b"text %d" % item) for item in (0, 1, 3, 4, 5)]
    )
    media.put([Entry("text", 2, None, Problem(NO_TEXT)), Entry("text", 6, None, Problem(NO_LINE))])
    digests = media.digests("text")
    records = [Record(item, digests[item], row(item)) for item in (4, 3, 1)]
    old = Record(5, b"old".ljust(16), row(5)), Record(9, b"old".ljust(16), row(9))
    vectors.put("text", "key", [*records, *old, Record(0, digests[0], None, Problem(BROKEN, "why"))])
    return outcome_of(media, "text", N, vectors, "key")


def row(item):
    return np.full(3, 3 if item == 4 else item, dtype=np.float32)


def test_the_outcome_has_a_reason_for_every_item_without_a_vector(outcome, media):
    assert outcome.present.tolist() == [False, True, False, True, True, False, False]
    assert outcome.problems == {
        0: Problem(BROKEN, "why"),
        2: Problem(NO_TEXT),
        5: Problem(NOT_ENCODED),
        6: Problem(NO_LINE),
    }
    assert outcome_of(media, "text", N).present.tolist() == [True, True, False, True, True, True, False]
    assert not outcome_of(media, "image", N).known


def test_rows_are_items_and_the_mask_says_which_count(outcome, vectors, tmp_path):
    export(vectors, tmp_path / "text_feat.npy", outcome, "key", 3)
    features = np.load(tmp_path / "text_feat.npy", allow_pickle=False)
    mask = np.load(tmp_path / "text_mask.npy", allow_pickle=False)
    assert features.dtype == np.float32 and features.shape == (N, 3) and features.flags.c_contiguous
    assert features[:, 0].tolist() == [0, 1, 0, 3, 3, 0, 0]
    assert mask.dtype == bool and (mask == outcome.present).all()
    assert not features[~mask].any()


def test_what_fails_leaves_the_old_file_and_no_other(outcome, vectors, tmp_path, monkeypatch):
    export(vectors, tmp_path / "text_feat.npy", outcome, "key", 3)
    before = (tmp_path / "text_feat.npy").read_bytes(), sorted(os.listdir(tmp_path))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("utils.media.exporting._write_rows", full)
    with pytest.raises(OSError, match="No space"):
        export(vectors, tmp_path / "text_feat.npy", outcome, "key", 3)
    assert ((tmp_path / "text_feat.npy").read_bytes(), sorted(os.listdir(tmp_path))) == before


def test_mask_beside_features(tmp_path):
    assert mask_path(tmp_path / "a_feat.b_feat.npy") == tmp_path / "a_feat.b_mask.npy"


def test_what_is_said(outcome):
    assert outcome.lines("a vector") == [
        "text       3 of 7 items have a vector",
        "warning    text: empty text: 1 items: 2",
        "missing    text: no line in the table: 1 items: 6",
        "warning    text: broken image: 1 items: 0",
        "warning    text: not encoded yet: 1 items: 5",
    ]
    many = Outcome("text", np.zeros(30, dtype=bool), dict.fromkeys(range(30), Problem(NO_TEXT)))
    assert (
        many.lines("a text")[1] == "warning    text: empty text: 30 items: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."
    )


def test_the_report_and_the_list(outcome, tmp_path):
    image = Outcome("image", np.ones(N, dtype=bool), {})
    write_report(tmp_path, "toys", [outcome, image], {"text_feat.npy": {"kind": "text"}})
    report = json.loads((tmp_path / "media_report.json").read_text())
    assert report["kinds"]["text"]["present"] == 3 and report["kinds"]["text"]["missing"] == 4
    assert report["kinds"]["text"]["reasons"]["empty text"] == {"items": 1, "first": [2]}
    assert report["kinds"]["image"] == {"present": 7, "missing": 0, "reasons": {}}
    with open(tmp_path / "media_missing.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[:3] == [
        ["itemID", "kind", "reason", "detail"],
        ["0", "text", "broken image", "why"],
        ["2", "text", "empty text", ""],
    ]
    assert len(rows) == 5
