"""The rules writer: what changed between two studies, from their sentences and labels, without any model."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from biomedjourney.rewrite.language import Mention, mentions
from biomedjourney.rewrite.lexicon import DEVICES, SIDED
from biomedjourney.rewrite.study import Study, in_order_of_time

__all__ = ["Change", "Study", "changes", "describe", "turned"]

NO_CHANGE = ("no significant change", "no interval change", "unchanged appearance", "stable appearance")
STABLE_SHARE = 0.25  # how often a finding that stayed is named beside what changed
MOVES = ("new", "worse", "improved", "resolved")  # the directions of a change, but for stable
TURNED = {"new": "resolved", "worse": "improved", "improved": "worse", "resolved": "new", "stable": "stable"}
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
)  # there may be more than one per side
UNSIZED = ("larger", "smaller")  # verbs for sizes alone
ABSORBED = {"lung_opacity": ("consolidation", "edema", "atelectasis", "pneumonia"), "pneumonia": ("consolidation",)}


@dataclass
class State:
    """A finding in one study. ``present`` None: uncertain or unknown. Severity and change by side ('': none named)."""

    present: bool | None = None
    severity: dict[str, int] = field(default_factory=dict)
    change: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Change:
    """What became of a finding on one side, on the way from one study to the other.

    ``side``: left, right, bilateral, or empty where no report names one. ``direction``: new, worse, improved, resolved
    or stable. ``severity`` (after the change) and ``severity_before``: 1 to 3, or 0 where the finding is absent, where
    no word grades it, or where the two sides of a bilateral change differ.
    """

    finding: str
    side: str
    direction: str
    severity: int
    severity_before: int = 0


def turned(change: Change) -> Change:
    """The change as it looks from the later study to the earlier one. Turned twice, it is the same again."""
    return replace(
        change,
        direction=TURNED[change.direction],
        severity=change.severity_before,
        severity_before=change.severity,
    )


def state(study: Study, finding: str, study_mentions: tuple[Mention, ...]) -> State:
    """What a study says of a finding: its sentences, or its label where the report says nothing of any finding.

    A label beside a report that does not name the finding is not taken: it has no side and no size, and is more often
    an error of the labeller than of the radiologist.
    """
    finding_mentions = [mention for mention in study_mentions if mention.finding == finding]
    result = State()
    for mention in finding_mentions:
        sides = mention.sides or {""}
        if mention.present:
            result.present = True
            for side in sides:
                result.severity[side] = max(result.severity.get(side, 0), mention.severity)
                if mention.change and not result.change.get(side):
                    result.change[side] = mention.change
        elif mention.present is False and (mention.change == "resolved" or mention.sides):
            result.gone |= set(sides)
    if result.present is None and any(mention.present is False for mention in finding_mentions):
        result.present = False
    if not study_mentions and (label := study.labels.get(finding)) in (0, 1):
        result.present = label == 1
        if label == 1:
            result.severity[""] = 0
    if "" in result.severity and len(result.severity) > 1:
        severity_without_side = result.severity.pop("")
        change_without_side = result.change.pop("", "")
        for side in result.severity:
            result.severity[side] = result.severity[side] or severity_without_side
            if change_without_side:
                result.change.setdefault(side, change_without_side)
    return result


def _direction(finding: str, side: str, earlier: State, later: State) -> str:
    """How a finding that is present on a side has changed: by the words of the later report, else by both reports."""
    existed = bool(earlier.present) and (side in earlier.severity or "" in earlier.severity or side == "")
    worded_change = later.change.get(side, "")
    if (
        worded_change
        and not (worded_change == "new" and existed and finding not in SEVERAL)
        and not (worded_change == "stable" and earlier.present is False)
    ):
        return worded_change
    if not existed:
        return "new"
    before, now = _severity(earlier, side), later.severity[side]
    if worded_change == "new" or (before and now > before):
        return "worse"
    return "improved" if now and now < before else "stable"


def _severity(state: State, side: str) -> int:
    """The severity on a side, 0 where the report grades or names none; without a side, that of the worse one."""
    if side in state.severity:
        return state.severity[side]
    if "" in state.severity:
        return state.severity[""]
    return max(state.severity.values(), default=0) if side == "" else 0


def changes(prior: Study, current: Study, *, direction: str = "forward") -> list[Change]:
    """Every finding of either study with what became of it, side by side; both sides alike are told as bilateral.

    ``prior`` is the study that the pair is read from, ``current`` the one that it is read to. With ``direction``
    "backward", ``prior`` is thus the later study. Words of change in the later report compare it with the earlier one,
    and words of change in the earlier report with a film that is still older. So a backward pair has the changes of
    the forward pair, each turned round.
    """
    earlier, later = in_order_of_time(prior, current, direction)
    forward_changes = _forward_changes(earlier, later)
    return forward_changes if direction == "forward" else [turned(change) for change in forward_changes]


def _forward_changes(earlier: Study, later: Study) -> list[Change]:
    earlier_mentions, later_mentions = (mentions(f"{s.impression}\n\n{s.findings}") for s in (earlier, later))
    result: list[Change] = []
    for finding in NOUNS:
        then, now = state(earlier, finding, earlier_mentions), state(later, finding, later_mentions)
        by_side: list[Change] = []
        if now.present:
            by_side = [
                Change(finding, side, _direction(finding, side, then, now), severity, _severity(then, side))
                for side, severity in now.severity.items()
            ]
        if now.present is not None:
            left_over = set(then.severity) if then.present else set()
            ended = (left_over | now.gone) if now.present is False else (left_over & now.gone) | (now.gone - {""})
            if now.present is False and not then.present:
                is_resolved = any(m.finding == finding and m.change == "resolved" for m in later_mentions)
                ended = now.gone if is_resolved else set()
            ended = (ended - {""}) or ended
            by_side += [
                Change(finding, side, "resolved", 0, _severity(then, side))
                for side in ended
                if side not in now.severity
            ]
        result += _together(by_side)
    return _without_absorbed(result)


def _together(by_side: list[Change]) -> list[Change]:
    """One bilateral change where both sides changed alike."""
    sides = {change.side: change for change in by_side}
    if {"left", "right"} <= set(sides):
        left, right = sides["left"], sides["right"]
        if (left.direction, left.severity) == (right.direction, right.severity):
            severity_before = left.severity_before if left.severity_before == right.severity_before else 0
            others = [change for change in by_side if change.side not in ("left", "right")]
            return [*others, replace(left, side="bilateral", severity_before=severity_before)]
    return sorted(by_side, key=lambda change: change.side)


def _without_absorbed(every_change: list[Change]) -> list[Change]:
    """Leaves out a general finding where a specific one tells the same ("opacity" beside "consolidation")."""
    findings = {change.finding for change in every_change}
    return [c for c in every_change if not any(specific in findings for specific in ABSORBED.get(c.finding, ()))]


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


def describe(prior: Study, current: Study, *, direction: str = "forward") -> str:
    """The progression description: what appeared, grew, shrank and went, with side and severity; never empty.

    ``prior``, ``current`` and ``direction`` are those of `changes`: read backward, ``prior`` is the later study.
    Offline and deterministic: wording varies by a hash of the two studies. What stayed is named in a quarter of the
    cases, or where nothing changed; both directions name the same findings and sides.
    """
    earlier, later = in_order_of_time(prior, current, direction)
    key = "\0".join((earlier.findings, earlier.impression, later.findings, later.impression))
    every_change = changes(prior, current, direction=direction)
    moves = [change for move in MOVES for change in every_change if change.direction == move]
    named_stable = [
        change
        for change in every_change
        if change.direction == "stable"
        and _number(key, change.finding, change.side, "named") % 1000 < 1000 * STABLE_SHARE
    ]
    phrases = [_phrase(change, key) for change in [*moves, *named_stable]]
    return "; ".join(phrases if moves else [_pick(NO_CHANGE, key), *phrases])
