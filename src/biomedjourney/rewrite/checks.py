"""Whether a description can be trusted: each check is a function of the description and the two studies."""

import re
from collections.abc import Callable

from biomedjourney.rewrite.language import Mention, mentions
from biomedjourney.rewrite.study import Study

LONGEST = 500  # characters
_DATE = re.compile(
    r"\b\d{1,4}[-/.]\d{1,2}([-/.]\d{1,4})?\b|\b(?:january|february|march|april|june|july|august|september|"
    r"october|november|december)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"\b(?:dr|mr|mrs|ms|prof)\.?\s+[A-Z]", re.IGNORECASE)
_COMPARISON = re.compile(
    r"\b(?:compar(?:ed|ison)|prior|previous(?:ly)?|earlier|last) (?:to|with|study|exam\w*|film|radiograph)\b|"
    r"\bin comparison\b|\bcompared\b",
    re.IGNORECASE,
)


def _said(study: Study) -> list[Mention]:
    return mentions(f"{study.impression}\n\n{study.findings}")


def check_length(description: str, prior: Study, current: Study) -> bool:
    """Neither empty nor longer than a few sentences."""
    return 0 < len(description.strip()) <= LONGEST


def check_removed_text(description: str, prior: Study, current: Study) -> bool:
    """No ``___`` of the de-identification."""
    return "___" not in description


def check_identifiers(description: str, prior: Study, current: Study) -> bool:
    """No date and no name."""
    return not _DATE.search(description) and not _NAME.search(description)


def check_comparison(description: str, prior: Study, current: Study) -> bool:
    """No reference to another study: the picture is the comparison."""
    return not _COMPARISON.search(description)


def check_findings(description: str, prior: Study, current: Study) -> bool:
    """Every finding named is asserted, denied or doubted in a report, or labelled."""
    known = {m.finding for study in (prior, current) for m in _said(study)}
    known |= {name for study in (prior, current) for name, label in study.labels.items() if label is not None}
    return all(mention.finding in known for mention in mentions(description))


def check_sides(description: str, prior: Study, current: Study) -> bool:
    """A side named for a finding is a side that a report names for it, unless the reports name none."""
    reported: dict[str, set[str]] = {}
    for study in (prior, current):
        for mention in _said(study):
            reported.setdefault(mention.finding, set()).update(mention.sides)
    return all(m.sides <= reported.get(m.finding, set()) or not reported.get(m.finding) for m in mentions(description))


def check_direction(description: str, prior: Study, current: Study) -> bool:
    """Nothing is called new that was labelled before and not after, nor resolved where it is the other way round."""
    for mention in mentions(description):
        then, now = prior.labels.get(mention.finding), current.labels.get(mention.finding)
        if mention.change == "new" and then == 1 and now == 0:
            return False
        if mention.change == "resolved" and then == 0 and now == 1:
            return False
    return True


CHECKS: dict[str, Callable[[str, Study, Study], bool]] = {
    function.__name__: function
    for function in (
        check_length, check_removed_text, check_identifiers, check_comparison, check_findings, check_sides,
        check_direction,
    )
}  # fmt: skip
