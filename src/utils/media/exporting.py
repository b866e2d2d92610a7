"""From `features.lmdb` to `<modality>_feat.npy` with its mask, and the lists of what is missing."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from utils.files import atomic_write, write_json
from utils.media.media_store import MediaStore
from utils.media.problems import ABSENT, NOT_ENCODED, Problem
from utils.media.vector_store import VectorStore

REPORT, MISSING = "media_report.json", "media_missing.csv"
FIRST = 10  # items that are named; the CSV has all


@dataclass(frozen=True)
class Outcome:
    """Of a kind: which items have content, or a vector, bool (I,), and why the others have none."""

    kind: str
    present: np.ndarray
    problems: Mapping[int, Problem]

    @property
    def known(self) -> bool:
        """Whether anything was ever said about this kind."""
        return bool(self.problems) or bool(self.present.any())

    def by_reason(self) -> dict[str, list[int]]:
        """Items that have none, by rising id; the most frequent reason first."""
        counts = Counter(problem.reason for problem in self.problems.values())
        return {
            reason: sorted(item for item, problem in self.problems.items() if problem.reason == reason)
            for reason, _ in counts.most_common()
        }

    def lines(self, what: str) -> list[str]:
        """How many items have it, "a vector" for one, and a line for each reason why an item has none."""
        lines = [f"{self.kind:10} {self.present.sum():,} of {len(self.present):,} items have {what}"]
        for reason, items in self.by_reason().items():
            first = ", ".join(map(str, items[:FIRST]))
            more = ", ..." if len(items) > FIRST else ""
            mark = "missing" if reason in ABSENT else "warning"
            lines.append(f"{mark:10} {self.kind}: {reason}: {len(items):,} items: {first}{more}")
        return lines

    def summary(self) -> dict[str, Any]:
        """For the report."""
        return {
            "present": int(self.present.sum()),
            "missing": int((~self.present).sum()),
            "reasons": {
                reason: {"items": len(items), "first": items[:FIRST]}
                for reason, items in self.by_reason().items()
            },
        }


def outcome_of(
    media: MediaStore, kind: str, n_items: int, vectors: VectorStore | None = None, key: str | None = None
) -> Outcome:
    """Which items have content or, of the encoder `key`, a vector of it, and why the others have none."""
    present = np.zeros(n_items, dtype=bool)
    digests, problems = media.digests(kind), media.problems(kind)
    if vectors is None or key is None:
        present[list(digests)] = True
        return Outcome(kind, present, problems)
    problems.update(dict.fromkeys(digests, Problem(NOT_ENCODED)))
    for record in vectors.records(kind, key):
        if digests.get(record.item) != record.digest:
            continue
        if record.vector is not None:
            present[record.item] = True
            del problems[record.item]
        else:
            problems[record.item] = record.problem
    return Outcome(kind, present, problems)


def export(vectors: VectorStore, path: Path, outcome: Outcome, key: str, width: int) -> None:
    """Write `path`, (I, F) float32, row = item id, zeros where there is no vector, and its mask beside it.

    One row at a time; each file is written whole or not at all, the mask first. Raises OSError.
    """
    write_mask(mask_path(path), outcome.present)
    wanted = set(np.flatnonzero(outcome.present).tolist())  # the store may hold items of a larger data set
    rows = (
        (record.item, record.vector) for record in vectors.records(outcome.kind, key) if record.item in wanted
    )
    atomic_write(path, lambda file: _write_rows(file, len(outcome.present), width, rows))


def write_mask(path: Path, present: np.ndarray) -> None:
    """Whether items have a vector, bool (I,)."""
    atomic_write(path, lambda file: np.save(file, present, allow_pickle=False))


def mask_path(features: Path) -> Path:
    """`<name>_mask.npy` beside `<name>_feat.npy`."""
    return features.with_name(features.name.removesuffix("_feat.npy") + "_mask.npy")


def _write_rows(file: BinaryIO, n_items: int, width: int, rows: Iterable[tuple[int, np.ndarray]]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (n_items, width)}
    np.lib.format.write_array_header_1_0(file, header)
    zeros = bytes(4 * width)
    written = 0
    for item, vector in rows:
        for _ in range(item - written):
            file.write(zeros)
        file.write(np.ascontiguousarray(vector, dtype="<f4"))
        written = item + 1
    for _ in range(n_items - written):
        file.write(zeros)


def write_report(folder: Path, dataset: str, outcomes: Sequence[Outcome], files: Mapping[str, Any]) -> None:
    """`media_report.json`, counts and the first items, and `media_missing.csv`, all of them. Raises OSError."""
    kinds = {outcome.kind: outcome.summary() for outcome in outcomes}
    write_json(folder / REPORT, {"dataset": dataset, "kinds": kinds, "files": files})
    atomic_write(folder / MISSING, lambda file: _write_missing(file, outcomes))


def _write_missing(file: BinaryIO, outcomes: Sequence[Outcome]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["itemID", "kind", "reason", "detail"])
    writer.writerows(_missing_rows(outcomes))
    text.flush()
    text.detach()


def _missing_rows(outcomes: Sequence[Outcome]) -> Iterator[tuple[int, str, str, str]]:
    for outcome in outcomes:
        for item, problem in sorted(outcome.problems.items()):
            yield item, outcome.kind, problem.reason, problem.detail
