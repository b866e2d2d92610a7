"""kNN graphs that come with a data set: the file, its values, whether it fits the features and the items."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np

from utils.checking.features import Features, report_order
from utils.checking.findings import Findings, counted, rows_of
from utils.checking.order import NEIGHBOURS, nearest, sample_items
from utils.checking.sniffing import advice, kind_of
from utils.checking.table import Rows
from utils.data.knn_files import EXPECTED, KEYS, read_knn
from utils.errors import UserError

TOLERANCE = 1e-3  # of a cosine in half precision
SELF_SHARE = 0.05  # of the rows without themselves: above, the graph was made in another way
STALE = 0.5  # of the neighbours that features give; surrogates in float16 keep more
ARRAYS = "an .npz with neighbours (items, k) int32 and cosine (items, k) float32"
COMPARED = 200  # items


def check_graph(path: Path, k: int, rows: Rows | None, features: Features | None, findings: Findings) -> None:
    """Of a file that is there."""
    if not _is_small_npz(path, rows, k, findings):
        return
    n_items = rows.n_items if rows is not None else None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            neighbours, cosine = (np.asarray(arrays[key]) for key in KEYS)
        read_knn(path, n_items if n_items is not None else len(neighbours), k)
    except UserError as error:
        findings.refusal(path.name, error, path)
        return
    except Exception as error:  # noqa: BLE001  (zip, zlib and numpy have a dozen kinds for a damaged file)
        findings.error(path.name, f"cannot be read: {error}", f"build it anew; {EXPECTED}")
        return
    _check_values(path.name, neighbours, cosine, findings)
    others = np.where(neighbours == np.arange(len(neighbours))[:, None], -1, neighbours)
    if features is not None and len(features.usable) == len(neighbours):
        _compare(path.name, others, features, findings)
    if rows is not None and rows.of(0).any() and k > 1:
        sample = sample_items((others >= 0).any(1), np.random.default_rng(0))
        if len(sample) >= 20:
            report_order(path.name, sample, others[sample], rows, findings)


def _is_small_npz(path: Path, rows: Rows | None, k: int, findings: Findings) -> bool:
    """By the headers inside: nothing is unpacked before its type and size are known to be right."""
    kind = kind_of(path)
    if kind is None or "zip" not in kind or not zipfile.is_zipfile(path):
        what, fix = "no .npz file, or truncated", f"copy it again; {EXPECTED}"
        if kind and "zip" not in kind:
            what, fix = f"it is {kind}", advice(kind, ARRAYS)
        findings.error(path.name, what, fix)
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            shapes = {key: _member(archive, key) for key in KEYS}
    except KeyError as error:
        findings.error(path.name, f"{error.args[0]}", EXPECTED)
        return False
    except Exception as error:  # noqa: BLE001  (as above)
        findings.error(path.name, f"cannot be read: {error}", f"build it anew; {EXPECTED}")
        return False
    for key, (shape, dtype) in shapes.items():
        if dtype.hasobject:
            findings.error(path.name, f"{key} holds pickled Python objects, which are never loaded", EXPECTED)
            return False
        if len(shape) != 2 or (rows is not None and shape[0] != rows.n_items):
            wanted = (
                f", {counted(rows.n_items, 'row')} expected, one for each item" if rows is not None else ""
            )
            findings.error(
                path.name, f"{key} has shape {shape}{wanted}", f"build it anew for these items; {EXPECTED}"
            )
            return False
        if shape[1] != k:
            what = f"{key} has {shape[1]} columns, and its name says {k}"
            findings.error(path.name, what, "rename it, or build it anew")
            return False
    return True


def _member(archive: zipfile.ZipFile, key: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array, of which only the header is unpacked."""
    name = f"{key}.npy"
    if name not in archive.namelist():
        raise KeyError(f"no '{key}' in it, found {', '.join(archive.namelist()[:5]) or 'nothing'}")
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    return shape, dtype


def _check_values(name: str, neighbours: np.ndarray, cosine: np.ndarray, findings: Findings) -> None:
    there = neighbours >= 0
    outside = np.flatnonzero((there & (np.abs(cosine) > 1 + TOLERANCE)).any(1))
    if len(outside):
        findings.error(
            rows_of(name, outside), f"cosines outside -1 to 1 in {counted(len(outside), 'row')}",
            "these are no cosines: divide rows by their lengths before the products",
        )  # fmt: skip
    rising = np.flatnonzero((there[:, 1:] & there[:, :-1] & (np.diff(cosine, axis=1) > TOLERANCE)).any(1))
    if len(rising):
        findings.warning(
            rows_of(name, rising), f"cosines rise in {counted(len(rising), 'row')}",
            "they are sorted when read; a file that was cut from a longer one may lack the nearest: build it anew",
        )  # fmt: skip
    ordered = np.sort(np.where(there, neighbours, -np.arange(1, neighbours.shape[1] + 1)), axis=1)
    twice = np.flatnonzero((np.diff(ordered, axis=1) == 0).any(1))
    if len(twice):
        findings.warning(
            rows_of(name, twice), f"a neighbour twice in {counted(len(twice), 'row')}", "build it anew"
        )
    alone = np.flatnonzero(~(neighbours == np.arange(len(neighbours))[:, None]).any(1))
    what = f"{counted(len(alone), 'item')} not among {'its' if len(alone) == 1 else 'their'} own neighbours"
    if len(alone) > SELF_SHARE * len(neighbours):
        findings.warning(
            rows_of(name, alone),
            what,
            "graphs here hold the item itself, first, as MMRec's do: build it anew that way",
        )
    elif len(alone):
        findings.note(rows_of(name, alone), f"{what}, as where several have equal features")


def _compare(name: str, others: np.ndarray, features: Features, findings: Findings) -> None:
    """Whether the graph is that of the features beside it."""
    usable = features.usable & (others >= 0).any(1)
    k = min(others.shape[1] - 1, NEIGHBOURS)
    if k < 1 or usable.sum() <= k:
        return
    sample = sample_items(usable, np.random.default_rng(0))[:: max(1, int(usable.sum()) // COMPARED)][
        :COMPARED
    ]
    true = nearest(features.rows, features.usable, sample, k)
    share = np.mean([np.isin(found, mine).mean() for found, mine in zip(true, others[sample], strict=True)])
    if share < STALE:
        modality = re.sub(r"_knn[0-9]+\.npz$", "", name)
        findings.warning(
            name,
            f"stale: it has {100 * share:.0f} % of the neighbours that {modality}_feat.npy gives",
            "remove it, and it is computed from the features; or build it anew",
        )
