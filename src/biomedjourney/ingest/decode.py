"""Turns the bytes of a text file into text."""

import codecs


def decode(content: bytes) -> str:
    """The text of a file that should be UTF-8, with or without a byte order mark. Never raises.

    A byte that is not UTF-8 is read as Windows-1252 (as Latin-1 where Windows-1252 has no letter for it), so that a
    file may mix both. A file that begins with the byte order mark of UTF-16 is read as UTF-16.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    return content.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="windows-1252")


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    letters = error.object[error.start : error.end]
    try:
        return letters.decode("cp1252"), error.end
    except UnicodeDecodeError:
        return letters.decode("latin-1"), error.end


codecs.register_error("windows-1252", _as_windows_1252)
