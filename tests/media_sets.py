"""Stand-ins that the tests of texts, images and their features are built from: an encoder, images, a data set."""

from __future__ import annotations

import hashlib
import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils.media.encoders import Encoder
from utils.media.images import ImageFolders, decode_image
from utils.media.media_store import MediaStore
from utils.media.tables import read_table
from utils.media.vector_store import VectorStore

WIDTH = 8


class HashEncoder(Encoder):
    """Vectors drawn by the hash of the content. `log`, a file, gets a line for each item that is encoded."""

    package = "toys"

    def __init__(
        self, rows: int = 4, kind: str = "text", seed: int = 0, log: Path | None = None, pause: float = 0
    ):
        super().__init__("hash", torch.device("cpu"), rows)
        self.kind, self.seed, self.log, self.pause = kind, seed, log, pause
        self.batches: list[list[Any]] = []

    def identity(self) -> dict[str, Any]:
        return {"package": self.package, "seed": self.seed}

    def prepare(self, content: bytes) -> bytes:
        return decode_image(content).tobytes() if self.kind == "image" else content

    def sizes(self, contents: list[bytes]) -> list[int]:
        return [len(content) % 3 for content in contents]

    def example(self) -> bytes:
        return picture(0) if self.kind == "image" else b"an item"

    def encode(self, prepared: list[bytes]) -> np.ndarray:
        self.batches.append(list(prepared))
        time.sleep(self.pause)
        vectors = super().encode(prepared)
        if self.log is not None:
            lines = "".join(hashlib.md5(one).hexdigest() + "\n" for one in prepared)
            with open(self.log, "ab", buffering=0) as file:
                file.write(lines.encode())
        return vectors

    def _encode(self, prepared: list[bytes]) -> Tensor:
        assert len(prepared) == self.rows
        seeds = [int.from_bytes(hashlib.md5(one).digest()[:4], "big") ^ self.seed for one in prepared]
        return torch.from_numpy(
            np.stack([np.random.default_rng(seed).standard_normal(WIDTH) for seed in seeds])
        )


def picture(seed: int, form: str = "PNG", size: tuple[int, int] = (24, 20), mode: str = "RGB") -> bytes:
    """The bytes of an image of noise."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    pixels = rng.integers(256, size=(size[1], size[0], 4), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form)
    return file.getvalue()


def write_items(folder: Path, rows: list[tuple[Any, ...]], name: str = "items.csv") -> Path:
    """A table as `prepare` writes it, of rows (item, title, text, image)."""
    import csv

    with open(folder / name, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["itemID", "rawID", "title", "text", "image"])
        writer.writerows((item, f"raw{item}", *rest) for item, *rest in rows)
    return folder / name


def write_interactions(folder: Path, n_users: int, n_items: int, seed: int = 0) -> None:
    """`<folder>.inter`, in which every user has eight items and the last item has one interaction."""
    rng = np.random.default_rng(seed)
    lines = ["userID\titemID\tx_label"]
    for user in range(n_users):
        items = rng.choice(n_items, size=8, replace=False)
        lines += [f"{user}\t{item}\t{label}" for item, label in zip(items, [0] * 6 + [1, 2], strict=True)]
    text = "\n".join([*lines, f"{n_users}\t{n_items - 1}\t0"]) + "\n"
    (folder / f"{folder.name}.inter").write_text(text)


def import_and_extract(folder: Path, log: Path | None = None, pause: float = 0) -> None:
    """What `features` does with texts and images, through a HashEncoder; both steps in small transactions."""
    from utils.media import importing
    from utils.media.extraction import extract

    importing.BATCH_ITEMS = 8
    torch.set_num_threads(1)
    n_items = sum(1 for _ in open(folder / "items.csv")) - 1
    with MediaStore(folder, True) as media, VectorStore(folder, True) as vectors:
        importing.import_media(
            media, read_table(folder / "items.csv", n_items, "itemID"), n_items, ImageFolders(folder)
        )
        for kind in ("text", "image"):
            encoder = HashEncoder(4, kind, log=log, pause=pause)
            extract(media, vectors, kind, vectors.register(encoder.identity(), {}), encoder)


def in_a_process(folder: Path, log: Path, pause: float) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    import_and_extract(folder, log, pause)


def content(folder: Path) -> dict[str, Any]:
    """All that both stores hold, as bytes."""
    found: dict[str, Any] = {}
    with MediaStore(folder) as media, VectorStore(folder) as vectors:
        for file in (media.file, vectors.file):
            with file.read() as transaction:
                for name in file.names():
                    cursor = transaction.cursor(file.table(name))
                    found[f"{file.path.name} {name}"] = {bytes(key): bytes(value) for key, value in cursor}
    return found
