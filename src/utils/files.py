"""Files that are whole or not there: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


def atomic_write(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Create or replace `path` by what `write` puts into an open binary file; nothing remains of a failure.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_json(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=1, allow_nan=True) + "\n"
    atomic_write(path, lambda file: file.write(text.encode()))


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    atomic_write(path, lambda file: np.savez_compressed(file, **arrays))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
