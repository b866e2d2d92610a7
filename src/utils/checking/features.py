"""Features of a modality: the file, its values, its mask, and whether rows are in the order of items."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.checking.findings import Findings, counted, rows_of
from utils.checking.order import Verdict, judge, nearest, projection, sample_items
from utils.checking.sniffing import advice, kind_of
from utils.checking.splits import starts_at_one
from utils.checking.table import Rows
from utils.data.features import FeatureFile, to_float32
from utils.errors import UserError

MANY_EQUAL = 0.01  # of the rows share one vector: a stand-in for what is missing, not chance
CONSTANT_SHARE = 0.5  # of the columns
MATRIX = "an (items, width) matrix of numbers as numpy.save writes it"


@dataclass
class Features:
    """Rows (I, at most 512) float32, projected where they are wide, and which of them say something."""

    rows: np.ndarray
    usable: np.ndarray


def check_features(path: Path, rows: Rows | None, findings: Findings) -> Features | None:
    """Of a file that is there. Rows are compared with the items where their ids are known; None for no matrix."""
    n_items = rows.n_items if rows is not None else None
    file = open_features(path, rows, findings)
    name = path.name.removesuffix("_feat.npy")
    mask = check_mask(path.with_name(f"{name}_mask.npy"), n_items, findings)
    if file is None:
        return None
    if not _right_rows(file, rows, findings):
        return None
    if mask is None or len(mask) != file.shape[0]:
        mask = np.ones(file.shape[0], dtype=bool)
    return _check_values(file, mask, findings)


def open_features(path: Path, rows: Rows | None, findings: Findings) -> FeatureFile | None:
    """By its header; the number of rows is not looked at."""
    try:
        kind = kind_of(path)
        if not path.stat().st_size:
            findings.error(path.name, "the file is empty", "copy or download it again")
            return None
        if kind != "a NumPy array":
            kind = kind or "something else"
            findings.error(path.name, f"it is {kind}, not {MATRIX}", advice(kind, MATRIX))
            return None
        shape = _shape(path)
        return FeatureFile.open(path, shape[0] if shape else 0)
    except OSError as error:
        findings.error(path.name, f"cannot be read: {error.strerror}", "check its permissions")
    except UserError as error:
        findings.refusal(path.name, error, path)
    return None


def _shape(path: Path) -> tuple[int, ...] | None:
    """None for a damaged header, of which the program's own opening says more."""
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            return read(file)[0]
    except Exception:  # noqa: BLE001  (numpy parses a header in steps, and each has errors of its own)
        return None


def _right_rows(file: FeatureFile, rows: Rows | None, findings: Findings) -> bool:
    if rows is None or file.shape[0] == rows.n_items:
        return True
    n, n_items = file.shape[0], rows.n_items
    if n > n_items and not rows.trusted["items"]:  # the missing ids may be those that could not be read
        return True
    what = f"{counted(n, 'row')} for {counted(n_items, 'item')} (largest id plus one)"
    if n < n_items and starts_at_one(rows.items) and n == n_items - 1:
        fix = "ids count from 1 and rows from 0: subtract 1 from every id"
    elif n < n_items:
        fix = f"items {n} to {n_items - 1} have no row: write one for each id, zeros and a mask where there is none"
    else:
        fix = f"rows {n_items} to {n - 1} are of no item: write the rows of the items alone, in the order of ids"
    findings.error(file.path.name, what, fix)
    return False


def check_mask(path: Path, n_items: int | None, findings: Findings) -> np.ndarray | None:
    """Which items (I,) have the modality; None where there is no mask, or no right one."""
    if not path.is_file():
        return None
    expected = "a bool for each item, True where the item has the modality"
    try:
        kind = kind_of(path)
        if kind != "a NumPy array":
            findings.error(path.name, f"it is {kind or 'no .npy file'}", f"save {expected}, with numpy.save")
            return None
        mask = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        findings.error(path.name, f"cannot be read: {_short(error)}", f"save {expected}, with numpy.save")
        return None
    if mask.dtype != bool or mask.ndim != 1 or (n_items is not None and len(mask) != n_items):
        size = f" of {n_items} items" if n_items is not None else ""
        findings.error(path.name, f"type {mask.dtype} and shape {mask.shape}", f"save {expected}{size}")
        return None
    if not mask.any():
        findings.warning(
            path.name, "it marks every item as missing", "check which way round it is: True is present"
        )
    return np.array(mask)


def _check_values(file: FeatureFile, mask: np.ndarray, findings: Findings) -> Features:
    name, shape = file.path.name, file.shape
    seen, project = _Seen(shape), projection(shape[1])
    kept = np.empty((shape[0], shape[1] if project is None else project.shape[1]), dtype=np.float32)
    for start, rows in _blocks(file):
        seen.add(start, rows, mask)
        rows = np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0)
        kept[start : start + len(rows)] = rows if project is None else rows @ project
    if (mask & seen.empty).any():
        empty = np.flatnonzero(mask & seen.empty)
        findings.note(
            rows_of(name, empty),
            f"{counted(len(empty), 'row')} of NaN alone: items without content, for missing_treatment",
        )
    mask = mask & ~seen.empty
    _report_finite(name, seen, mask, findings)
    usable = mask & seen.finite & ~seen.zero
    _report_equal(name, seen, mask & seen.finite, findings)
    return Features(kept, usable)


def _blocks(file: FeatureFile) -> Iterator[tuple[int, np.ndarray]]:
    for start, raw in file.blocks():
        yield start, to_float32(raw) + np.float32(0)  # -0.0 and 0.0 are one number


class _Seen:
    """What one pass over the rows shows."""

    def __init__(self, shape: tuple[int, int]):
        self.finite, self.zero, self.empty = np.empty((3, shape[0]), dtype=bool)
        self.digests = np.empty(shape[0], dtype="S16")
        self.low, self.high = np.full(shape[1], np.inf), np.full(shape[1], -np.inf)

    def add(self, start: int, rows: np.ndarray, mask: np.ndarray) -> None:
        place = slice(start, start + len(rows))
        self.empty[place] = np.isnan(rows).all(1)
        self.finite[place], self.zero[place] = np.isfinite(rows).all(1), ~rows.any(1)
        self.digests[place] = [hashlib.blake2b(row, digest_size=15).hexdigest()[:16].encode() for row in rows]
        counting = rows[mask[place] & self.finite[place]]
        if len(counting):
            self.low = np.minimum(self.low, counting.min(0))
            self.high = np.maximum(self.high, counting.max(0))


def _report_finite(name: str, seen: _Seen, mask: np.ndarray, findings: Findings) -> None:
    bad = np.flatnonzero(~seen.finite & mask)
    if len(bad):
        findings.error(
            rows_of(name, bad),
            f"NaN, infinity or a number too large for float32 in {counted(len(bad), 'row')}",
            "write rows of NaN alone for items without content, and numbers elsewhere",
        )


def _report_equal(name: str, seen: _Seen, counting: np.ndarray, findings: Findings) -> None:
    """Zero rows, equal rows and constant columns, among the rows that count."""
    zero = np.flatnonzero(seen.zero & counting)
    rows = np.flatnonzero(counting & ~seen.zero)
    if len(rows) > 1 and (seen.digests[rows] == seen.digests[rows[0]]).all():
        findings.error(rows_of(name, rows), f"all {len(rows):,} rows are equal", "extract the features again")
        return
    if len(zero):
        findings.warning(
            rows_of(name, zero),
            f"{counted(len(zero), 'row')} of zeros: such an item has no neighbour but itself",
            f"mark items without content in {name.removesuffix('_feat.npy')}_mask.npy, or extract them again",
        )
    if not len(rows):
        return
    _, group, sizes = np.unique(seen.digests[rows], return_inverse=True, return_counts=True)
    most, repeated = int(sizes.max()), len(rows) - len(sizes)
    if most >= max(3, MANY_EQUAL * len(rows)):
        findings.warning(
            rows_of(name, rows[group == sizes.argmax()]),
            f"{most:,} rows share one vector, as a mean in place of missing content would: they are neighbours of each "
            f"other alone",
            f"mark items without content in {name.removesuffix('_feat.npy')}_mask.npy",
        )
    elif repeated:
        findings.note(
            name, f"{counted(repeated, 'row')} equal to an earlier one, at most {most} to one vector"
        )
    constant = int((seen.low == seen.high).sum())
    if constant and constant >= CONSTANT_SHARE * len(seen.low):
        findings.warning(
            name,
            f"{constant:,} of {len(seen.low):,} columns have one value throughout",
            "check the extraction, for they say nothing of items",
        )
    elif constant:
        findings.note(name, f"{constant:,} of {len(seen.low):,} columns have one value throughout")


def check_order(name: str, features: Features, rows: Rows, findings: Findings) -> Verdict | None:
    """Neighbours' shared buyers against chance; None where there is too little to look at."""
    usable = features.usable
    if usable.sum() < 20 or not rows.of(0).any():
        return None
    sample = sample_items(usable, np.random.default_rng(0))
    return report_order(name, sample, nearest(features.rows, usable, sample), rows, findings)


def report_order(
    name: str, sample: np.ndarray, neighbours: np.ndarray, rows: Rows, findings: Findings
) -> Verdict:
    train = rows.of(0)
    verdict = judge(sample, neighbours, rows.users[train], rows.items[train], rows.n_items)
    if verdict.in_order:
        findings.note(name, f"rows are in the order of items: {verdict}")
    elif not verdict.enough:
        findings.note(name, f"too few interactions to tell whether rows are in the order of items: {verdict}")
    else:
        fix = "write row = item id, by the mapping of the re-indexing; a content that says nothing of taste looks alike"
        if verdict.moved:
            fix = f"rows are off by one: item i is in row i{-verdict.moved:+d}; write row = item id"
        findings.warning(
            name, f"rows may not be in the order of items, not better than chance: {verdict}", fix
        )
    return verdict


def _short(error: Exception) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text if len(text) < 100 else text[:97] + "..."
