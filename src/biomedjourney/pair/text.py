"""Report text on its way to a model."""

import re

_REMOVED = re.compile(r"[-/#]{0,2}_{2,}[-/]{0,2}")
_REPAIRS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[(\[][\s,;:./#-]*[)\]]", " "),  # brackets round nothing
        (r"\s+(?=[.,;:!?)\]])|(?<=[(\[])\s+", ""),  # a space before a stop or inside a bracket
        (r"[,;:]+(?=[,;:.!?])", ""),  # a comma left before another stop
        (r"([.!?])\.+", r"\1"),
        (r"(?<=[(\[])[,;:.]+\s*|[,;:]+(?=[)\]])", ""),
        (r"\s+", " "),
    )
)


def clean(text: str) -> str:
    """The text on one line, without ``___`` (removed identifiers) and the stops and brackets left around them."""
    if "__" in text:
        text = " ".join(_REMOVED.sub(" ", text).split())
        for pattern, replacement in _REPAIRS:
            text = pattern.sub(replacement, text)
        text = text.strip().lstrip(",;:.-/)] ")
    return " ".join(text.split())


def is_usable(text: str) -> bool:
    """Whether a cleaned text says anything: a word of two letters."""
    return re.search(r"[A-Za-z]{2}", text) is not None
