"""From raw files to data folders: load, clean, split, then write each folder whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.files import fresh_folder, new_folder_beside
from utils.preparing.card import CARD, row_steps, write_card
from utils.preparing.cleaning import Counts, Rules, clean
from utils.preparing.engine import Connection, database, literal
from utils.preparing.facts import describe_interactions, describe_modalities, digest, histogram
from utils.preparing.items import ItemFacts
from utils.preparing.origins import Origin
from utils.preparing.presence import feature_files
from utils.preparing.splits import WITH_RATIO, Split, check_sizes, label, split

SHARED = ("u_id_mapping.csv", "i_id_mapping.csv", "items.csv")
"""Files that are the same for every fold."""


@dataclass(frozen=True)
class Request:
    """What is to be prepared, how, and where: `folder` is that of the data set, data_path/name."""

    origin: Origin
    folder: Path
    rules: Rules = field(default_factory=Rules)
    how: Split = field(default_factory=Split)
    fold: int | None = None
    """Of k-fold, the only one to be written, from 0; None: all."""
    force: bool = False
    memory_limit: str = "2GB"
    threads: int | None = None

    def targets(self) -> dict[Path, int | None]:
        """The folders to be written, each with its fold."""
        if self.how.name != "k-fold":
            return {self.folder: None}
        folds = range(self.how.folds) if self.fold is None else [self.fold]
        return {self.folder.with_name(f"{self.folder.name}-{fold + 1}"): fold for fold in folds}


def prepare(request: Request, say: Callable[[str], None] = print) -> list[Path]:
    """Write the data folders; returns them. Raises UserError, and then nothing was written."""
    for target in request.targets():
        check_target(target, request.force)
    for path in _left_over(request.folder):
        say(f"left over  {path}, of a command that was killed; remove it if no other prepare is at work")
    with _scratch_beside(request.folder) as scratch:
        with database(scratch, request.memory_limit, request.threads) as connection:
            counts, told = _interactions(connection, request, say)
            _write(connection, request, counts, told, say)
    return list(request.targets())


def rehearse(request: Request, say: Callable[[str], None] = print) -> None:
    """Say what `prepare` would do; cleaning and splitting are done, in a temporary folder, and nothing is kept.

    Raises UserError where `prepare` would, as far as interactions and headers tell.
    """
    for target in request.targets():
        check_target(target, request.force)
    with tempfile.TemporaryDirectory(prefix="prepare-") as scratch:
        with database(Path(scratch), request.memory_limit, request.threads) as connection:
            _, told = _interactions(connection, request, say)
            for target, fold in request.targets().items():
                facts = describe_interactions(connection, label(request.how, fold))
                _say_split(facts, request, told, target, say)
    for target in request.targets():
        files = [f"{target.name}.inter", f"{target.name}.yaml", *SHARED, CARD, "card.md", "card.svg"]
        for modality in request.origin.modalities():
            files += feature_files(modality)
        say(f"would {'replace' if target.exists() else 'write'} {target}: {', '.join(files)}")


def check_target(target: Path, force: bool) -> None:
    """Raises UserError for a folder that is there, unless it is one of ours and to be replaced."""
    if not target.exists():
        return
    if not force:
        raise UserError(
            f"{target} is there already; choose another name with -d, or replace the whole folder, features that "
            f"were extracted for it included, with --force"
        )
    if not (target / CARD).is_file() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(
            f"{target} is not of prepare's making, for it has no {CARD}; --force does not replace it: move it away"
        )


def _left_over(folder: Path) -> list[Path]:
    """Temporary folders of this data set, which only a killed command or one at work leaves."""
    name = re.compile(rf"\.{re.escape(folder.name)}(-[0-9]+)?\.[0-9a-f]{{12}}\.tmp(-old)?")
    return sorted(path for path in folder.parent.glob(".*.tmp*") if name.fullmatch(path.name))


def _interactions(
    connection: Connection, request: Request, say: Callable[[str], None]
) -> tuple[Counts, list[str]]:
    """Make `labelled`, `users` and `items`, and say what became of the rows. What there is to tell of the split."""
    for line in request.origin.open(connection):
        say(line)
    counts = request.origin.load(connection)
    clean(connection, request.rules, request.how.seed, counts)
    steps = [f"{rows:,} {step}" for step, rows in row_steps(asdict(counts), asdict(request.rules)).items()]
    say(f"rows       {', '.join(steps)}")
    if counts.time_unit != "s":
        say(f"times      in {counts.time_unit}, by their size; kept as seconds")
    told = split(connection, request.how)
    for fold in request.targets().values():
        check_sizes(_sizes(connection, label(request.how, fold)), request.how)
    return counts, told


def _write(
    connection: Connection, request: Request, counts: Counts, told: list[str], say: Callable[[str], None]
) -> None:
    _order(connection)
    with ExitStack() as stack:
        # The folders take their places when the block ends, and none does where anything in it fails.
        folders = {target: stack.enter_context(fresh_folder(target)) for target in request.targets()}
        first = next(iter(folders.values()))
        _write_maps(connection, first, request.origin.raw_item)
        item_facts = request.origin.write_items(connection, first / "items.csv")
        for line in request.origin.write_features(connection, first):
            say(line)
        modalities = describe_modalities(first, counts.items)
        shared = sorted(first.iterdir())
        for (target, folder), fold in zip(folders.items(), request.targets().values(), strict=True):
            for path in shared:
                if folder != first:
                    _link(path, folder / path.name)
            row_label = label(request.how, fold)
            facts = describe_interactions(connection, row_label)
            _write_interactions(connection, folder / f"{target.name}.inter", row_label)
            _write_yaml(folder / f"{target.name}.yaml", target.name)
            of_split = _split_facts(request.how, fold, told)
            card = _card(connection, request, counts, item_facts, modalities, facts | of_split, target, fold)
            write_card(folder, card)
            _say_split(facts, request, told, target, say)
    for target in request.targets():
        say(f"written    {target}: {', '.join(sorted(path.name for path in target.iterdir()))}")


def _order(connection: Connection) -> None:
    """`ordered` has the rows as they are written: by user, time and item. Times are whole where all are."""
    has_time, whole, has_rating = connection.execute(
        "SELECT count(time) > 0, coalesce(bool_and(time = floor(time)), false), count(rating) > 0 FROM labelled"
    ).fetchone()
    columns = ["rating"] if has_rating else []
    if has_time:
        columns.append(f"CAST(time AS {'BIGINT' if whole else 'DOUBLE'}) AS timestamp")
    connection.execute("SET preserve_insertion_order = true")
    connection.execute(
        f"CREATE OR REPLACE TABLE ordered AS SELECT {', '.join(['u', 'i', 'part', *columns])} FROM labelled "
        f"ORDER BY u, time, i"
    )


def _write_interactions(connection: Connection, path: Path, row_label: str) -> None:
    connection.execute(
        f'COPY (SELECT u AS "userID", i AS "itemID", {row_label} AS x_label, * EXCLUDE (u, i, part) FROM ordered) '
        f"TO {literal(str(path))} (FORMAT csv, DELIMITER '\t', HEADER)"
    )


def _write_maps(connection: Connection, folder: Path, raw_item: str) -> None:
    """Raw ids and ids, separated by tabs in spite of the names, as MMRec's notebooks have them."""
    for table, name, raw, column in (
        ("users", SHARED[0], "user_id", "userID"),
        ("items", SHARED[1], raw_item, "itemID"),
    ):
        connection.execute(
            f'COPY (SELECT raw AS "{raw}", id AS "{column}" FROM {table} ORDER BY id) '
            f"TO {literal(str(folder / name))} (FORMAT csv, DELIMITER '\t', HEADER)"
        )


def _write_yaml(path: Path, name: str) -> None:
    path.write_text(
        f"# For MMRec's src/configs/dataset/. This project needs none: it finds the files by their names.\n"
        f"inter_file_name: {name}.inter\n"
        "USER_ID_FIELD: userID\nITEM_ID_FIELD: itemID\ninter_splitting_label: x_label\n"
        'field_separator: "\\t"\nfilter_out_cod_start_users: True\n\n'
        "vision_feature_file: image_feat.npy\ntext_feature_file: text_feat.npy\n"
        "user_graph_dict_file: user_graph_dict.npy\n",
        encoding="utf-8",
    )


def _card(
    connection: Connection, request: Request, counts: Counts, items: ItemFacts, modalities: dict[str, Any],
    facts: dict[str, Any], target: Path, fold: int | None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "name": target.name,
        "hash": digest(connection, label(request.how, fold)),
        **facts,
        "rules": asdict(request.rules),
        "rows": asdict(counts),
        "origin": request.origin.kind,
        "sources": [{"name": path.name, "bytes": path.stat().st_size} for path in request.origin.files()],
        "item_table": asdict(items),
        "modalities": modalities,
        "degree_counts": {
            name: histogram(connection, column).tolist() for name, column in (("users", "u"), ("items", "i"))
        },
    }


def _split_facts(how: Split, fold: int | None, told: list[str]) -> dict[str, Any]:
    """All that the split can be made again from. The ratio is null where the protocol knows none."""
    return {
        "split": {
            "name": how.name,
            "seed": how.seed,
            "ratio": [float(share) for share in how.ratio]
            if how.name in WITH_RATIO and not how.cut
            else None,
            "cut": how.cut,
            "folds": how.folds if fold is not None else None,
            "fold": None if fold is None else fold + 1,
            "told": told,
        }
    }


def _say_split(
    facts: dict[str, Any], request: Request, told: list[str], target: Path, say: Callable[[str], None]
) -> None:
    sizes = ", ".join(f"{part['interactions']:,} {name}" for name, part in facts["splits"].items())
    say(
        f"data       {target.name}: {facts['users']:,} users, {facts['items']:,} items, "
        f"{facts['interactions']:,} interactions, density {100 * facts['density']:.3g} %"
    )
    found = "".join(f", {line}" for line in told)
    say(
        f"split      {request.how.name}, seed {request.how.seed}{found}: {sizes}; cold: "
        f"{facts['cold']['users']:,} users, {facts['cold']['items']:,} items"
    )


def _sizes(connection: Connection, row_label: str) -> tuple[int, ...]:
    counts = ", ".join(f"count(*) FILTER (WHERE {row_label} = {part})" for part in range(3))
    return connection.execute(f"SELECT {counts} FROM labelled").fetchone()


def _link(source: Path, target: Path) -> None:
    """The same file in another folder, without taking its room again where the disk can do that."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def _scratch_beside(folder: Path) -> Iterator[Path]:
    """A folder for the database, on the disk that is chosen for data, gone in the end."""
    scratch = new_folder_beside(folder)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
