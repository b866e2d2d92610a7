"""The exceptions of the program: what a user can mend, and a training that leads nowhere."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input, setting or file: the message says what, where, what was expected and what to do.

    The command line prints it as one line and exits with status 2; a caller of the Python interface
    catches it as the ValueError that it is.
    """


class StorageError(UserError):
    """The disk refuses to keep a result: nothing more can be run, and what is finished stays as it is."""


class Diverged(FloatingPointError):
    """A loss or a score is no longer a finite number: this trial has failed, others may go on."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the nearest known name, or nothing where none is near."""
    by_lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f"; did you mean '{by_lower[near[0]]}'?" if near else ""
