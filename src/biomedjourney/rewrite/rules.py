"""The rules writer: what changed between two studies, from their sentences and labels, without any model."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from biomedjourney.rewrite.language import Mention, mentions
from biomedjourney.rewrite.lexicon import DEVICES, SIDED
from biomedjourney.rewrite.study import Study

__all__ = ["Study", "describe"]

NO_CHANGE = ("no significant change", "no interval change", "unchanged appearance", "stable appearance")
STABLE_SHARE = 0.25  # how often a finding that stayed is named beside what changed
DIRECTIONS = ("new", "worse", "improved", "resolved", "stable")
VERBS = {
    "new": ("new",),
    "worse": ("increased", "worsening", "larger"),
    "improved": ("decreased", "improved", "smaller"),
    "resolved": ("resolved",),
    "stable": ("stable", "unchanged"),
}
NOUNS = {
    "pleural_effusion": ("pleural effusion",),
    "cardiomegaly": ("cardiomegaly", "enlargement of the cardiac silhouette"),
    "consolidation": ("consolidation",),
    "edema": ("pulmonary edema",),
    "pneumothorax": ("pneumothorax",),
    "atelectasis": ("atelectasis",),
    "pneumonia": ("pneumonia",),
    "lung_opacity": ("opacity",),
    "lung_lesion": ("nodule",),
    "fracture": ("fracture",),
    "picc": ("picc line",),
    "central_line": ("central venous line",),
    "endotracheal_tube": ("endotracheal tube",),
    "enteric_tube": ("enteric tube",),
    "chest_tube": ("chest tube",),
    "tracheostomy": ("tracheostomy tube",),
    "pleural_other": ("pleural thickening",),
    "enlarged_cardiomediastinum": ("widened mediastinum",),
    "pacemaker": ("pacemaker",),
}
SIZED = ("pleural_effusion", "pneumothorax", "lung_lesion")
SIZES = {1: "small", 2: "moderate", 3: "large"}
DEGREES = {1: "mild", 2: "moderate", 3: "severe"}
SEVERAL = (
    "consolidation",
    "lung_opacity",
    "atelectasis",
    "pneumonia",
    "lung_lesion",
    "fracture",
)  # more than one a side
UNSIZED = ("larger", "smaller")  # verbs for sizes alone
ABSORBED = {"lung_opacity": ("consolidation", "edema", "atelectasis", "pneumonia"), "pneumonia": ("consolidation",)}


@dataclass
class State:
    """A finding in one study. ``present`` None: uncertain or unknown. Severity and change by side ('' unsaid)."""

    present: bool | None = None
    known: bool = False
    severity: dict[str, int] = field(default_factory=dict)
    change: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Change:
    direction: str
    finding: str
    side: str
    severity: int


def state(study: Study, finding: str, said: tuple[Mention, ...]) -> State:
    """What a study says of a finding: its sentences, or its label where the report says nothing of any finding.

    A label beside a report that does not name the finding is not taken: it has no side and no size, and is more often
    an error of the labeller than of the radiologist.
    """
    own = [mention for mention in said if mention.finding == finding]
    result = State(known=bool(own))
    for mention in own:
        sides = mention.sides or {""}
        if mention.present:
            result.present = True
            for side in sides:
                result.severity[side] = max(result.severity.get(side, 0), mention.severity)
                if mention.change and not result.change.get(side):
                    result.change[side] = mention.change
        elif mention.present is False and (mention.change == "resolved" or mention.sides):
            result.gone |= set(sides)
    if result.present is None and any(mention.present is False for mention in own):
        result.present = False
    if not said and (label := study.labels.get(finding)) in (0, 1):
        result.present, result.known = label == 1, True
        if label == 1:
            result.severity[""] = 0
    if "" in result.severity and len(result.severity) > 1:
        unsaid = result.severity.pop("")
        change = result.change.pop("", "")
        for side in result.severity:
            result.severity[side] = result.severity[side] or unsaid
            if change:
                result.change.setdefault(side, change)
    return result


def _direction(finding: str, side: str, prior: State, current: State) -> str:
    """How a finding that is present on a side has changed: by the words of the current report, else by both reports."""
    existed = bool(prior.present) and (side in prior.severity or "" in prior.severity or side == "")
    told = current.change.get(side, "")
    if (
        told
        and not (told == "new" and existed and finding not in SEVERAL)
        and not (told == "stable" and prior.present is False)
    ):
        return told
    if not existed:
        return "new"
    before = prior.severity.get(side, prior.severity.get("", max(prior.severity.values(), default=0)))
    now = current.severity[side]
    if told == "new" or (before and now > before):
        return "worse"
    return "improved" if now and now < before else "stable"


def changes(prior: Study, current: Study) -> list[Change]:
    """Every finding of either study with what became of it, side by side; both sides alike are told as bilateral."""
    before, after = (mentions(f"{s.impression}\n\n{s.findings}") for s in (prior, current))
    found: list[Change] = []
    for finding in NOUNS:
        then, now = state(prior, finding, before), state(current, finding, after)
        own: list[Change] = []
        if now.present:
            own = [
                Change(_direction(finding, side, then, now), finding, side, now.severity[side]) for side in now.severity
            ]
        if now.present is not None:
            left_over = set(then.severity) if then.present else set()
            ended = (left_over | now.gone) if now.present is False else (left_over & now.gone) | (now.gone - {""})
            if now.present is False and not then.present:
                ended = now.gone if any(m.finding == finding and m.change == "resolved" for m in after) else set()
            ended = (ended - {""}) or ended
            own += [Change("resolved", finding, side, 0) for side in ended if side not in now.severity]
        found += _together(own)
    return _without_absorbed(found)


def _together(own: list[Change]) -> list[Change]:
    sides = {change.side: change for change in own}
    if {"left", "right"} <= set(sides):
        left, right = sides["left"], sides["right"]
        if (left.direction, left.severity) == (right.direction, right.severity):
            rest = [change for change in own if change.side not in ("left", "right")]
            return [*rest, Change(left.direction, left.finding, "bilateral", left.severity)]
    return sorted(own, key=lambda change: change.side)


def _without_absorbed(found: list[Change]) -> list[Change]:
    """Leaves out a general finding where a specific one tells the same ("opacity" beside "consolidation")."""
    told = {change.finding for change in found}
    return [c for c in found if not any(specific in told for specific in ABSORBED.get(c.finding, ()))]


def _pick(options: Iterable[str], *key: str) -> str:
    choices = list(options)
    return choices[_number(*key) % len(choices)]


def _number(*key: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(key).encode()).digest()[:6], "big")


def _phrase(change: Change, key: str) -> str:
    sized = change.finding in SIZED
    noun = _pick(NOUNS[change.finding], key, change.finding, "noun")
    verbs = [verb for verb in VERBS[change.direction] if sized or verb not in UNSIZED]
    verb = _pick(verbs, key, change.finding, change.side, change.direction)
    severity = "" if change.finding in DEVICES else (SIZES if sized else DEGREES).get(change.severity, "")
    side = change.side if change.finding in SIDED else ""
    if change.side == "bilateral" and change.finding != "edema" and not noun.endswith(("x", "s", "a")):
        noun += "s"
    words = [verb, side, noun]
    if change.direction in ("new", "stable"):
        words = [verb, severity, side, noun]
    elif change.direction in ("worse", "improved") and severity:
        words = [verb, side, noun + f", now {severity}"]
    return " ".join(word for word in words if word)


def describe(prior: Study, current: Study) -> str:
    """The progression description: what appeared, grew, shrank and went, with side and severity; never empty.

    Offline and deterministic: wording varies by a hash of the two studies. What stayed is named in a quarter of the
    cases, or where nothing changed.
    """
    key = "\0".join((prior.findings, prior.impression, current.findings, current.impression))
    found = changes(prior, current)
    moved = [c for d in DIRECTIONS[:-1] for c in found if c.direction == d]
    stayed = [c for c in found if c.direction == "stable"]
    named = [c for c in stayed if _number(key, c.finding, c.side, "named") % 1000 < 1000 * STABLE_SHARE]
    if not moved:
        first = _pick(NO_CHANGE, key)
        return "; ".join([first, *(_phrase(c, key) for c in named)])
    return "; ".join(_phrase(c, key) for c in [*moved, *named])
