"""A data set as the commands `media` and `features` see it: its folder, which one process at a time may write."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from utils.config import Config
from utils.data.split_cache import read_splits
from utils.errors import StorageError, UserError, did_you_mean

TAKES = (
    "data_path",
    "inter_file_name",
    "field_separator",
    "USER_ID_FIELD",
    "ITEM_ID_FIELD",
    "inter_splitting_label",
    "cache_path",
)
"""The settings that the commands take."""

LOCK = ".media.lock"


@dataclass(frozen=True)
class Place:
    """The folder of a data set, how many items it has, and what its tables call them."""

    name: str
    folder: Path
    n_items: int
    item_field: str

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Raises UserError where another process works on the media of the data set; a killed one does not count."""
        try:
            with FileLock(self.folder / LOCK, timeout=0):
                yield
        except Timeout as error:
            raise UserError(
                f"another command works on the media of '{self.name}' in {self.folder}; wait for it, and what it has "
                f"made will not be made again"
            ) from error
        except PermissionError as error:
            raise UserError(
                f"cannot write in {self.folder}: {error.strerror}; copy the data set to a folder that can be written, "
                f"and name it by data_path=..."
            ) from error

    @contextmanager
    def writing(self) -> Iterator[None]:
        """What the operating system says against writing, as a StorageError."""
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"cannot write in {self.folder}: {error.strerror or error}; the vectors are kept, and the same command "
                f"goes on from there"
            ) from error


def find_place(name: str, overrides: Mapping[str, Any]) -> Place:
    """The data set, whose interactions say how many items it has. Raises UserError."""
    for setting in overrides:
        if setting not in TAKES:
            raise UserError(
                f"{setting} has no effect here, where only {', '.join(TAKES)} are taken; leave it out"
                f"{did_you_mean(setting, TAKES)}"
            )
    config = Config("BPR", name, overrides, "command line")  # of all models the one that asks for nothing
    folder = config.path("data_path").resolve() / name
    path = folder / config["inter_file_name"]
    if not path.is_file():
        raise UserError(
            f"data set '{name}' has no interactions at {path}, which say how many items it has; "
            f"`python main.py prepare` makes them, and data_path=... points to data elsewhere"
        )
    fields = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"], config["inter_splitting_label"]
    log = logging.getLogger("benchmark")
    table = read_splits(path, fields, config["field_separator"], config.path("cache_path"), log.warning)
    return Place(name, folder, int(table.pairs[1].max()) + 1, config["ITEM_ID_FIELD"])
