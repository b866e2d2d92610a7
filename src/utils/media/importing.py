"""From the lines of a table into `media.lmdb`: what is new or has changed, and why an item has nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from utils.media.images import ImageFolders, open_image, read_image
from utils.media.media_store import KINDS, Entry, MediaStore, Origin
from utils.media.problems import NO_LINE, NO_TEXT, NOT_THERE, MediaError, Problem
from utils.media.tables import Line

BATCH_ITEMS, BATCH_BYTES = 512, 2**25
"""What a transaction takes at most, or one item: each waits for the disk once."""


@dataclass
class Imported:
    """How many entries of each kind an import met, and how many of them were new or changed."""

    met: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    changed: int = 0


def import_media(store: MediaStore, lines: Iterable[Line], n_items: int, folders: ImageFolders) -> Imported:
    """Bring the store to what the lines say; killed at any time, the next call does the rest.

    A kind, texts or images, that the lines say nothing about stays as it is. An image file whose size and times
    are those of the last time is not read again, and one that is gone since is kept as it was read. Raises
    UserError.
    """
    found, origins = Imported(), store.origins()
    seen = {kind: bytearray(n_items) for kind in KINDS}

    def entries() -> Iterator[Entry]:
        for line in lines:
            for kind, entry in _entries(line, folders, origins.get(line.item)):
                seen[kind][line.item] = True
                found.met[kind] += 1
                if entry is not None:
                    yield entry
        for kind in KINDS:
            if found.met[kind]:
                absent = (item for item in range(n_items) if not seen[kind][item])
                yield from (Entry(kind, item, None, Problem(NO_LINE)) for item in absent)

    for batch in _batches(entries()):
        found.changed += store.put(batch)
    store.forget(n_items)
    return found


def _entries(line: Line, folders: ImageFolders, origin: Origin | None) -> Iterator[tuple[str, Entry | None]]:
    """By the kinds that the line says something about; None for what the store has already."""
    if line.text is not None:
        text = line.text.strip()
        content = text.encode("utf-8", "replace") if text else None
        yield "text", Entry("text", line.item, content, None if text else Problem(NO_TEXT))
    if line.image is not None:
        yield "image", _image_entry(line.item, line.image.strip(), folders, origin)


def _image_entry(item: int, name: str, folders: ImageFolders, origin: Origin | None) -> Entry | None:
    known = origin.stamp if origin is not None and origin.name == name else None
    try:
        stamp, content = read_image(folders.find(name), known)
        if content is None:
            return None
        open_image(content)
        return Entry("image", item, content, origin=Origin(name, stamp))
    except MediaError as error:
        if known is not None and error.problem.reason == NOT_THERE:
            return None
        return Entry("image", item, None, error.problem)


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Entries of a transaction each."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += len(entry.content or b"")
        if len(batch) == BATCH_ITEMS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
