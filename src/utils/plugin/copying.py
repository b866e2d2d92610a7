"""A model of this project in an MMRec checkout: which files it needs there, and how they get there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.config import SRC
from utils.errors import UserError
from utils.files import atomic_write

MODEL = "TMFUN"
FILES = ("models/tmfun.py", "common/graph.py", f"configs/model/{MODEL}.yaml")
"""All that the model needs and MMRec lacks; the paths are the same in both source folders."""

LANDMARKS = ("common/trainer.py", "models", "configs/model")
"""What an MMRec source folder is known by."""


@dataclass(frozen=True)
class Copy:
    """A file to bring, and what lies in its place: None where nothing does."""

    name: str
    place: Path
    content: bytes
    present: bytes | None

    @property
    def is_there(self) -> bool:
        return self.present == self.content

    @property
    def in_the_way(self) -> bool:
        return self.present is not None and not self.is_there

    def backup(self) -> Path:
        """The first free name of tmfun.py.bak, tmfun.py.bak2, ...: an older backup is never lost."""
        number, path = 1, self.place.with_name(f"{self.place.name}.bak")
        while path.exists():
            number += 1
            path = path.with_name(f"{self.place.name}.bak{number}")
        return path


def find_source(target: Path) -> Path:
    """The source folder of the MMRec checkout `target`, or `target` where it is that folder. Raises UserError."""
    if not target.is_dir():
        raise UserError(f"there is no folder {target}; name an MMRec checkout or its src/")
    for folder in (target / "src", target):
        if all((folder / name).exists() for name in LANDMARKS):
            if folder.resolve() == SRC:
                raise UserError(
                    f"{target} is this project, which has its own {MODEL}; name an MMRec checkout"
                )
            return folder
    missing = [name for name in LANDMARKS if not (target / "src" / name).exists()]
    raise UserError(
        f"{target} is no MMRec checkout: it has no src/{missing[0]}; expected src/ with {', '.join(LANDMARKS)} "
        f"(or that src/ itself)"
    )


def plan(source: Path) -> list[Copy]:
    """What is to be brought to the MMRec source folder `source`. Raises UserError for what cannot be read."""
    return [Copy(name, source / name, (SRC / name).read_bytes(), _present(source / name)) for name in FILES]


def _present(place: Path) -> bytes | None:
    try:
        return place.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(
            f"cannot read {place}: {error.strerror or error}; nothing was written, move it away or make it readable"
        ) from error


def check_conflicts(copies: Sequence[Copy], source: Path) -> None:
    """Raises UserError that lists all files in the way."""
    names = [copy.name for copy in copies if copy.in_the_way]
    if names:
        differ = "differs" if len(names) == 1 else "differ"
        raise UserError(
            f"{', '.join(names)} in {source} {differ} from the files here, so nothing was written; move them away, "
            f"or add --force, which keeps each as a .bak beside the new one"
        )


def write(copies: Sequence[Copy]) -> dict[str, Path | None]:
    """Bring what is not there yet, all or nothing; by name, the backup of what was in the way. Raises UserError."""
    todo = [(copy, copy.backup() if copy.in_the_way else None) for copy in copies if not copy.is_there]
    backups = [(backup, copy.present) for copy, backup in todo if backup is not None]
    try:
        _write_all([*((copy.place, copy.content) for copy, _ in todo), *backups])
    except OSError as error:
        where = error.filename2 or error.filename or "the target"
        raise UserError(
            f"cannot write {os.fspath(where)}: {error.strerror or error}; nothing was copied, "
            f"make the folder writable and give the command again"
        ) from error
    return {copy.name: backup for copy, backup in todo}


def _write_all(files: Sequence[tuple[Path, bytes]]) -> None:
    """Every file is on the disk under a temporary name before the last one, and then the others, take their places.

    So what can fail has failed before anything is changed.
    """
    if files:
        (path, content), *rest = files

        def fill(file) -> None:
            file.write(content)
            _write_all(rest)

        atomic_write(path, fill)
