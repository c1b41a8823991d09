"""A progression in the model's language, from a finding, a side, a direction and a size."""

from biomedjourney.editing.cautions import DRAWN
from biomedjourney.rewrite.lexicon import DEVICES, SIDED
from biomedjourney.rewrite.rules import DEGREES, NOUNS, SIZED, SIZES, Change, phrase

Choices = list[tuple[str, str]]  # the words that a user sees, and the value

SIDES: Choices = [("not said", ""), ("left", "left"), ("right", "right"), ("both", "bilateral")]
DIRECTIONS: Choices = [
    ("new", "new"),
    ("larger", "worse"),
    ("smaller", "improved"),
    ("gone", "resolved"),
    ("as before", "stable"),
]


def findings(phantom: bool) -> Choices:
    """The findings to choose from. ``phantom``: only those that the phantom shows."""
    return [(nouns[0], name) for name, nouns in NOUNS.items() if not phantom or name in DRAWN]


def sides(finding: str) -> Choices:
    """The sides that reports tell of a finding: of some none."""
    return SIDES if finding in SIDED else SIDES[:1]


def directions(finding: str) -> Choices:
    """What may become of a finding: a device neither grows nor shrinks."""
    return [choice for choice in DIRECTIONS if finding not in DEVICES or choice[1] not in ("worse", "improved")]


def sizes(finding: str, direction: str) -> list[tuple[str, int]]:
    """The severities after the change: a device, and what is gone, has none."""
    words = {} if finding in DEVICES or direction == "resolved" else SIZES if finding in SIZED else DEGREES
    return [("not said", 0), *((word, severity) for severity, word in words.items())]


def extended(text: str, finding: str, side: str, direction: str, severity: int) -> str:
    """The text and the words for one more change, joined as in a progression description."""
    parts = [*text.split(";"), phrase(Change(finding, side, direction, severity))]
    return "; ".join(part.strip() for part in parts if part.strip())
