"""Image files of a data set: found without leaving the allowed folders, and decoded with care."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from utils.media.packages import need
from utils.media.problems import (
    ADDRESS,
    BROKEN,
    NO_FILE,
    NO_IMAGE,
    NOT_THERE,
    OUTSIDE,
    TOO_LARGE,
    UNREADABLE,
    MediaError,
    Problem,
)

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What is read; a file says itself what it is, so Pillow's other readers, one of which calls Ghostscript, stay shut."""
MOST_BYTES = 2**26
ADDRESSES = ("http://", "https://", "ftp://", "data:")


class Stamp(NamedTuple):
    """What tells that a file is the one that was read before: size, and times of change in nanoseconds."""

    size: int
    modified: int
    changed: int


class ImageFolders:
    """Where images may lie: the folder of the data set, and the one of `--images`; links in them lead nowhere else.

    A relative path counts from `--images`, else from `images/` in the data set's folder, else from that folder.
    """

    def __init__(self, dataset: Path, images: Path | None = None):
        self._bases: Sequence[Path] = (images,) if images is not None else (dataset / "images", dataset)
        self._allowed = [folder.resolve() for folder in (dataset, images) if folder is not None]

    def find(self, name: str) -> Path:
        """The file that `name`, from a table, stands for, without links. Raises MediaError."""
        if not name.strip():
            raise MediaError(Problem(NO_IMAGE))
        if name.lower().startswith(ADDRESSES):
            raise MediaError(Problem(ADDRESS, name))
        try:
            paths = [(base / name).resolve() for base in self._bases]
            there = [path for path in paths if os.path.lexists(path)]
        except (OSError, ValueError, RuntimeError) as error:  # a zero byte, too long a name, a ring of links
            raise MediaError(Problem(UNREADABLE, f"{name!r}: {error}")) from error
        path = (there or paths)[0]
        if not any(path.is_relative_to(folder) for folder in self._allowed):
            raise MediaError(Problem(OUTSIDE, name))
        if not there:
            raise MediaError(Problem(NOT_THERE, name))
        return path


def read_image(path: Path, known: Stamp | None = None) -> tuple[Stamp, bytes | None]:
    """Stamp and content of a file that `find` has found; no content if the stamp is `known`. Raises MediaError."""
    try:
        # The path has no link any more, so one that is there now was put there since; and a pipe would never end.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise MediaError(Problem(NO_FILE, str(path)))
            if found.st_size > MOST_BYTES:
                raise MediaError(
                    Problem(TOO_LARGE, f"{path}: {found.st_size:,} bytes, {MOST_BYTES:,} are allowed")
                )
            stamp = Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            return stamp, None if stamp == known else file.read(MOST_BYTES)
    except IsADirectoryError as error:
        raise MediaError(Problem(NO_FILE, str(path))) from error
    except OSError as error:
        raise MediaError(Problem(UNREADABLE, f"{path}: {error.strerror}")) from error


def open_image(content: bytes) -> Image:
    """An image of which only the head is read. Raises MediaError for what is none, or far too large a one."""
    pillow = need("PIL.Image")
    try:
        image = pillow.open(BytesIO(content), formats=FORMATS)
    except pillow.DecompressionBombError as error:
        raise MediaError(Problem(TOO_LARGE, str(error))) from error
    except Exception as error:  # Pillow raises what its many readers raise
        what = "empty file" if not content else _what(error)
        raise MediaError(Problem(BROKEN, what)) from error
    # Pillow only warns of an image between its limit and twice that.
    if pillow.MAX_IMAGE_PIXELS and image.width * image.height > pillow.MAX_IMAGE_PIXELS:
        size = f"{image.width} x {image.height} pixels, {pillow.MAX_IMAGE_PIXELS:,} are allowed"
        raise MediaError(Problem(TOO_LARGE, size))
    return image


def decode_image(content: bytes) -> Image:
    """The first frame in RGB, what is transparent on white. Raises MediaError for a broken image."""
    image = open_image(content)
    try:
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            over = image.convert("RGBA")
            image = need("PIL.Image").new("RGBA", over.size, "white")
            image.alpha_composite(over)
        return image.convert("RGB")
    except MediaError:
        raise
    except Exception as error:
        raise MediaError(Problem(BROKEN, _what(error))) from error


def _what(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return f"no {', '.join(FORMATS)}"
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
