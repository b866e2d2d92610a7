"""A tolerant reading of the interactions: every line that is wrong is counted, the others are kept.

The program's reader (utils/data/interactions.py) stops at the first fault. What counts as a row, a field and a whole
number is the same here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from utils.checking.findings import Findings, counted, lines_of
from utils.checking.sniffing import advice, kind_of
from utils.data.interactions import MANY_IDS, SPARSE_IDS, SPLITS
from utils.errors import did_you_mean

CHUNK = 200_000  # lines that are text at a time
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", " ": "spaces"}
TIMES = ("timestamp", "time", "unixReviewTime", "reviewTime")
PLAIN = "a plain table as UTF-8 text"
LABELS = ", ".join(f"{label} ({split})" for label, split in enumerate(SPLITS))
BAD = -1


@dataclass
class Rows:
    """The good lines: their numbers, users, items and labels (n,) int64, and times (n,) where there is a column."""

    lines: np.ndarray
    users: np.ndarray
    items: np.ndarray
    labels: np.ndarray
    times: np.ndarray | None = None
    trusted: dict[str, bool] = field(default_factory=dict)
    """Whether a column had no faults, so that what is missing in it is missing indeed."""

    @property
    def n_users(self) -> int:
        return int(self.users.max()) + 1

    @property
    def n_items(self) -> int:
        return int(self.items.max()) + 1

    def of(self, label: int) -> np.ndarray:
        """Which rows (n,) are of a split."""
        return self.labels == label


def read_table(path: Path, columns: Sequence[str], separator: str, findings: Findings) -> Rows | None:
    """The good rows; None where the file is no such table at all."""
    separator = "\t" if separator == "\\t" else separator
    if len(separator) != 1:
        findings.error(
            path.name,
            f"field_separator is {separator!r}, which is not one character",
            "set it to a tab or a comma",
        )
        return None
    try:
        if not _is_text(path, findings):
            return None
        header = _header(path, separator)
        places = _find(path, header, columns, separator, findings)
        return places and _read(path, separator, header, places, findings)
    except UnicodeDecodeError as error:
        what = f"no UTF-8 text: byte 0x{error.object[error.start]:02x} cannot be read"
        findings.error(path.name, what, "save the file as UTF-8")
    except OSError as error:
        findings.error(path.name, f"cannot be read: {error.strerror}", "check its permissions")
    return None


def _is_text(path: Path, findings: Findings) -> bool:
    if not path.stat().st_size:
        findings.error(path.name, "the file is empty", "copy or download it again")
        return False
    kind = kind_of(path)
    if kind:
        findings.error(path.name, f"it is {kind}, not {PLAIN}", advice(kind, PLAIN))
    return not kind


def _lines(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Number, from 1, and fields of every line that is not blank."""
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            text = line.rstrip("\n")
            if text.strip(" "):
                yield number, text.split(separator)


def _header(path: Path, separator: str) -> list[str]:
    return next(_lines(path, separator), (0, []))[1]


def _find(
    path: Path, header: list[str], columns: Sequence[str], separator: str, findings: Findings
) -> list[int] | None:
    """Places of the columns in the header."""
    where, missing = f"{path.name}, header", [name for name in columns if name not in header]
    if not header:
        findings.error(path.name, "the file has only blank lines", "copy or download it again")
        return None
    if missing and all(re.fullmatch(r"-?[0-9.]+", name) for name in header):
        findings.error(
            where, "the first line has numbers and is no header", f"put {', '.join(columns)} above it"
        )
        return None
    others = [one for one in SEPARATORS if one != separator and set(columns) <= set(header[0].split(one))]
    other = others[0] if others else ""
    if missing and other:
        findings.error(
            where,
            f"columns are separated by {SEPARATORS[other]}, field_separator is {separator!r}",
            f"set field_separator={other!r} in the data set's YAML, or write the file with tabs",
        )
        return None
    for name in missing:
        findings.error(
            where,
            f"no column '{name}', found {', '.join(map(repr, header))}{did_you_mean(name, header)}",
            "name the columns as the data set's YAML does (USER_ID_FIELD, ITEM_ID_FIELD, inter_splitting_label)",
        )
    for name in columns:
        if header.count(name) > 1:
            findings.warning(where, f"column '{name}' is there twice, the first counts", "remove one of them")
    return None if missing else [header.index(name) for name in columns]


def _read(
    path: Path, separator: str, header: list[str], places: list[int], findings: Findings
) -> Rows | None:
    faults = _Faults(path.name, [header[place] for place in places])
    time = next(
        (header.index(name) for name in TIMES if name in header and header.index(name) not in places), None
    )
    rows, parts, times = _lines(path, separator), [], []
    next(rows)
    while chunk := list(islice(rows, CHUNK)):
        whole = [one for one in chunk if len(one[1]) > max(places)]
        faults.short += [number for number, fields in chunk if len(fields) <= max(places)]
        lines = np.array([number for number, _ in whole], dtype=np.int64)
        values = [faults.parse(n, [fields[p] for _, fields in whole], lines) for n, p in enumerate(places)]
        good = np.all([column >= 0 for column in values], axis=0)
        parts.append(np.stack([lines, *values])[:, good])
        if time is not None:
            texts = [fields[time] if len(fields) > time else "" for _, fields in whole]
            times.append(pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(float)[good])
    faults.report(findings)
    if not parts:
        findings.error(path.name, "there is a header and nothing below it", "copy or download the file again")
        return None
    table = np.concatenate(parts, axis=1)
    raw = _check_dense(path.name, table, faults.names, findings)
    if not table.shape[1]:
        return None
    for kind, row in (("users", 1), ("items", 2)):
        if kind in raw:  # what follows counts up to the largest id
            table[row] = np.unique(table[row], return_inverse=True)[1]
    trusted = faults.trusted() | dict.fromkeys(raw, False)
    return Rows(*table, np.concatenate(times) if times else None, trusted)


class _Faults:
    """What is wrong with the values, by column and kind: lines and the first value of each."""

    WORDS = {
        "empty": ("is empty in", "give every line a whole number from 0"),
        "negative": ("is negative in", "re-index: ids count from 0, and there is no id for 'unknown'"),
        "fraction": ("is written with a point or an exponent in", "write whole numbers, as `3` for `3.0`"),
        "quoted": ("is in quotes in", "write the numbers without quotes"),
        "huge": ("is too large for 64 bits in", "re-index: users and items count from 0"),
        "text": (
            "is no number in",
            "re-index: users and items are whole numbers from 0, rows of features follow them",
        ),
        "label": ("is none of 0, 1, 2 in", f"expected {LABELS}"),
    }

    def __init__(self, file: str, names: list[str]):
        self.file, self.names, self.short = file, names, []
        self._lines: dict[tuple[int, str], list[int]] = defaultdict(list)
        self._examples: dict[tuple[int, str], str] = {}

    def parse(self, column: int, texts: list[str], lines: np.ndarray) -> np.ndarray:
        """Numbers (n,), BAD where there is none; each distinct text is looked at once."""
        codes, distinct = pd.factorize(np.array(texts, dtype=object))
        numbers = np.full(len(distinct) + 1, BAD, dtype=np.int64)
        for code, text in enumerate(distinct):
            kind = fault_of(text, is_label=column == 2)
            if kind:
                self._lines[column, kind] += lines[codes == code].tolist()
                self._examples.setdefault((column, kind), text)
            else:
                numbers[code] = int(text)
        return numbers[codes]

    def report(self, findings: Findings) -> None:
        if self.short:
            findings.error(
                lines_of(self.file, self.short),
                f"{counted(len(self.short), 'line')} with too few fields",
                "give every line the fields of the header, or delete it",
            )
        for (column, kind), lines in sorted(self._lines.items()):
            words, fix = self.WORDS[kind]
            what = f"{self.names[column]} {words} {counted(len(lines), 'row')}"
            example = self._examples[column, kind]
            what += f", such as {example!r}" if example else ""
            findings.error(
                lines_of(self.file, sorted(lines)), what, fix if column < 2 else self.WORDS["label"][1]
            )

    def trusted(self) -> dict[str, bool]:
        bad = {column for column, _ in self._lines}
        names = ("users", "items", "labels")
        return {name: not self.short and column not in bad for column, name in enumerate(names)}


def fault_of(text: str, is_label: bool = False) -> str | None:
    """The kind of fault, None for a whole number from 0 (or a label).

    >>> fault_of("3"), fault_of("-1"), fault_of("3.0"), fault_of("B00X"), fault_of("3", is_label=True)
    (None, 'negative', 'fraction', 'text', 'label')
    """
    text = text.strip()
    if not text:
        return "empty"
    if re.fullmatch(r"[+-]?[0-9]+", text):
        number = int(text) if len(text) < 30 else 2**63
        if is_label:
            return None if 0 <= number < len(SPLITS) else "label"
        return "negative" if text[0] == "-" and number else "huge" if number >= 2**63 else None
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        return "fraction"
    return "quoted" if text[0] in "\"'" else "text"


def _check_dense(file: str, table: np.ndarray, names: Sequence[str], findings: Findings) -> set[str]:
    """Which of 'users' and 'items' are raw ids, by the reader's own limits."""
    raw = set()
    for kind, name, ids in zip(("users", "items"), names[:2], table[1:3], strict=True):
        size = int(ids.max()) + 1 if len(ids) else 0
        if size > MANY_IDS and size > SPARSE_IDS * (distinct := len(np.unique(ids))):
            line = table[0][ids.argmax()]
            what = (
                f"{name} runs up to {size - 1}, with only {distinct:,} different ids: these look like raw ids"
            )
            fix = f"re-index to 0..{distinct - 1}, and features along with them"
            findings.error(f"{file}, line {line}", what, fix)
            raw.add(kind)
    return raw
