"""The command `prepare`: a data set from Amazon's files or from a table of the user's."""

from __future__ import annotations

import argparse
import json
import math
import re
import shlex
from collections.abc import Mapping
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

from utils.cli.words import positive
from utils.config import PROJECT, SRC
from utils.config.settings import FRAMEWORK, read_value
from utils.config.yaml_reader import read_mapping
from utils.errors import UserError, did_you_mean
from utils.preparing.card import CARD
from utils.preparing.cleaning import DUPLICATES, Columns, Rules
from utils.preparing.items import ItemColumns
from utils.preparing.origins import AmazonOrigin, Origin, TableOrigin
from utils.preparing.pipeline import Request, prepare, rehearse
from utils.preparing.splits import PROTOCOLS, WITH_RATIO, Split

TAKES = ("data_path", "threads")
"""The settings that the command takes."""

KINDS = ("amazon", "table")
OF = {
    "amazon": ("reviews", "meta", "image_features"),
    "table": (
        "interactions", "user_col", "item_col", "rating_col", "time_col", "items", "item_id_col", "title_col",
        "text_cols", "image_col", "image_dir", "separator", "features",
    ),
}  # fmt: skip
AMAZON_CORE = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    # fmt: off
    add("kind", choices=KINDS, metavar="amazon|table", help="Amazon's files of 2014, or a table of yours")
    add("-d", "--dataset", required=True, metavar="NAME", help="name of the data set, a folder in data_path")
    add("--reviews", type=Path, metavar="FILE", help="amazon: reviews_X_5.json.gz, or all reviews_X.json.gz")
    add("--meta", type=Path, metavar="FILE", help="amazon: meta_X.json.gz, for titles, texts and addresses of images")
    add("--image-features", type=Path, metavar="FILE", help="amazon: image_features_X.b, 4096 numbers per item")
    add("--interactions", type=Path, metavar="FILE", help="table: .csv, .tsv or .parquet with a header, also .gz")
    add("--user-col", metavar="NAME", help="its column of user ids, any text")
    add("--item-col", metavar="NAME", help="its column of item ids")
    add("--rating-col", metavar="NAME", help="its column of ratings, numbers")
    add("--time-col", metavar="NAME", help="its column of times: seconds (or ms) since 1970, or dates in UTC")
    add("--items", type=Path, metavar="FILE", help="a table of the items")
    add("--item-id-col", metavar="NAME", help="its column of item ids, if not called as --item-col")
    add("--title-col", metavar="NAME", help="its column of titles")
    add("--text-cols", nargs="+", metavar="NAME", help="its columns that make the text, in this order")
    add("--image-col", metavar="NAME", help="its column of images: paths from the table's folder, or addresses")
    add("--image-dir", type=Path, metavar="FOLDER", help="folder that those paths count from; without them, of files "
        "named after item ids, such as 42.jpg")
    add("--features", nargs="*", metavar="NAME=FILE", help="features that are there already, .npy with a row per line "
        "of --items, or per item id where ids are whole numbers from 0; by the name of their modality")
    add("--separator", metavar="TEXT", help="between columns, if not as the file's ending says")
    add("--k-core", type=_natural, metavar="N", help=f"keep users and items with N interactions or more; {AMAZON_CORE} "
        "for amazon, 0 (all) for a table")
    add("--min-rating", type=_number, metavar="R", help="leave out ratings below R")
    add("--duplicates", choices=DUPLICATES, default="first", metavar="WHICH",
        help="of several rows of a user and an item keep the first or the last by time, or call it an error")
    add("--split", default="mmrec", metavar="NAME", help=f"{', '.join(PROTOCOLS)}; mmrec if not given")
    add("--seed", type=_natural, default=999, metavar="N", help="seed of what is random in it, 999 if not given")
    add("--ratio", nargs=3, metavar=("A", "B", "C"), help="shares of training, validation, test; .8 .1 .1 if not given")
    add("--cut", nargs="+", metavar="WHEN", help="global-time: from when on is validation, and test: dates, seconds, "
        "or shares of the interactions below 1; of one alone the second half is the test")
    add("--folds", type=positive, metavar="N", help="k-fold: how many, 5 if not given; writes NAME-1 to NAME-N")
    add("--fold", type=positive, metavar="J", help="k-fold: write NAME-J alone")
    add("--memory-limit", type=_memory, default="2GB", metavar="SIZE", help="memory for tables, 2GB if not given; the "
        "rest goes to the disk")
    add("--force", action="store_true", help="replace a folder that prepare made, all that is in it")
    add("--dry-run", action="store_true", help="say what would be done, and write nothing")
    # fmt: on


def run(arguments: argparse.Namespace, overrides: Mapping[str, Any]) -> int:
    """Prepare, and say what was done and what to do next. Raises UserError; nothing is written then."""
    request = read_request(arguments, overrides)
    if arguments.dry_run:
        rehearse(request)
        return 0
    try:
        targets = prepare(request)
    except BrokenPipeError:  # of whoever read what is said, no matter of the disk
        raise
    except OSError as error:
        place = error.filename or request.folder.parent
        raise UserError(f"cannot write {place}: {error.strerror or error}; nothing was written") from error
    where = f" data_path={shlex.quote(str(overrides['data_path']))}" if "data_path" in overrides else ""
    print(f"card       {targets[0] / 'card.md'}")
    for number, step in enumerate(_next_steps(request.origin, targets)):
        print(f"{'' if number else 'next':10} python main.py {step}{where}")
    return 0


def _next_steps(origin: Origin, targets: list[Path]) -> list[str]:
    """Commands that lead on from these folders: features where there is something to encode, check, a training."""
    names = " ".join(target.name for target in targets)
    card = json.loads((targets[0] / CARD).read_text(encoding="utf-8"))
    options = _to_encode(origin, card)
    model = "TMFUN" if options or card["modalities"] else "LightGCN"
    encode = [f"features -d {target.name} {options}" for target in targets] if options else []
    return [*encode, f"check -d {names}", f"-m {model} -d {names}"]


def _to_encode(origin: Origin, card: Mapping[str, Any]) -> str:
    """Options of the command `features` for what `items.csv` has and no features are there of."""
    has, options = card["item_table"], []
    if has["texts"] and "text" not in card["modalities"]:
        options.append("--text MODEL")
    if has["images"] > has["addresses"] and "image" not in card["modalities"]:
        options.append(f"--image MODEL --images {shlex.quote(str(origin.image_base.absolute()))}")
    return " ".join(options)


def read_request(arguments: argparse.Namespace, overrides: Mapping[str, Any]) -> Request:
    """Raises UserError for options that are missing, do not go together or make no sense."""
    _check_kind(arguments)
    features, settings = _features(arguments.features, overrides)
    places = _places(settings)
    default = AMAZON_CORE if arguments.kind == "amazon" else 0
    rules = Rules(
        k_core=default if arguments.k_core is None else arguments.k_core,
        min_rating=arguments.min_rating,
        duplicates=arguments.duplicates,
    )
    if rules.min_rating is not None and arguments.kind == "table" and not arguments.rating_col:
        raise UserError("--min-rating needs ratings; name their column with --rating-col")
    how = _split(arguments)
    fold = None if arguments.fold is None else arguments.fold - 1
    folder = places["data_path"] / _name(arguments.dataset)
    return Request(
        _origin(arguments, features),
        folder,
        rules,
        how,
        fold,
        arguments.force,
        arguments.memory_limit,
        places["threads"],
    )


def _check_kind(arguments: argparse.Namespace) -> None:
    other = KINDS[1 - KINDS.index(arguments.kind)]
    for name in OF[other]:
        if getattr(arguments, name) is not None:
            raise UserError(
                f"{_option(name)} belongs to `prepare {other}`, not to `prepare {arguments.kind}`"
            )
    needed = {"amazon": ("reviews",), "table": ("interactions", "user_col", "item_col")}[arguments.kind]
    missing = [_option(name) for name in needed if getattr(arguments, name) is None]
    if missing:
        raise UserError(f"prepare {arguments.kind} needs {' and '.join(missing)}; --help tells what each is")


def _origin(arguments: argparse.Namespace, features: Mapping[str, Path]) -> Origin:
    if arguments.kind == "amazon":
        files = (arguments.reviews, arguments.meta, arguments.image_features)
        return AmazonOrigin(*(file and file.expanduser() for file in files))
    of_items = ("item_id_col", "title_col", "text_cols", "image_col")
    given = [_option(name) for name in of_items if getattr(arguments, name) is not None]
    if given and not arguments.items:
        raise UserError(f"{given[0]} is a column of the table of items; name that with --items")
    columns = Columns(arguments.user_col, arguments.item_col, arguments.rating_col, arguments.time_col)
    item_columns = ItemColumns(
        arguments.item_id_col or arguments.item_col,
        arguments.title_col,
        tuple(arguments.text_cols or ()),
        arguments.image_col,
    )
    paths = (arguments.interactions, arguments.items, arguments.image_dir)
    interactions, items, image_dir = (path and path.expanduser() for path in paths)
    return TableOrigin(
        interactions, columns, items, item_columns if items else None, image_dir, arguments.separator,
        features,
    )  # fmt: skip


def _features(
    words: list[str] | None, overrides: Mapping[str, Any]
) -> tuple[dict[str, Path], dict[str, Any]]:
    """Files by modality, and the settings that are left.

    The command line takes each word NAME=FILE for a setting, wherever it stands; with --features those that are none
    of the command's are files. Raises UserError.
    """
    if words is None:
        return {}, dict(overrides)
    given = [(name, str(path or "")) for name, path in overrides.items() if name not in TAKES]
    given += [(name, path) for name, _, path in (word.partition("=") for word in words)]
    for name, path in given:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or not path:
            raise UserError(f"--features {name}={path}: expected NAME=FILE, such as text=embeddings.npy")
    if not given:
        raise UserError("--features needs NAME=FILE, such as text=embeddings.npy")
    settings = {name: value for name, value in overrides.items() if name in TAKES}
    return {name: Path(path).expanduser() for name, path in given}, settings


def _split(arguments: argparse.Namespace) -> Split:
    name = arguments.split
    if name not in PROTOCOLS:
        raise UserError(
            f"--split {name} is unknown; it is one of {', '.join(PROTOCOLS)}{did_you_mean(name, PROTOCOLS)}"
        )
    belongs = {"folds": ("k-fold",), "fold": ("k-fold",), "cut": ("global-time",)}
    belongs["ratio"] = WITH_RATIO
    for option, names in belongs.items():
        if getattr(arguments, option) is not None and name not in names:
            raise UserError(f"--{option} has no effect on --split {name}; it belongs to {', '.join(names)}")
    if arguments.ratio and arguments.cut:
        raise UserError("--ratio and --cut both say where to cut; keep one")
    folds = arguments.folds or 5
    if folds < 3:
        raise UserError(f"--folds {folds}: expected at least 3, one each for validation, test and training")
    if arguments.fold and arguments.fold > folds:
        raise UserError(f"--fold {arguments.fold}: there are {folds} folds; expected one from 1 to {folds}")
    cut, is_time = read_cut(arguments.cut) if arguments.cut else (None, False)
    ratio = read_ratio(arguments.ratio or (".8", ".1", ".1"))
    return Split(name, arguments.seed, ratio, cut, is_time, folds)


def read_ratio(words: tuple[str, ...] | list[str]) -> tuple[Fraction, Fraction, Fraction]:
    """Three shares that make 1, or three numbers such as 8 1 1. Raises UserError.

    >>> read_ratio(["8", "1", "1"])
    (Fraction(4, 5), Fraction(1, 10), Fraction(1, 10))
    """
    try:
        shares = [Fraction(word) for word in words]
    except (ValueError, ZeroDivisionError):
        shares = []
    if len(shares) != 3 or any(share <= 0 for share in shares):
        raise UserError(
            f"--ratio {' '.join(words)}: expected three numbers above 0, such as .8 .1 .1 or 8 1 1"
        )
    return tuple(share / sum(shares) for share in shares)


def read_cut(words: list[str]) -> tuple[tuple[float, ...], bool]:
    """One or two cuts, and whether they are moments (seconds since 1970) rather than shares. Raises UserError.

    >>> read_cut(["2014-01-01", "2014-02-01"])
    ((1388534400.0, 1391212800.0), True)
    >>> read_cut([".8", ".9"])
    ((0.8, 0.9), False)
    """
    cuts = [_moment(word) for word in words]
    expected = (
        "expected one or two dates (2014-05-01), seconds since 1970, or shares between 0 and 1, in order"
    )
    if len(cuts) > 2 or None in cuts or cuts != sorted(cuts):
        raise UserError(f"--cut {' '.join(words)}: {expected}")
    shares = [0 < cut < 1 for cut in cuts]
    if any(shares) != all(shares) or len(set(cuts)) < len(cuts):
        raise UserError(f"--cut {' '.join(words)}: {expected}")
    return tuple(cuts), not shares[0]


def _moment(word: str) -> float | None:
    try:
        return float(word) if math.isfinite(float(word)) else None
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(word.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _places(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """data_path as a folder, and threads. Raises UserError for other settings."""
    for name in overrides:
        if name not in TAKES:
            raise UserError(
                f"'{name}' has no effect on prepare (command line); it takes {', '.join(TAKES)}"
                f"{did_you_mean(name, TAKES)}"
            )
    given = {name: read_value(FRAMEWORK[name], value, "command line") for name, value in overrides.items()}
    if "data_path" in given:
        data = Path.cwd() / Path(given["data_path"]).expanduser()
    else:
        data = PROJECT / read_mapping(SRC / "configs" / "overall.yaml", "overall.yaml")["data_path"]
    return {"data_path": data, "threads": given.get("threads")}


def _name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise UserError(
            f"-d {name}: expected a name of letters, digits, '_', '.' and '-', which becomes a folder's"
        )
    if name == "demo":
        raise UserError("-d demo: that name is taken by the embedded data set; choose another")
    return name


def _memory(text: str) -> str:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)? ?[KMGT]i?B", text, re.IGNORECASE):
        raise argparse.ArgumentTypeError(f"'{text}' is no size such as 500MB or 4GB")
    return text


def _natural(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 0")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"'{text}' is no number")
    return number


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
