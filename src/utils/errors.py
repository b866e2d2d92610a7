"""The one exception for what a user can mend."""


class UserError(ValueError):
    """Bad input, setting or file: the message says what, where, what was expected and what to do.

    The command line prints it as one line and exits with status 2; a caller of the Python interface
    catches it as the ValueError that it is.
    """
