"""The exceptions of the program: what a user can mend, and a training that leads nowhere."""


class UserError(ValueError):
    """Bad input, setting or file: the message says what, where, what was expected and what to do.

    The command line prints it as one line and exits with status 2; a caller of the Python interface
    catches it as the ValueError that it is.
    """


class Diverged(FloatingPointError):
    """A loss or a score is no longer a finite number: this trial has failed, others may go on."""
