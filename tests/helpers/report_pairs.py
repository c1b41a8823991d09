"""Pairs of short reports, written for these tests, with what a careful reader finds in them.

An entry of ``must`` is "finding side directions [severities]": side ``-`` none, ``*`` any; alternatives joined by ``/``
(directions) and ``|`` (severities: 0 unsaid, 1 small, 2 moderate, 3 large). A bilateral change counts on both sides.
Findings in ``ok`` may be told in any way.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from biomedjourney.rewrite.rules import Change, Study, changes
from tests.helpers import REPOSITORY

FILE = REPOSITORY / "tests" / "rewrite" / "report-pairs.json"


@dataclass(frozen=True)
class ReportPair:
    """Two reports and the changes between them; ``kind``: what is hard about them."""

    kind: str
    prior: Study
    current: Study
    must: tuple[str, ...]
    ok: tuple[str, ...]


def report_pairs(path: Path = FILE) -> Iterator[ReportPair]:
    for row in json.loads(path.read_text()):
        studies = (Study(findings=row["prior"]), Study(findings=row["current"]))
        yield ReportPair(row["class"], *studies, tuple(row["must"]), tuple(row["ok"]))


def is_read_right(pair: ReportPair) -> bool:
    """Whether all that must be told is told, and nothing else is told as new, worse, improved or resolved."""
    told = [one for change in changes(pair.prior, pair.current) for one in _by_side(change)]
    is_complete = all(any(_fits(must, one) for one in told) for must in pair.must)
    others = [one for one in told if not any(_fits(must, one) for must in pair.must)]
    return is_complete and all(direction == "stable" or finding in pair.ok for finding, _, direction, _ in others)


def _by_side(change: Change) -> list[tuple[str, str, str, int]]:
    sides = ("left", "right") if change.side == "bilateral" else (change.side,)
    return [(change.finding, side, change.direction, change.severity) for side in sides]


def _fits(must: str, one: tuple[str, str, str, int]) -> bool:
    finding, side, directions, *severities = must.split()
    return (
        finding in ("*", one[0])
        and side in ("*", one[1] or "-")
        and one[2] in directions.split("/")
        and (not severities or str(one[3]) in severities[0].split("|"))
    )
