"""The command line: training by default, or a command as its first word."""

from __future__ import annotations

import os
import signal
import sys

from utils.cli import train
from utils.cli.commands import COMMANDS, run_command
from utils.errors import UserError, did_you_mean


def main(argv: list[str] | None = None) -> int:
    """Run the command line. Its status: 0, 1 where all trials of a model failed, 2 after a user's error, 130, 141
    or 143 where it was interrupted, its reader has gone or it was told to end.
    """
    signal.signal(signal.SIGTERM, _end)
    words = sys.argv[1:] if argv is None else argv
    command = words[0] if words and words[0] in COMMANDS else None
    goes_on = "; the same command goes on from here" if command is None or COMMANDS[command].resumes else ""
    if "--force" in words and command is None:
        goes_on = "; the same command begins anew, as --force asks"
    try:
        if command is None and words and (hint := did_you_mean(words[0], COMMANDS)):
            raise UserError(f"unknown command '{words[0]}'{hint}")
        status = run_command(command, words[1:]) if command else train.run(words)
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped{goes_on}", file=sys.stderr)
        return 130
    except _Ended:
        print(f"told to end{goes_on}", file=sys.stderr)
        return 143
    except BrokenPipeError:  # whoever read the output, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


class _Ended(BaseException):
    """SIGTERM: no Exception, for nothing but the command line may take it for a fault."""


def _end(number: int, frame: object) -> None:
    raise _Ended
