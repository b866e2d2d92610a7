"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from utils.errors import UserError


def atomic_write(path: Path, writer: Callable[[BinaryIO], object]) -> None:
    """Let `writer` fill a temporary file beside `path`, then put it in the place of `path`.

    A reader sees the old content or all of the new, also after a crash. Raises OSError.
    """
    temporary = _temporary_name(path)
    try:
        with open(temporary, "xb") as file:
            writer(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def new_folder_beside(path: Path) -> Path:
    """An empty folder on the disk of `path`, to be filled and renamed to it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = _temporary_name(path)
    folder.mkdir()
    return folder


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` once the block ends without an error. Raises OSError."""
    new = new_folder_beside(folder)
    try:
        yield new
        _sync(new)
        old = new.with_name(new.name + "-old")
        if folder.exists():
            os.rename(folder, old)
        os.rename(new, folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Have the files of a folder on the disk before its name is: a crash of the machine leaves all or nothing."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write `content` as indented JSON; NaN and infinity, which JSON lacks, become null."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    atomic_write(path, lambda file: file.write(text.encode()))


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays by name as compressed .npz."""
    atomic_write(path, lambda file: np.savez_compressed(file, **arrays))


def check_output(path: Path) -> None:
    """Raises UserError for a file that cannot be written, before anything is computed for it."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        why = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise UserError(f"cannot write {path}: {why}; name a file in a folder that is there")


def write_output(path: Path, writer: Callable[[BinaryIO], object]) -> None:
    """Write a file that the user has asked for, whole or not at all. Raises UserError."""
    try:
        atomic_write(path, writer)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; nothing was written") from error


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
