"""The rules writer: what changed between two studies, from their sentences and labels, without any model."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from biomedjourney.rewrite.language import Mention, mentions_of
from biomedjourney.rewrite.lexicon import DEVICES, SIDED, STANDS_FOR
from biomedjourney.rewrite.study import Study, in_order_of_time

__all__ = ["Change", "Study", "changes", "describe", "phrase", "told", "turned"]

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
PLURALS = {
    "pleural effusion": "pleural effusions",
    "consolidation": "consolidations",
    "pneumothorax": "pneumothoraces",
    "opacity": "opacities",
    "nodule": "nodules",
    "fracture": "fractures",
    "picc line": "picc lines",
    "central venous line": "central venous lines",
    "chest tube": "chest tubes",
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
# The same finding is often given another of these names in the next report.
ALIKE = {
    "lung_opacity": ("consolidation", "edema", "atelectasis", "pneumonia"),
    "pneumonia": ("consolidation", "lung_opacity"),
    "atelectasis": ("lung_opacity",),
    "consolidation": ("pneumonia",),
}
UNSIZED = ("larger", "smaller")  # verbs for sizes alone
ABSORBED = {"lung_opacity": ("consolidation", "edema", "atelectasis", "pneumonia")}


@dataclass
class State:
    """What a study says of a finding.

    ``present`` None: uncertain or not told. By side ('': none named): ``severity``, ``severity_before`` (this report's
    word on the film before) and ``change``. ``denied``: the sides that are free of it; ``gone``: those where words
    say that it went.
    """

    present: bool | None = None
    severity: dict[str, int] = field(default_factory=dict)
    severity_before: dict[str, int] = field(default_factory=dict)
    change: dict[str, str] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
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
    result = State()
    for mention in study_mentions:
        if mention.finding != finding:
            continue
        sides = mention.sides or {""}
        if mention.present:
            result.present = True
            for side in sides:
                result.severity[side] = result.severity.get(side, 0) or mention.severity
                result.severity_before[side] = result.severity_before.get(side, 0) or mention.severity_before
                change = "" if finding in DEVICES and mention.change in ("worse", "improved") else mention.change
                if change and result.change.get(side, "still") in ("still", "stable"):
                    result.change[side] = change
        elif mention.present is False:
            (result.gone if mention.change == "resolved" else result.denied).update(sides)
    if result.present is None and (result.denied or result.gone):
        result.present = False
    if not study_mentions and (label := study.labels.get(finding)) in (0, 1):
        result.present = label == 1
        if label == 1:
            result.severity[""] = 0
        else:
            result.denied.add("")
    if "" in result.severity and len(result.severity) > 1:
        _spread(result)
    return result


def _spread(state: State) -> None:
    """What is said without a side is said of every side that is named elsewhere in the report."""
    severity, before = state.severity.pop(""), state.severity_before.pop("", 0)
    change = state.change.pop("", "")
    for side in state.severity:
        state.severity[side] = state.severity[side] or severity
        state.severity_before[side] = state.severity_before.get(side, 0) or before
        if change:
            state.change.setdefault(side, change)


def _direction(finding: str, side: str, earlier: State, later: State, has_alike: bool) -> str:
    """How a finding that is present on a side has changed: by the words of the later report, else by both reports.

    ``has_alike``: the earlier report has a finding on this side that is often given the same name.
    """
    existed = bool(earlier.present) and (side in earlier.severity or "" in earlier.severity or side == "")
    is_device = finding in DEVICES
    worded_change = later.change.get(side, "")
    if (
        worded_change
        and not (worded_change == "new" and existed and finding not in SEVERAL and not is_device)
        and not (worded_change == "stable" and earlier.present is False)
        and worded_change != "still"
    ):
        return worded_change
    if not existed:
        was_there = has_alike or worded_change == "still"
        return "stable" if was_there and worded_change != "new" and earlier.present is not False else "new"
    before, now = later.severity_before.get(side) or _severity(earlier, side), later.severity[side]
    if is_device or (before and before == now):
        return "stable"
    if before and now:
        return "worse" if now > before else "improved"
    return "worse" if worded_change == "new" else "stable"


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
    the forward pair, each turned round. A general finding is left out where a specific one tells the same.
    """
    return [change for change, is_absorbed in _read(prior, current, direction) if not is_absorbed]


def told(prior: Study, current: Study, *, direction: str = "forward") -> list[Change]:
    """The same as `changes`, with general findings beside specific ones: all that a description may name."""
    return [change for change, _ in _read(prior, current, direction)]


def _read(prior: Study, current: Study, direction: str) -> list[tuple[Change, bool]]:
    """The changes, each with whether a specific finding tells the same."""
    earlier, later = in_order_of_time(prior, current, direction)
    forward_changes, worded = _forward_changes(earlier, later)
    return [
        (
            change if direction == "forward" else turned(change),
            (change.finding, change.side) not in worded and _is_absorbed(change, forward_changes),
        )
        for change in forward_changes
    ]


def _forward_changes(earlier: Study, later: Study) -> tuple[list[Change], set[tuple[str, str]]]:
    """The changes, and the findings and sides whose change the later report tells in words."""
    earlier_mentions, later_mentions = map(mentions_of, (earlier, later))
    before = {finding: state(earlier, finding, earlier_mentions) for finding in NOUNS}
    after = {finding: state(later, finding, later_mentions) for finding in NOUNS}
    for mention in later_mentions:
        if mention.finding in STANDS_FOR and mention.change:
            _tell_of(mention, before, after)
    result: list[Change] = []
    worded: set[tuple[str, str]] = set()
    for finding in NOUNS:
        then, now = before[finding], after[finding]
        if finding in SIDED:
            _take_sides(then, now)
        by_side: list[Change] = []
        if now.present:
            for side, severity in now.severity.items():
                has_alike = any(_is_on(before[other], side) for other in ALIKE.get(finding, ()))
                severity_before = now.severity_before.get(side) or _severity(then, side)
                by_side.append(
                    Change(finding, side, _direction(finding, side, then, now, has_alike), severity, severity_before)
                )
        by_side += [Change(finding, side, "resolved", 0, _severity(then, side)) for side in _ended(then, now)]
        of_finding = _together(by_side)
        sides = {side for side, word in now.change.items() if word} | now.gone
        worded |= {(finding, c.side) for c in of_finding if c.side in sides or (c.side == "bilateral" and sides)}
        result += of_finding
    return result, worded


def _take_sides(then: State, now: State) -> None:
    """A finding told without a side, and not as new, lies where the earlier report has it."""
    sides = set(then.severity) - {""}
    if then.present and sides and set(now.severity) == {""} and now.change.get("") != "new":
        severity, before, change = now.severity[""], now.severity_before.get("", 0), now.change.get("", "")
        now.severity = dict.fromkeys(sides, severity)
        now.severity_before = dict.fromkeys(sides, before)
        now.change = dict.fromkeys(sides, change) if change else {}


def _is_on(state: State, side: str) -> bool:
    return bool(state.present) and (side in state.severity or "" in state.severity or side == "")


def _ended(then: State, now: State) -> set[str]:
    """The sides where a finding was and is no more: a denial ends what was there, words of an end also what was not."""
    was = set(then.severity) if then.present else set()
    ended = now.gone - {""}
    ended |= was & now.denied if now.present else was & (now.denied | now.gone)
    if "" in now.gone or ("" in now.denied and not now.present) or {"left", "right"} <= now.denied | now.gone:
        ended |= was
    if "" in now.gone and not was and not now.present:
        ended.add("")
    ended -= set(now.severity)
    return (ended - {""}) or ended


def _tell_of(mention: Mention, before: dict[str, State], after: dict[str, State]) -> None:
    """What "improved aeration" and its like tell of the findings of the earlier report, where the later names none."""
    findings = STANDS_FOR[mention.finding]
    sides = mention.sides or {""}
    affected = [f for f in findings if before[f].present and any(_is_on(before[f], side) for side in sides)]
    if not affected and mention.finding == "aeration" and not any(after[f].present for f in findings):
        affected = ["lung_opacity"]
    for finding in affected:
        now, then = after[finding], before[finding]
        on = {side for side in sides if side} or set(then.severity) or {""}
        if mention.change == "resolved":
            if now.present:
                for side in set(now.severity) if mention.finding != "devices" else ():
                    if now.change.get(side, "still") == "still" and side in (on | {""}):
                        now.change[side] = "improved"
            else:
                now.present = False
                now.gone |= on
        elif now.present is None:
            now.present = True
            now.severity |= dict.fromkeys(on, 0)
            now.change |= dict.fromkeys(on, mention.change)
        elif now.present:
            for side in set(now.severity) & (on | {""}):
                if now.change.get(side, "still") == "still":
                    now.change[side] = mention.change


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


def _is_absorbed(change: Change, every_change: list[Change]) -> bool:
    """Whether a specific finding tells the same as a general one ("opacity" beside "consolidation")."""
    return any(
        other.finding in ABSORBED.get(change.finding, ())
        and (change.side == "" or other.side in ("", "bilateral", change.side))
        for other in every_change
    )


def _pick(options: Iterable[str], *key: str) -> str:
    choices = list(options)
    return choices[_number(*key) % len(choices)]


def _number(*key: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(key).encode()).digest()[:6], "big")


def phrase(change: Change, key: str = "") -> str:
    """The words for one change. ``key``: another one may choose other words of the same meaning."""
    sized = change.finding in SIZED
    noun = _pick(NOUNS[change.finding], key, change.finding, "noun")
    verbs = [verb for verb in VERBS[change.direction] if sized or verb not in UNSIZED]
    verb = _pick(verbs, key, change.finding, change.side, change.direction)
    severity = "" if change.finding in DEVICES else (SIZES if sized else DEGREES).get(change.severity, "")
    side = change.side
    if change.side == "bilateral":
        noun = PLURALS.get(noun, noun)
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
    phrases = [phrase(change, key) for change in [*moves, *named_stable]]
    return "; ".join(phrases if moves else [_pick(NO_CHANGE, key), *phrases])
