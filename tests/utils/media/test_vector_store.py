"""Vectors come back to the bit, and those of two encoders, kinds or contents are never mixed."""

from __future__ import annotations

import numpy as np

from utils.media.media_store import content_digest
from utils.media.problems import BROKEN, Problem
from utils.media.vector_store import Record, VectorStore, encoder_key

ONE, TWO = content_digest(b"one"), content_digest(b"two")
VECTOR = np.array([1e-45, -0.0, 3.4e38], dtype=np.float32)


def test_records_come_back_to_the_bit_by_rising_id(tmp_path):
    with VectorStore(tmp_path, writing=True) as store:
        key = store.register({"width": 3}, {"name": "x"})
        store.put("text", key, [Record(300, ONE, VECTOR), Record(7, TWO, None, Problem(BROKEN, "why"))])
        store.put("text", key, [Record(8, TWO, VECTOR.astype(np.float64) / 2)])
    with VectorStore(tmp_path) as store:
        found = [(r.item, r.digest, r.vector is not None, r.problem) for r in store.records("text", key)]
        assert found == [
            (7, TWO, False, Problem(BROKEN, "why")),
            (8, TWO, True, None),
            (300, ONE, True, None),
        ]
        last = [r.vector.tobytes() for r in store.records("text", key) if r.item == 300]
        assert last == [VECTOR.tobytes()]
        assert store.digests("text", key) == {7: TWO, 8: TWO, 300: ONE}
        assert store.encoders() == {key: {"identity": {"width": 3}, "about": {"name": "x"}}}


def test_encoders_and_kinds_are_apart(vectors):
    first, second = vectors.register({"seed": 1}, {}), vectors.register({"seed": 2}, {})
    vectors.put("text", first, [Record(1, ONE, VECTOR)])
    vectors.put("image", first, [Record(2, ONE, VECTOR)])
    vectors.put("text", second, [Record(3, ONE, VECTOR)])
    assert [
        list(vectors.digests(*which)) for which in [("text", first), ("image", first), ("text", second)]
    ] == [
        [1],
        [2],
        [3],
    ]
    assert not vectors.digests("image", second)


def test_a_record_takes_the_place_of_an_older_one(vectors):
    vectors.put("text", "key", [Record(1, ONE, VECTOR)])
    vectors.put("text", "key", [Record(1, TWO, None, Problem(BROKEN))])
    assert [r.problem for r in vectors.records("text", "key")] == [Problem(BROKEN)]


def test_the_key_of_an_encoder_is_its_identity_alone(vectors):
    key = vectors.register({"a": 1, "b": 2}, {"name": "here"})
    assert vectors.register({"b": 2, "a": 1}, {"name": "there"}) == key == encoder_key({"a": 1, "b": 2})
    assert vectors.encoders()[key]["about"] == {"name": "there"}
    assert encoder_key({"a": 1, "b": 3}) != key


def test_outputs_stand_in_the_order_they_were_claimed(vectors):
    for name, key in (("b_feat.npy", "1"), ("a_feat.npy", "2"), ("b_feat.npy", "3")):
        vectors.claim(name, "text", key)
    assert list(vectors.outputs().items()) == [("a_feat.npy", ("text", "2")), ("b_feat.npy", ("text", "3"))]
