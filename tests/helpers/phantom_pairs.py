"""Pairs of phantom reports with the truth about them, and a reader who judges a description by it.

What a report states is noted while it is written, so a change that the report leaves out counts neither for nor against
a writer. `read` has its own word lists: it does not use the language module of the writer that it judges.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from biomedjourney.ingest.sections import split_report
from biomedjourney.phantom import reports
from biomedjourney.phantom.cohort import identities, patient, stream
from biomedjourney.phantom.findings import Observation, observe
from biomedjourney.phantom.labels import labelled
from biomedjourney.phantom.state import SIDES, Findings
from biomedjourney.rewrite.rules import Study

DIRECTION = {"new": "new", "larger": "worse", "smaller": "improved", "resolved": "resolved", "unchanged": "stable"}
CHANGED = ("new", "larger", "smaller", "resolved")

NOUN = {
    "pleural_effusion": r"effusions?",
    "cardiomegaly": r"cardiomegaly|cardiac silhouette|heart",
    "consolidation": r"consolidations?",
    "edema": r"edema",
    "pneumothorax": r"pneumothora(?:x|ces)",
    "support_devices": r"picc|central(?: venous)? line|endotracheal tube|pacemaker|enteric tube|chest tube",
    "other": r"atelectasis|pneumonia|opacit\w+|nodules?|fractures?|pleural thickening|lesions?",
}
VERB = {
    "resolved": r"\bresolved|\bresolution|\bcleared|\bremoved|\bno longer|\bnormal",
    "new": r"\bnew\b|\bdeveloped|\bdevelopment|\bplaced|\bplacement",
    "improved": r"\bdecreas\w+|\bimprov\w+|\bsmaller|\bless\b",
    "worse": r"\bincreas\w+|\bworse\w*|\blarger|\bworsening|\bmore\b",
    "stable": r"\bstable|\bunchanged|\bpersist\w+",
}


@dataclass(frozen=True)
class ReadChange:
    """One change as a reader of the description understands it."""

    finding: str
    sides: tuple[str, ...]
    direction: str


def read(description: str) -> list[ReadChange]:
    """What a description says: one change per phrase and finding."""
    changes = []
    for phrase in re.split(r"; |\. |, (?!now )", description.rstrip(".").lower()):
        findings = [name for name, noun in NOUN.items() if re.search(rf"\b(?:{noun})\b", phrase)]
        directions = [name for name, verb in VERB.items() if re.search(verb, phrase)]
        both = re.search(r"\bbilateral|\bbibasilar|\bboth\b", phrase)
        sides = SIDES if both else tuple(side for side in SIDES if re.search(rf"\b{side}\b", phrase))
        changes += [ReadChange(finding, sides, directions[0] if directions else "?") for finding in findings]
    return changes


@dataclass(frozen=True)
class Pair:
    """Two reports as studies, the truth by finding and side, and what the current report states."""

    prior: Study
    current: Study
    statuses: dict[tuple[str, str], set[str]]
    stated: list[Observation]


@contextmanager
def stated_observations(log: list[Observation]) -> Iterator[None]:
    """Appends every observation that is put into a sentence to the log."""
    original = reports._sentence

    def sentence(writer: reports.Writer, seen: Observation) -> str:
        log.append(seen)
        return original(writer, seen)

    reports._sentence = sentence
    try:
        yield
    finally:
        reports._sentence = original


def statuses(prior: Findings, current: Findings) -> dict[tuple[str, str], set[str]]:
    """The true directions by (finding, side); a side with two zones may have two. Absent findings have no entry."""
    result: dict[tuple[str, str], set[str]] = {}
    for seen in observe(prior, current):
        if seen.status == "denied":
            continue
        place = "" if seen.finding == "support_devices" else seen.place
        sides = SIDES if place in ("bilateral", "bibasilar") else (place.split()[0] if place else "",)
        for side in sides:
            result.setdefault((seen.finding, side), set()).add(DIRECTION[seen.status])
    return result


def pairs(seed: int, patients: int, phrases: str) -> Iterator[Pair]:
    """Consecutive studies of phantom patients that have text, with noisy labels: what the pipeline pairs."""
    for identity in identities(seed, patients):
        person = patient(seed, identity)
        rng, noise = stream(seed, person.subject_id, 4), stream(seed, person.subject_id, 5)
        before: tuple[Study, Findings] | None = None
        for study in person.studies:
            log: list[Observation] = []
            with stated_observations(log):
                report = reports.render(
                    before[1] if before else None, study.findings, rng, sex=person.sex, view=study.view, phrases=phrases
                )
            sections = split_report(report.text)
            now = Study(dict(labelled(report.mentions, noise)), sections.findings, sections.impression)
            if not (now.findings or now.impression):
                before = None
                continue
            if before:
                yield Pair(before[0], now, statuses(before[1], study.findings), log)
            before = (now, study.findings)


@dataclass
class Score:
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[tuple[str, Pair, str]] = field(default_factory=list)

    def add(self, name: str, right: bool, what: str, pair: Pair, description: str) -> None:
        self.counts[name] += 1
        self.counts[f"{name} right"] += right
        if not right:
            self.errors.append((f"{name}: {what}", pair, description))

    def share(self, name: str) -> float:
        return self.counts[f"{name} right"] / max(self.counts[name], 1)


def _true(pair: Pair, finding: str, sides: tuple[str, ...]) -> list[set[str]]:
    """The true directions on each side named; where none is named, those of any side together."""
    every = {s: d for (f, s), d in pair.statuses.items() if f == finding}
    if not sides or list(every) == [""]:
        return [set().union(*every.values())]
    return [every.get(side, set()) for side in sides]


def judge(pair: Pair, description: str, score: Score) -> None:
    read_changes = read(description)
    for change in read_changes:
        if change.finding == "other":
            continue
        true = _true(pair, change.finding, change.sides)
        present = all(t - {"resolved"} for t in true) if change.direction != "resolved" else all(true)
        score.add("not invented", present, str(change), pair, description)
        if all(true):
            right = all(change.direction in t for t in true)
            score.add("direction", right, f"{change}, true {true}", pair, description)
    for seen in pair.stated:
        if seen.status not in CHANGED:
            continue
        side = seen.place.split()[0] if seen.place and seen.finding != "support_devices" else ""
        near = [c for c in read_changes if c.finding == seen.finding and (side not in SIDES or side in c.sides)]
        score.add("mentioned", bool(near), f"{seen.finding} {seen.place} {seen.status}", pair, description)
        right = any(change.direction == DIRECTION[seen.status] for change in near)
        score.add("mentioned, direction right", right, f"{seen.finding} {seen.place} {seen.status}", pair, description)
