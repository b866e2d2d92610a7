"""What a check has found: how bad it is, what and where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from utils.errors import UserError

SEVERITIES = ("error", "warning", "note")
"""Numbers would be wrong, or nothing would run; numbers may be wrong; worth knowing."""

SHOWN = 3
"""Examples that a finding names."""


@dataclass(frozen=True)
class Finding:
    """`where` is a file with the first lines or rows, `fix` is empty where there is nothing to do."""

    severity: str
    where: str
    what: str
    fix: str = ""

    def lines(self) -> list[str]:
        """To be printed."""
        return [
            f"  {self.severity:8} {self.where}: {self.what}",
            *([f"{'':11}fix: {self.fix}"] if self.fix else []),
        ]


@dataclass
class Findings:
    """A list that grows while a data set is checked; nothing is found twice."""

    found: list[Finding] = field(default_factory=list)

    def error(self, where: str, what: str, fix: str) -> None:
        self._add(Finding("error", where, what, fix))

    def warning(self, where: str, what: str, fix: str) -> None:
        self._add(Finding("warning", where, what, fix))

    def note(self, where: str, what: str, fix: str = "") -> None:
        self._add(Finding("note", where, what, fix))

    def refusal(
        self, where: str, error: UserError, path: Path | None = None, severity: str = "error"
    ) -> None:
        """What another part of the program says about a file, in its own words: `what; what to do`."""
        what, _, fix = str(error).partition("; ")
        if path is not None:
            what = what.removeprefix(f"cannot read {path}: ").removeprefix(str(path)).lstrip(":, ")
        self._add(Finding(severity, where, what, fix or "mend the file, or remove it"))

    def count(self, severity: str) -> int:
        return sum(finding.severity == severity for finding in self.found)

    def by_severity(self) -> list[Finding]:
        """The worst first, else in the order in which they were found."""
        return sorted(self.found, key=lambda finding: SEVERITIES.index(finding.severity))

    def _add(self, finding: Finding) -> None:
        if finding not in self.found:
            self.found.append(finding)


def some(values: Iterable[object], total: int | None = None) -> str:
    """The first few of them in words.

    >>> some([4, 9]), some([4, 9, 13, 20])
    ('4 and 9', '4, 9, 13, ...')
    """
    first = [str(value) for value, _ in zip(values, range(SHOWN + 1), strict=False)]
    total = len(first) if total is None else total
    if total > SHOWN:
        return ", ".join([*first[:SHOWN], "..."])
    return " and ".join([", ".join(first[:-1]), first[-1]]) if len(first) > 1 else "".join(first)


def lines_of(file: str, lines: Sequence[int]) -> str:
    """`baby.inter, lines 4, 9, 13, ...`."""
    return f"{file}, line{'s' if len(lines) > 1 else ''} {some(lines)}"


def rows_of(file: str, rows: Sequence[int]) -> str:
    """`image_feat.npy, rows 4, 9, 13, ...`, counted from 0 as item ids are."""
    return f"{file}, row{'s' if len(rows) > 1 else ''} {some(rows)}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """
    >>> counted(1, "row"), counted(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
