"""From `media.lmdb` through an encoder into `features.lmdb`: what is not there yet, a batch per transaction."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from utils.media.encoders import Encoder
from utils.media.media_store import MediaStore
from utils.media.problems import NOT_FINITE, MediaError, Problem
from utils.media.vector_store import Record, VectorStore

MOST_READERS = 8  # threads that decode images
COUNTED = 4096  # contents in memory while they are measured


class Loaded(NamedTuple):
    """An item of a batch, read: what the encoder takes of it, or the problem that decoding has shown."""

    item: int
    digest: bytes
    prepared: Any
    problem: Problem | None


def pending(media: MediaStore, vectors: VectorStore, kind: str, key: str) -> list[int]:
    """Items whose content has not been encoded as it is now, by rising id."""
    done = vectors.digests(kind, key)
    return [item for item, digest in media.digests(kind).items() if done.get(item) != digest]


def extract(
    media: MediaStore,
    vectors: VectorStore,
    kind: str,
    key: str,
    encoder: Encoder,
    advance: Callable[[int], object] = lambda n: None,
) -> int:
    """Encode what is pending; killed at any time, the next call goes on with the batch that was at work.

    An image that proves to be broken is kept as a problem, with the hash of its content, so that it is not tried
    again until it changes. `advance` is told the size of each batch that is kept. Returns the number of items.
    """
    items = pending(media, vectors, kind, key)
    threads = min(MOST_READERS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as decoding, ThreadPoolExecutor(1) as ahead:

        def load(batch: Sequence[int]) -> list[Loaded]:
            read = zip(batch, media.contents(kind, batch), strict=True)
            return list(decoding.map(lambda one: _prepare(encoder, one[0], *one[1]), read))

        for loaded in _one_ahead(ahead, load, batches(media, kind, encoder, items)):
            vectors.put(kind, key, _records(encoder, loaded))
            advance(len(loaded))
    return len(items)


def batches(media: MediaStore, kind: str, encoder: Encoder, items: Sequence[int]) -> Iterator[list[int]]:
    """Items of one size each, at most `encoder.rows`: by rising size, then by rising id.

    What is left of them after some batches gives the others again, so an interruption changes no batch.
    """
    if type(encoder).sizes is Encoder.sizes:  # all of one size: nothing has to be read for it
        sizes = [0] * len(items)
    else:
        sizes = [
            size
            for start in range(0, len(items), COUNTED)
            for size in encoder.sizes([c for _, c in media.contents(kind, items[start : start + COUNTED])])
        ]
    for _, group in groupby(sorted(zip(sizes, items, strict=True)), key=lambda pair: pair[0]):
        same = [item for _, item in group]
        yield from (same[start : start + encoder.rows] for start in range(0, len(same), encoder.rows))


def _one_ahead(
    pool: ThreadPoolExecutor, load: Callable[[Sequence[int]], list[Loaded]], parts: Iterator[list[int]]
) -> Iterator[list[Loaded]]:
    """Each part loaded, the next one while this one is encoded."""
    waiting: Future[list[Loaded]] | None = None
    for part in parts:
        following = pool.submit(load, part)
        if waiting is not None:
            yield waiting.result()
        waiting = following
    if waiting is not None:
        yield waiting.result()


def _prepare(encoder: Encoder, item: int, digest: bytes, content: bytes) -> Loaded:
    try:
        return Loaded(item, digest, encoder.prepare(content), None)
    except MediaError as error:
        return Loaded(item, digest, None, error.problem)


def _records(encoder: Encoder, loaded: Sequence[Loaded]) -> list[Record]:
    good = [one for one in loaded if one.problem is None]
    records = [Record(one.item, one.digest, None, one.problem) for one in loaded if one.problem is not None]
    if good:
        made = encoder.encode([one.prepared for one in good])
        records += [_checked(one, vector) for one, vector in zip(good, made, strict=True)]
    return records


def _checked(one: Loaded, vector: np.ndarray) -> Record:
    if np.isfinite(vector).all():
        return Record(one.item, one.digest, vector)
    return Record(one.item, one.digest, None, Problem(NOT_FINITE))
