"""Whether a description can be trusted: each check is a function of the description and the two studies.

``prior`` is the study that the pair is read from and ``current`` the one that it is read to: read backward in time,
``prior`` is the later study. No check uses the reports' own words of change, which compare with the film before, so
each holds in both directions.
"""

import re
from collections.abc import Callable

from biomedjourney.rewrite.language import Mention, mentions
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


def _mentions_of(study: Study) -> tuple[Mention, ...]:
    return mentions(f"{study.impression}\n\n{study.findings}")


def check_length(description: str, prior: Study, current: Study) -> bool:
    """Neither empty nor longer than a few sentences."""
    return 0 < len(description.strip()) <= LONGEST


def check_removed_text(description: str, prior: Study, current: Study) -> bool:
    """No ``___`` of the de-identification."""
    return "__" not in description


def check_identifiers(description: str, prior: Study, current: Study) -> bool:
    """No date, no title with a name, and no capitalised word inside a sentence, except devices named after people."""
    names = set(_CAPITAL.findall(description)) - _EPONYMS
    return not names and not _DATE.search(description) and not _TITLE.search(description)


def check_comparison(description: str, prior: Study, current: Study) -> bool:
    """No reference to another study: the picture is the comparison."""
    return not _COMPARISON.search(description)


def check_findings(description: str, prior: Study, current: Study) -> bool:
    """Every finding named is asserted, denied or doubted in a report, or labelled where a report names none."""
    reported: set[str] = set()
    for study in (prior, current):
        if study_mentions := _mentions_of(study):
            reported |= {mention.finding for mention in study_mentions}
        else:
            reported |= {name for name, label in study.labels.items() if label is not None}
    return all(mention.finding in reported for mention in mentions(description))


def check_sides(description: str, prior: Study, current: Study) -> bool:
    """A side named for a finding is a side that a report names for it."""
    reported: dict[str, set[str]] = {}
    for study in (prior, current):
        for mention in _mentions_of(study):
            reported.setdefault(mention.finding, set()).update(mention.sides)
    return all(mention.sides <= reported.get(mention.finding, set()) for mention in mentions(description))


def check_direction(description: str, prior: Study, current: Study) -> bool:
    """No direction contradicts a label that is certain in both studies and changes."""
    for mention in mentions(description):
        labels = (prior.labels.get(mention.finding), current.labels.get(mention.finding))
        if mention.change in _CONTRADICTS.get(labels, ()):  # type: ignore[arg-type]
            return False
    return True


# Each check, and what a language model is told when it fails. The wording is part of the keys of cached answers.
CHECKS: dict[str, tuple[Callable[[str, Study, Study], bool], str]] = {
    "check_length": (check_length, f"the description must have 1 to {LONGEST} characters"),
    "check_removed_text": (check_removed_text, "the description must not contain ___"),
    "check_identifiers": (check_identifiers, "the description must hold no date and no name"),
    "check_comparison": (check_comparison, "the description must not refer to another study or to a comparison"),
    "check_findings": (check_findings, "the description names a finding that neither report names"),
    "check_sides": (check_sides, "the description names a side that no report names for that finding"),
    "check_direction": (
        check_direction,
        "the description calls a finding new, resolved or unchanged against the reports",
    ),
}
SCHEMA = "check_schema"  # whether the model's last answer followed the schema; true where no model was asked


def run(description: str, prior: Study, current: Study) -> dict[str, bool]:
    """The result of each check by its name."""
    return {name: check(description, prior, current) for name, (check, _) in CHECKS.items()}
