"""Cleans report text for a model."""

import re

# Each pattern begins with one character or a set of characters: that makes the search several times faster. The
# character \0 marks in between where an identifier was.
_REMOVED = re.compile(r"_{2,}[-/]{0,2}")
_JOINED = re.compile(r"[-/#]{1,2}\0")
_NOTHING_IN_BRACKETS = re.compile(r"[(\[][\s,;:./#-]*[)\]]")
_STRAY_MARKS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[,;:]+(?=[,;:.!?])", ""),
        (r"([.!?])\.+", r"\1"),
        (r"([(\[])[,;:.]+ *", r"\1"),
        (r"[,;:]+(?=[)\]])", ""),
    )
)
_WORD = re.compile(r"[A-Za-z]{2}")


def clean(text: str) -> str:
    """The text on one line, without ``___`` (removed identifiers) and the punctuation and brackets left around them."""
    if "__" in text:
        text = " ".join(_REMOVED.sub("\0", text).split())
        text = _NOTHING_IN_BRACKETS.sub(" ", _JOINED.sub(" ", text).replace("\0", " "))
        text = " ".join(text.split())
        for mark in ".,;:!?)]":
            text = text.replace(f" {mark}", mark)
        text = text.replace("( ", "(").replace("[ ", "[")
        for pattern, replacement in _STRAY_MARKS:
            text = pattern.sub(replacement, text)
        text = text.strip().lstrip(",;:.-/)] ")
    return " ".join(text.split())


def is_usable(text: str) -> bool:
    """Whether a cleaned text says anything: it has a word of at least two letters."""
    return _WORD.search(text) is not None
