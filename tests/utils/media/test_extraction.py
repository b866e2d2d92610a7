"""Every item is encoded once, a batch per transaction, and a kill at any time changes nothing."""

from __future__ import annotations

import hashlib
import random
import time

import numpy as np
import pytest
from killing import SERVER, kill_after, start_server
from media_sets import HashEncoder, content, import_and_extract, in_a_process, picture, write_items

from utils.media.extraction import batches, extract, pending
from utils.media.images import decode_image
from utils.media.media_store import Entry, MediaStore
from utils.media.problems import BROKEN, NOT_FINITE
from utils.media.vector_store import VectorStore


@pytest.fixture
def texts(media):
    """Of 30 items."""
    media.put([Entry("text", item, f"text {'x' * item}".encode()) for item in range(30)])
    return media


def found(vectors, kind="text", key="key"):
    return {r.item: None if r.vector is None else r.vector.tobytes() for r in vectors.records(kind, key)}


def test_every_item_once_in_batches_of_one_size(texts, vectors):
    encoder, told = HashEncoder(4), []
    assert extract(texts, vectors, "text", "key", encoder, told.append) == sum(told) == 30
    done = [one for batch in encoder.batches for one in batch]
    assert sorted(done) == sorted(content for _, content in texts.contents("text", range(30)))
    assert all(len({len(one) % 3 for one in batch}) == 1 for batch in encoder.batches)
    assert extract(texts, vectors, "text", "key", encoder) == 0


def test_a_vector_does_not_depend_on_batches(texts, vectors):
    for rows in (1, 4, 50):
        extract(texts, vectors, "text", str(rows), HashEncoder(rows))
    assert found(vectors, key="1") == found(vectors, key="4") == found(vectors, key="50")


def test_only_what_has_changed_is_encoded_again(texts, vectors):
    encoder = HashEncoder(4)
    extract(texts, vectors, "text", "key", encoder)
    before = found(vectors)
    texts.put([Entry("text", 7, b"another"), Entry("text", 40, b"new")])
    assert pending(texts, vectors, "text", "key") == [7, 40]
    extract(texts, vectors, "text", "key", encoder)
    after = found(vectors)
    assert {item for item in after if after[item] != before.get(item)} == {7, 40}


def test_what_is_left_of_batches_gives_the_others_again(texts):
    encoder = HashEncoder(4)
    whole = list(batches(texts, "text", encoder, range(30)))
    for n in range(len(whole)):
        left = sorted(item for batch in whole[n:] for item in batch)
        assert list(batches(texts, "text", encoder, left)) == whole[n:]


def test_a_broken_image_is_a_problem_of_its_own_and_is_not_tried_again(media, vectors):
    broken = picture(2, "JPEG", (200, 200))[:-3000]
    media.put([Entry("image", item, broken if item == 2 else picture(item)) for item in range(5)])
    encoder = HashEncoder(4, "image")
    assert extract(media, vectors, "image", "key", encoder) == 5
    assert [r.problem.reason for r in vectors.records("image", "key") if r.vector is None] == [BROKEN]
    assert found(vectors, "image")[2] is None and len(found(vectors, "image")) == 5
    assert extract(media, vectors, "image", "key", encoder) == 0
    media.put([Entry("image", 2, picture(9))])
    assert extract(media, vectors, "image", "key", encoder) == 1
    assert found(vectors, "image")[2] is not None


def test_numbers_that_are_none_are_a_problem(texts, vectors):
    class Half(HashEncoder):
        def encode(self, prepared):
            vectors = super().encode(prepared)
            vectors[0, 3] = np.inf
            return vectors

    extract(texts, vectors, "text", "key", Half(4))
    problems = [r.problem.reason for r in vectors.records("text", "key") if r.vector is None]
    assert set(problems) == {NOT_FINITE} and len(problems) == len(
        list(batches(texts, "text", Half(4), range(30)))
    )


def test_an_error_in_the_middle_keeps_what_was_committed(texts, vectors):
    class Fails(HashEncoder):
        def encode(self, prepared):
            if len(self.batches) == 3:
                raise MemoryError
            return super().encode(prepared)

    with pytest.raises(MemoryError):
        extract(texts, vectors, "text", "key", Fails(4))
    assert len(found(vectors)) == 10  # 4, 4 and the other 2 of that size
    assert extract(texts, vectors, "text", "key", HashEncoder(4)) == 20


@pytest.fixture
def folder(tmp_path):
    """Of 90 items, all with texts, 60 with images of which two are broken."""
    (tmp_path / "images").mkdir()
    for item in range(60):
        broken = picture(item, "JPEG", (200, 200))[:-3000]
        (tmp_path / "images" / f"{item}.png").write_bytes(broken if item in (20, 40) else picture(item))
    write_items(tmp_path, [(i, "", f"text {i}", f"{i}.png" if i < 60 else "") for i in range(90)])
    return tmp_path


def committed(folder):
    """What the encoder was given for each vector in the store, as its log has it."""
    key, done = {}, set()
    if not all((folder / name).is_file() for name in ("media.lmdb", "features.lmdb")):
        return done
    with MediaStore(folder, writing=True) as media, VectorStore(folder, writing=True) as vectors:
        for key in vectors.encoders():
            for kind, prepared in (("text", bytes), ("image", lambda one: decode_image(one).tobytes())):
                items = [r.item for r in vectors.records(kind, key) if r.vector is not None]
                done |= {hashlib.md5(prepared(one)).hexdigest() for _, one in media.contents(kind, items)}
    return done


def test_killed_at_any_time_it_goes_on_and_nothing_is_lost_or_repeated(folder):
    import_and_extract(folder)
    whole = content(folder)
    for path in folder.glob("*.lmdb*"):
        path.unlink()
    start_server()
    rng, log, kills, before = random.Random(0), folder / "log", 0, set()
    log.touch()
    while True:
        done = len(log.read_text().split())
        process = SERVER.Process(target=in_a_process, args=(folder, log, 0.005))
        process.start()
        if kills >= 4:  # the first ones wherever they hit, mostly the import
            _wait_for_a_batch(process, log)
        killed = kill_after(process, rng.uniform(0, 0.06))
        assert before.isdisjoint(log.read_text().split()[done:])  # nothing that was kept is encoded again
        after = committed(folder)
        assert before <= after
        before, kills = after, kills + killed
        if not killed:
            break
    assert kills >= 10
    assert content(folder) == whole
    repeated = len(log.read_text().split()) - len(set(log.read_text().split()))
    assert repeated <= 4 * kills  # of each kill at most the batch that was at work


def _wait_for_a_batch(process, log):
    size = log.stat().st_size
    while log.stat().st_size == size and process.is_alive():
        time.sleep(0.001)


def test_a_reader_sees_one_state_while_another_process_writes(folder):
    with MediaStore(folder, writing=True), VectorStore(folder, writing=True):
        pass
    start_server()
    with VectorStore(folder) as vectors, vectors.file.read() as before:
        process = SERVER.Process(target=in_a_process, args=(folder, folder / "log", 0))
        process.start()
        process.join()
        assert process.exitcode == 0
        assert not list(before.cursor(vectors.file.table("vector")))
        assert sum(len(vectors.digests(kind, *vectors.encoders())) for kind in ("text", "image")) == 150
