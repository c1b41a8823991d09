"""Where a sentence is cut into clauses, so that each finding keeps its own verb and each list stays together."""

import re

from biomedjourney.rewrite import lexicon
from biomedjourney.rewrite.spans import Span, words

ANCHORS = ("finding", "stand-in", "heart", "other")
VERB, FINITE = words(lexicon.VERB), words(lexicon.FINITE)
_CONTRAST = words("but|however|although|though|whereas|while|yet")
AS_ALSO = re.compile(r"\s*as (?:has|have|did|is|are|does|do|was|were)\b")  # "A has grown, as has B"


def clauses(sentence: str, spans: list[Span]) -> list[tuple[int, int]]:
    """Splits where a new finding has a verb of its own, so that a list of findings stays together."""
    breaks = [s for s in spans if s.kind == "link" or _CONTRAST.fullmatch(sentence, s.start, s.end)]
    clauses, start = [], 0
    for i, link in enumerate(breaks):
        ends = [other.start for other in breaks[i + 1 :]] + [len(sentence)]
        is_hard = link.kind != "link" or link.value[0] in ";:"
        if link.kind != "link" and not (names(spans, start, link.start) or FINITE.search(sentence, start, link.start)):
            starts_clause = False  # "improving but still large effusion"
        elif is_hard:
            hard = [b.start for b in breaks[i + 1 :] if b.kind != "link" or b.value[0] in ";:"]
            starts_clause = names(spans, link.end, (hard or [len(sentence)])[0])
        else:
            is_or = i + 1 < len(breaks) and breaks[i + 1].value == "or"
            starts_clause = bool(VERB.search(sentence, start, link.start)) and _has_own_verb(
                sentence, spans, link, start, ends, is_or=is_or
            )
        if starts_clause:
            clauses.append((start, link.start))
            start = link.end
    return [*clauses, (start, len(sentence))]


def _has_own_verb(sentence: str, spans: list[Span], link: Span, start: int, ends: list[int], *, is_or: bool) -> bool:
    """Whether what follows a comma or "and" names a finding that has its own verb. ``is_or``: it is one of "A or B"."""
    if AS_ALSO.match(sentence, link.end):
        return False
    if names(spans, link.end, ends[0]) and FINITE.search(sentence, link.end, ends[0]):
        return True
    if link.value != "and" or len(ends) < 2 or VERB.search(sentence, link.end, ends[0]):
        return False
    is_denied = any(span.kind == "denial" and start <= span.start < link.start for span in spans)
    both_named = names(spans, link.end, ends[0]) and names(spans, ends[0], ends[1])
    verb = r"\b(?:is|has)\b" if is_or else r"\b(?:are|have)\b"
    return both_named and not is_denied and re.search(verb, sentence[ends[0] : ends[1]]) is not None


def names(spans: list[Span], start: int, end: int) -> bool:
    return any(span.kind in ANCHORS and start <= span.start < end for span in spans)


def without_advice(sentence: str, spans: list[Span], start: int) -> list[Span]:
    """What should be done has not happened: changes after the advice, and before it where it has no other verb."""
    advice = next((span for span in spans if span.kind == "advice"), None)
    if advice is None:
        return spans
    links = [s.end for s in spans if s.kind == "link" and s.end <= advice.start and s.value[0] in ",;"]
    start = next((end for end in links if not names(spans, end, advice.start)), start)
    before = re.sub(r"\b(?:is|are|be)\s*$", "", sentence[start : advice.start])
    kept_until = advice.start if FINITE.search(before) else start
    of_what_is = re.search(r"\bwhich (?:is|are|has|have)\b", sentence[advice.end :])
    kept_from = advice.end + of_what_is.end() if of_what_is else len(sentence)
    return [s for s in spans if s.kind not in ("change", "handling") or not kept_until <= s.start < kept_from]
