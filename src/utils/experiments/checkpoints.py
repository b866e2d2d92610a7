"""Checkpoints of a training: a file per kept epoch, its checksum in front, the last two of them."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from utils.errors import StorageError
from utils.files import atomic_write

MAGIC = b"checkpoint 1\n"
DIGEST_SIZE = 32
KEPT = 2


class CheckpointFolder:
    """Checkpoints named by their epochs; a damaged one is passed over for the one before, and `tell` told of it."""

    def __init__(self, folder: Path, tell: Callable[[str], None]):
        self.folder, self._tell = folder, tell

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the checkpoint of an epoch, then remove all but the last two. Raises StorageError.

        `state` holds tensors and plain values, for nothing else is read again.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getbuffer()
        digest = hashlib.blake2b(content, digest_size=DIGEST_SIZE).digest()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic_write(self._path(epoch), lambda file: file.writelines([MAGIC, digest, content]))
            for path in self._paths()[KEPT:]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot write a checkpoint to {self.folder}: {error.strerror or error}; free space there and run "
                f"the same command again, it goes on after the last checkpoint"
            ) from error

    def load(self) -> dict[str, Any] | None:
        """The newest state that is whole; None where there is none."""
        for path in self._paths():
            try:
                state = _read(path)
            except (OSError, ValueError) as error:
                self._tell(f"warning: {path.name} is not used: {error}")
            else:
                self._tell(f"goes on after epoch {_epoch(path)}")
                return state
        return None

    def _paths(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("checkpoint-[0-9]*.pt"), key=_epoch, reverse=True)

    def _path(self, epoch: int) -> Path:
        return self.folder / f"checkpoint-{epoch}.pt"


def _epoch(path: Path) -> int:
    return int(path.stem.removeprefix("checkpoint-"))


def _read(path: Path) -> dict[str, Any]:
    """Raises OSError, or ValueError for a file that is not as it was written."""
    content = path.read_bytes()
    start = len(MAGIC) + DIGEST_SIZE
    if not content.startswith(MAGIC):
        raise ValueError("it is no checkpoint of this version")
    payload = memoryview(content)[start:]
    if hashlib.blake2b(payload, digest_size=DIGEST_SIZE).digest() != content[len(MAGIC) : start]:
        raise ValueError("its checksum is wrong, as of a file half written or damaged")
    try:
        return torch.load(io.BytesIO(payload), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"it cannot be read ({' '.join(str(error).split())[:80]})") from error
