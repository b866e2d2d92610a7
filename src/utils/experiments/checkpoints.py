"""Checkpoints of a training: a file per kept epoch, its checksum behind it, the last two of them."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from utils.errors import StorageError
from utils.files import atomic_write

KEPT = 2
DIGEST_SIZE = hashlib.sha256().digest_size
BLOCK = 2**20


class CheckpointFolder:
    """Checkpoints named by their epochs; a damaged one is passed over for the one before, and `tell` told of it."""

    def __init__(self, folder: Path, tell: Callable[[str], None]):
        self.folder, self._tell = folder, tell

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the checkpoint of an epoch, then remove all but the last two. Raises StorageError.

        `state` holds tensors and plain values, for nothing else is read again.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic_write(self.folder / f"checkpoint-{epoch}.pt", lambda file: _write(file, state))
            for path in self._paths()[KEPT:]:
                path.unlink(missing_ok=True)
        except (
            OSError,
            RuntimeError,
        ) as error:  # torch's writer turns what the disk says into a RuntimeError
            cause = next((e for e in (error, error.__context__) if isinstance(e, OSError)), None)
            if cause is None:
                raise
            raise StorageError(
                f"cannot write a checkpoint to {self.folder}: {cause.strerror or cause}; free space there and run "
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


def _epoch(path: Path) -> int:
    return int(path.stem.removeprefix("checkpoint-"))


class _Hashed:
    """A file that is written to, and the hash of what was."""

    def __init__(self, file: BinaryIO):
        self._file, self.digest = file, hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()


def _write(file: BinaryIO, state: dict[str, Any]) -> None:
    hashed = _Hashed(file)
    torch.save(state, hashed)
    file.write(hashed.digest.digest())


def _read(path: Path) -> dict[str, Any]:
    """Raises OSError, or ValueError for a file that is not as it was written."""
    size = path.stat().st_size - DIGEST_SIZE
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for start in range(0, size, BLOCK):
            digest.update(file.read(min(BLOCK, size - start)))
        if digest.digest() != file.read():
            raise ValueError("its checksum is wrong, as of a file half written or damaged")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"it cannot be read ({' '.join(str(error).split())[:80]})") from error
