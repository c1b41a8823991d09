"""The exception whose message is written for the user."""


class UserError(Exception):
    """A mistake outside the code: in a file, a row, a key or a setting.

    The message is one line. It names the place, what was expected and what to do. The command line prints it without
    a traceback and exits with status 1.
    """
