"""What can be wrong with the text or the image of an item: then it has none, and the user is told."""

from __future__ import annotations

from dataclasses import dataclass

NO_LINE = "no line in the table"
NO_TEXT = "empty text"
NO_IMAGE = "no image named"
ADDRESS = "an address; nothing is downloaded"
NOT_THERE = "file not there"
OUTSIDE = "outside the data set's folder and that of --images"
NO_FILE = "no regular file"
UNREADABLE = "file not readable"
TOO_LARGE = "too large"
BROKEN = "broken image"
NOT_ENCODED = "not encoded yet"
NOT_FINITE = "the encoder gave no finite numbers"

ABSENT = frozenset({NO_LINE, NO_IMAGE})
"""Of an item that was never said to have any."""

LONGEST = 300  # characters of a detail, which may be whatever a table says


@dataclass(frozen=True)
class Problem:
    """Why an item counts as one without text or image: one of the reasons above, and what it is about."""

    reason: str
    detail: str = ""

    def encode(self) -> bytes:
        return f"{self.reason}\0{self.detail[:LONGEST]}".encode("utf-8", "replace")

    @classmethod
    def decode(cls, content: bytes) -> Problem:
        reason, _, detail = content.decode().partition("\0")
        return cls(reason, detail)


class MediaError(Exception):
    """The content of an item cannot be used; `problem` says why."""

    def __init__(self, problem: Problem):
        super().__init__(f"{problem.reason}: {problem.detail}")
        self.problem = problem
