"""The commands `media` and `features`: texts and images of items kept, and encoded to features."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from utils.cli.words import positive
from utils.data.discovery import NAME as MODALITY_NAME
from utils.errors import UserError
from utils.media.encoders import Encoder, load_encoder, parse_name
from utils.media.exporting import MISSING, REPORT, export, mask_path, outcome_of, write_report
from utils.media.extraction import extract, pending
from utils.media.images import ImageFolders
from utils.media.importing import import_media
from utils.media.media_store import KINDS, MediaStore
from utils.media.media_store import NAME as MEDIA
from utils.media.place import TAKES, Place, find_place
from utils.media.tables import Line, read_table, read_texts
from utils.media.vector_store import NAME as FEATURES
from utils.media.vector_store import VectorStore
from utils.preparing.card import refresh_card

__all__ = ["TAKES", "add_features_arguments", "add_media_arguments", "features_command", "media_command"]

ITEMS = "items.csv"
ROWS = 64
A = {"text": "a text", "image": "an image"}


def add_media_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--dataset", required=True, metavar="DATA_SET", help="a folder of data_path")
    parser.add_argument(
        "--items", type=_path, metavar="FILE", help="table of texts and images, items.csv there if not given"
    )
    parser.add_argument(
        "--texts",
        type=_path,
        metavar="FILE",
        help="JSON list of texts, index = item id, instead of the table's",
    )
    parser.add_argument(
        "--images",
        type=_folder,
        metavar="FOLDER",
        help="where images may lie beside the data set's own folder",
    )


def add_features_arguments(parser: argparse.ArgumentParser) -> None:
    add_media_arguments(parser)
    parser.add_argument("--text", metavar="MODEL", help="encoder of texts: a folder, or a name of the hub")
    parser.add_argument("--image", metavar="MODEL", help="encoder of images, likewise")
    parser.add_argument(
        "--device", metavar="NAME", help="cpu, cuda, cuda:1; a GPU, if there is one, if not given"
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=ROWS,
        metavar="N",
        help=f"items encoded at a time, {ROWS} if not given",
    )
    parser.add_argument(
        "--output-names",
        nargs="+",
        default=[],
        metavar="KIND:NAME",
        help="modalities to write, text:text and image:image if not given",
    )
    parser.add_argument("--force", action="store_true", help="replace a feature file that was not made here")


def media_command(arguments: argparse.Namespace, overrides: Mapping[str, Any]) -> int:
    """Bring media.lmdb to what the data set's table says, and report what is missing. Raises UserError."""
    place = find_place(arguments.dataset, overrides)
    encoded = (place.folder / FEATURES).is_file()
    with (
        place.alone(),
        MediaStore(place.folder, writing=True) as media,
        VectorStore(place.folder, writing=True) if encoded else nullcontext() as vectors,
    ):
        _import(media, place, arguments)
        for kind in KINDS:
            outcome = outcome_of(media, kind, place.n_items)
            if outcome.known:
                _print(*outcome.lines(A[kind]))
        _report(place, media, vectors)
    return 0


def features_command(arguments: argparse.Namespace, overrides: Mapping[str, Any]) -> int:
    """Import what is new, encode what is new, export, and report what is missing. Raises UserError."""
    asked = {kind: name for kind in KINDS if (name := getattr(arguments, kind))}
    if not asked:
        raise UserError(
            "features needs --text MODEL, --image MODEL or both; for one "
            "--text sentence-transformers/all-MiniLM-L6-v2 --image timm/resnet50.a1_in1k"
        )
    for kind, name in asked.items():
        parse_name(kind, name)
    names = _output_names(arguments.output_names, asked)
    device = _device(arguments.device)
    place = find_place(arguments.dataset, overrides)
    files = {kind: place.folder / f"{name}_feat.npy" for kind, name in names.items()}
    with (
        place.alone(),
        MediaStore(place.folder, writing=True) as media,
        VectorStore(place.folder, writing=True) as vectors,
    ):
        if not arguments.force:
            _check_files(files.values(), vectors)
        encoders = {}  # first, since what is wrong with them shows at once, and an import may take hours
        for kind, name in asked.items():
            _print(f"{'loading':10} {kind}: {name}")
            encoders[kind] = load_encoder(kind, name, device, arguments.batch_size)
        _import(media, place, arguments)
        for kind, encoder in encoders.items():
            _check_any(media, place, kind)
            _make(place, media, vectors, kind, encoder, files[kind])
        _report(place, media, vectors)
        with place.writing():
            refresh_card(place.folder)
    return 0


def _make(
    place: Place, media: MediaStore, vectors: VectorStore, kind: str, encoder: Encoder, path: Path
) -> None:
    """Encode and export one kind."""
    width = encoder.width()
    about = {"name": encoder.name, "torch": torch.__version__}
    key = vectors.register({**encoder.identity(), "width": width}, about)
    _print(
        f"{'encoder':10} {kind}: {encoder.name} ({encoder.package}), {width} wide, on {encoder.device}; {key}"
    )
    to_do, there = len(pending(media, vectors, kind, key)), media.count(kind)
    bar = tqdm(total=there, initial=there - to_do, unit=kind, leave=False, disable=not sys.stderr.isatty())
    with bar:
        extract(media, vectors, kind, key, encoder, bar.update)
    _print(f"{'':10} {to_do:,} encoded now, {there - to_do:,} were there already")
    outcome = outcome_of(media, kind, place.n_items, vectors, key)
    _print(*outcome.lines("a vector"))
    if not outcome.present.any():
        raise UserError(
            f"no {kind} of '{place.name}' could be encoded, so {path.name} is not written; the lines above say why"
        )
    vectors.claim(path.name, kind, key)
    with place.writing():
        export(vectors, path, outcome, key, width)
    _print(f"{'written':10} {path} ({place.n_items:,} x {width} float32) and {mask_path(path).name}")


def _import(media: MediaStore, place: Place, arguments: argparse.Namespace) -> None:
    """From the table and the list of texts, so far as they are there or named."""
    table = arguments.items or place.folder / ITEMS
    lines: list[Iterator[Line]] = []
    if arguments.texts:
        lines.append(read_texts(arguments.texts, place.n_items))
    if arguments.items or table.is_file():
        rows = read_table(table, place.n_items, place.item_field)
        lines.append((row._replace(text=None) for row in rows) if arguments.texts else rows)
    if not lines:
        if any(media.count(kind) for kind in KINDS):
            media.forget(place.n_items)
            return
        raise UserError(
            f"there is no {table}, a table with {place.item_field} and text or image; `python main.py prepare` makes "
            f"it, --items FILE names another, and --texts FILE takes texts from a JSON list"
        )
    folders = ImageFolders(place.folder, arguments.images)
    with tqdm(chain(*lines), unit="line", leave=False, disable=not sys.stderr.isatty()) as bar:
        imported = import_media(media, bar, place.n_items, folders)
    met = ", ".join(f"{count:,} {kind}s" for kind, count in imported.met.items() if count)
    _print(
        f"{'media':10} {place.folder / MEDIA}: {met or 'nothing'} looked at, {imported.changed:,} new or changed"
    )


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except Exception as error:  # what torch raises depends on what it was built with
        why = " ".join(str(error).split())
        raise UserError(
            f"--device {name} cannot be used: {why:.200}; expected cpu, cuda or cuda:1"
        ) from error
    return device


def _output_names(words: Sequence[str], asked: Mapping[str, str]) -> dict[str, str]:
    """Modality to write, by kind. Raises UserError."""
    names = {kind: kind for kind in asked}
    for word in words:
        kind, _, name = word.partition(":")
        if kind not in asked or not re.fullmatch(MODALITY_NAME, name):
            expected = ", ".join(f"{kind}:NAME" for kind in asked)
            raise UserError(
                f"--output-names {word}: expected {expected}; a name has no slash and no leading dot"
            )
        names[kind] = name
    if len(set(names.values())) < len(names):
        raise UserError(f"--output-names gives texts and images one name, {names['text']}; give each its own")
    return names


def _check_files(paths: Iterable[Path], vectors: VectorStore) -> None:
    """Raises UserError for a file of features that came from elsewhere, before anything is done."""
    ours = vectors.outputs()
    for path in paths:
        if path.exists() and path.name not in ours:
            raise UserError(
                f"{path} is there and was not made by this command; --output-names KIND:NAME writes beside it, "
                f"--force replaces it"
            )


def _check_any(media: MediaStore, place: Place, kind: str) -> None:
    """Raises UserError where no item has anything of a kind."""
    if media.count(kind):
        return
    reasons = outcome_of(media, kind, place.n_items).by_reason()
    why = "; ".join(f"{len(items):,} items: {reason}" for reason, items in reasons.items())
    mend = (
        "--images FOLDER names where images may lie" if kind == "image" else "--texts FILE takes a JSON list"
    )
    raise UserError(
        f"no item of '{place.name}' has {A[kind]} ({why or f'the table has no column for {kind}s'}); {mend}"
    )


def _report(place: Place, media: MediaStore, vectors: VectorStore | None) -> None:
    """Of both kinds, whatever this command was asked for: as they were exported last, else as they were imported."""
    files = vectors.outputs() if vectors is not None else {}
    last = dict(files.values())
    outcomes = [outcome_of(media, kind, place.n_items, vectors, last.get(kind)) for kind in KINDS]
    encoders = vectors.encoders() if vectors is not None else {}
    about = {name: {"kind": kind, "key": key, **encoders[key]} for name, (kind, key) in files.items()}
    with place.writing():
        write_report(place.folder, place.name, [outcome for outcome in outcomes if outcome.known], about)
    if any(outcome.problems for outcome in outcomes):
        _print(
            f"{'lists':10} {place.folder / MISSING} has every item that lacks something, {REPORT} the counts"
        )


def _path(word: str) -> Path:
    return Path(word).expanduser()


def _folder(word: str) -> Path:
    path = _path(word)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{word} is no folder; name the one that holds the images")
    return path


def _print(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)
