"""Whether a description can be trusted: its form, and what it says against what the two reports say.

What the reports say is read by `biomedjourney.rewrite.rules.told`: a description that names a finding, a side, a
direction or a size that the reports do not give is refused, whoever wrote it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from biomedjourney.rewrite.language import Mention, mentions, mentions_of
from biomedjourney.rewrite.lexicon import STANDS_FOR
from biomedjourney.rewrite.rules import Change, told
from biomedjourney.rewrite.spans import spans_of
from biomedjourney.rewrite.study import Study

LONGEST = 500  # characters
_DATE = re.compile(
    r"\b\d{1,4}[-/]\d{1,2}(?:[-/]\d{1,4})?\b|\b(?:19|20|21|22)\d\d\b|\b\d{1,2}:\d\d\b|\b\d{1,2}(?:st|nd|rd|th) of\b|"
    r"\b(?:january|february|march|april|june|july|august|september|october|november|december|"
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b",
    re.IGNORECASE,
)
_TITLE = re.compile(r"\b(?:dr|mr|mrs|ms|prof)\b\.?\s+[A-Z]", re.IGNORECASE)
_CAPITAL = re.compile(r"(?<![.;:!?] )(?<!^)\b[A-Z][a-z]{2,}\b")
_EPONYMS = frozenset(("Swan", "Ganz", "Dobbhoff", "Kerley", "Hickman", "Kirschner"))
_COMPARISON = re.compile(
    r"\bcompar(?:ed|ison|ative|ing)\b|\b(?:since|from|than|to|with|on|in) (?:the |an? )?"
    r"(?:prior|previous|earlier|last|preceding|old)\b|\b(?:prior|previous|earlier|last) "
    r"(?:study|exam\w*|film|radiograph|image|report|x-?ray)|\breports?\b",
    re.IGNORECASE,
)
# The directions that contradict a change of a label from absent to present, and from present to absent.
_CONTRADICTS = {(0, 1): ("resolved", "improved", "stable"), (1, 0): ("new", "worse", "stable")}


@dataclass(frozen=True)
class Case:
    """A description with the two studies and what they say.

    ``prior`` is the study that the pair is read from and ``current`` the one that it is read to: read backward in time,
    ``prior`` is the later study. ``reported``: every finding that a report names, however it does.
    """

    description: str
    prior: Study
    current: Study
    mentions: tuple[Mention, ...]
    changes: tuple[Change, ...]
    reported: frozenset[str]


def case(description: str, prior: Study, current: Study, direction: str) -> Case:
    reported: set[str] = set()
    for study in (prior, current):
        if study_mentions := mentions_of(study):
            reported |= {mention.finding for mention in study_mentions}
        else:
            reported |= {name for name, label in study.labels.items() if label is not None}
    return Case(
        description,
        prior,
        current,
        mentions(description),
        tuple(told(prior, current, direction=direction)),
        frozenset(reported),
    )


def check_length(case: Case) -> bool:
    """Neither empty nor longer than a few sentences."""
    return 0 < len(case.description.strip()) <= LONGEST


def check_removed_text(case: Case) -> bool:
    """No ``___`` of the de-identification."""
    return "__" not in case.description


def check_identifiers(case: Case) -> bool:
    """No date, no title with a name, and no capitalised word inside a sentence, except devices named after people."""
    names = set(_CAPITAL.findall(case.description)) - _EPONYMS
    return not names and not _DATE.search(case.description) and not _TITLE.search(case.description)


def check_comparison(case: Case) -> bool:
    """No reference to another study: the picture is the comparison."""
    return not _COMPARISON.search(case.description)


def check_findings(case: Case) -> bool:
    """The reports tell every finding that is told as present or gone; what is denied is not in the current report."""
    for mention in case.mentions:
        changes = _changes_of(case, mention)
        if mention.present is None:
            if mention.finding not in case.reported and not changes:
                return False
        elif mention.present or mention.change == "resolved":
            if not changes:
                return False
        elif any(change.direction != "resolved" and _shares_side(mention, change) for change in changes):
            return False
    return True


def check_sides(case: Case) -> bool:
    """The reports tell the finding on every side that the description names for it."""
    return all(
        {side} <= _sides_of(_changes_of(case, mention)) for mention in _told(case) for side in mention.sides
    )  # fmt: skip


def check_direction(case: Case) -> bool:
    """The finding changed on these sides as the description says, and no label that is certain says otherwise."""
    for mention in _told(case):
        labels = (case.prior.labels.get(mention.finding), case.current.labels.get(mention.finding))
        if _direction(mention) in _CONTRADICTS.get(labels, ()):  # type: ignore[arg-type]
            return False
        reported_sides = _sides_of(_changes_of(case, mention)) | {""}
        sides = (mention.sides or {""}) & reported_sides if _changes_of(case, mention) else set()
        if not all(_alike(case, mention, side) for side in sides):
            return False
    return _holds_overall(case)


def _holds_overall(case: Case) -> bool:
    """Whether what is said of the whole picture ("no significant change", "improved appearance") agrees with it."""
    moves = {change.direction for change in case.changes} - {"stable"}
    for phrase in re.split(r";\s*|\.\s+", case.description):
        overall = next((span.value for span in spans_of(phrase.lower()) if span.kind == "change"), None)
        if overall is None or mentions(phrase) or re.search(r"\bother(?:wise)?\b", phrase):
            continue
        if overall in ("stable", "still") and not moves:
            continue
        if not moves & {"improved": {"improved", "resolved"}, "worse": {"worse", "new"}}.get(overall, set()):
            return False
    return True


def check_size(case: Case) -> bool:
    """A size is that of the current report, or for what is gone that of the prior one."""
    for mention in _told(case):
        for side in mention.sides or {""}:
            alike = _alike(case, mention, side)
            if alike and not any(_has_size(mention, change) for change in alike):
                return False
    return True


def _told(case: Case) -> list[Mention]:
    """The mentions of the description that say what is there, or what went."""
    return [m for m in case.mentions if m.present or (m.present is False and m.change == "resolved")]


def _changes_of(case: Case, mention: Mention) -> list[Change]:
    findings = STANDS_FOR.get(mention.finding, (mention.finding,))
    return [change for change in case.changes if change.finding in findings]


def _sides_of(changes: list[Change]) -> set[str]:
    sides = {change.side for change in changes}
    return sides | {"left", "right"} if "bilateral" in sides else sides


def _shares_side(mention: Mention, change: Change) -> bool:
    return not mention.sides or not change.side or bool(mention.sides & _sides_of([change]))


def _direction(mention: Mention) -> str:
    """The direction that the description gives: empty where it only says that the finding is there."""
    if mention.present is False:
        return "resolved"
    return "stable" if mention.change == "still" else mention.change


def _alike(case: Case, mention: Mention, side: str) -> list[Change]:
    """The changes of the finding on a side, of any side where the description names none, in the same direction."""
    direction = _direction(mention)
    is_general = mention.finding in STANDS_FOR
    return [
        change
        for change in _changes_of(case, mention)
        if (side == "" or side in _sides_of([change]) or is_general)
        and (
            change.direction == direction
            or (direction == "" and change.direction != "resolved")
            or (is_general and {change.direction, direction} == {"improved", "resolved"})
        )
    ]


def _has_size(mention: Mention, change: Change) -> bool:
    if mention.severity_before not in (0, change.severity_before):
        return False
    size = change.severity or (change.severity_before if change.direction in ("stable", "resolved") else 0)
    return mention.severity in (0, size)


# Each check, and what a language model is told when it fails. The wording is part of the keys of cached answers.
CHECKS: dict[str, tuple[Callable[[Case], bool], str]] = {
    "check_length": (check_length, f"the description must have 1 to {LONGEST} characters"),
    "check_removed_text": (check_removed_text, "the description must not contain ___"),
    "check_identifiers": (check_identifiers, "the description must hold no date and no name"),
    "check_comparison": (check_comparison, "the description must not refer to another study or to a comparison"),
    "check_findings": (
        check_findings,
        "the description tells a finding that the reports do not tell, or denies one that they tell",
    ),
    "check_sides": (check_sides, "the description names a side that no report names for that finding"),
    "check_direction": (
        check_direction,
        "the description says that a finding changed in another way than the reports say",
    ),
    "check_size": (check_size, "the description gives a finding a size that the reports do not give it"),
}
SCHEMA = "check_schema"  # whether the model's last answer followed the schema; true where no model was asked


def run(description: str, prior: Study, current: Study, direction: str = "forward") -> dict[str, bool]:
    """The result of each check by its name. ``direction``: how the pair is read in time, forward or backward."""
    checked = case(description, prior, current, direction)
    return {name: check(checked) for name, (check, _) in CHECKS.items()}
