"""The one exception that a user is meant to read."""


class UserError(Exception):
    """A mistake outside the code: a file, a row, a key, a setting.

    The message is one line that names it, says what was expected and what to do.
    The command line prints it without a traceback and exits with status 1.
    """
