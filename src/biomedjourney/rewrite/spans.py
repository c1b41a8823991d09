"""The spans of a sentence: which words name a finding, a side, a size, a change, a denial or a doubt."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from biomedjourney.rewrite import lexicon


@dataclass(frozen=True, slots=True)
class Span:
    """The words from ``start`` to ``end`` of a sentence.

    ``kind`` says what they are, ``value`` which one of its kind:

    | kind | value |
    |---|---|
    | finding, stand-in, heart | names, of the lexicon's FINDINGS or STAND_INS; the heart's is cardiomegaly |
    | heart is | normal or large |
    | side | a set of left and right |
    | size, past size | 1 to 3 |
    | change | new, worse, improved, stable, resolved, or still (it is there yet, of whatever size) |
    | handling | the same of a tube or line; exchange, exchange back |
    | denial | absent; unknown where only something new is denied |
    | link | , ; : and or |
    | other | a thing that is no finding |
    | neutral | none: its words are taken from other kinds |
    | denied, doubt, doubted, rejected, history, advice, end | none |
    """

    kind: str
    value: Any
    start: int
    end: int


def words(pattern: str) -> re.Pattern[str]:
    """The pattern as whole words."""
    return re.compile(rf"(?<![\w-])(?:{pattern})(?!\w)")


def _change(pattern: str) -> re.Pattern[str]:
    return words(rf"{lexicon.ADVERBS_BEFORE}{lexicon.SIZED_NOUN}(?:{pattern}){lexicon.ADVERBS_AFTER}")


_SIZE = "|".join(f"(?:{degree})" for degree in lexicon.SEVERITIES.values())
_RANKS = [(rank, words(degree)) for rank, degree in lexicon.SEVERITIES.items()]

# Of spans that overlap the longest is kept, and of those as long as each other the first of this list.
_PATTERNS: list[tuple[str, Any, re.Pattern[str]]] = [
    *(("finding", names, words(pattern)) for pattern, names in lexicon.TWO_FINDINGS.items()),
    *(("finding", (name,), words(pattern)) for name, pattern in lexicon.FINDINGS.items()),
    *(("stand-in", (name,), words(pattern)) for name, pattern in lexicon.STAND_INS.items()),
    ("heart", ("cardiomegaly",), words(lexicon.HEART)),
    ("other", ("other",), words(lexicon.OTHER_THINGS)),
    ("neutral", None, words(lexicon.NO_SIDE)),
    ("neutral", None, words(lexicon.CHANGED_BEFORE)),
    ("heart is", "normal", words(lexicon.HEART_NORMAL)),
    ("side", frozenset(("left", "right")), words(lexicon.SIDES_BOTH)),
    *(("side", frozenset((side,)), words(pattern)) for side, pattern in lexicon.SIDES.items()),
    *(("handling", name, words(pattern)) for name, pattern in lexicon.HANDLING.items()),
    *(("change", name, _change(pattern)) for name, pattern in lexicon.CHANGES.items()),
    ("change", "stable", words(lexicon.NO_MORE_CHANGED)),
    ("heart is", "large", words(lexicon.HEART_LARGE)),
    ("doubt", None, words(lexicon.NOT_EXCLUDED)),
    ("denied", None, words(lexicon.NONE)),
    ("denial", "unknown", words(lexicon.NOTHING_NEW)),
    ("denial", "absent", words(lexicon.NEGATION)),
    ("denied", None, words(lexicon.POST_NEGATION)),
    ("rejected", None, words(lexicon.REJECTED)),
    ("doubted", None, words(lexicon.POST_UNCERTAIN)),
    ("doubt", None, re.compile(rf"(?<![\w-])(?:{lexicon.UNCERTAIN})(?!\w)|\?")),
    ("history", None, re.compile(rf"(?<![\w-])(?:{lexicon.HISTORY})")),
    ("advice", None, words(lexicon.ADVICE)),
    ("end", None, words(lexicon.SCOPE_END)),
    *(("past size", None, words(pattern.format(size=_SIZE))) for pattern in lexicon.PAST),
    ("size", None, words(lexicon.RANGE.format(size=_SIZE))),
    ("size", None, words(_SIZE)),
    *(("measures", None, re.compile(pattern)) for pattern in lexicon.MEASURES),
]
_LINK = re.compile(r"[;,:](?=\s|$)(?:\s+and\b)?|\band\b|\bor\b")
_FAVORED_OVER = re.compile(lexicon.FAVORED_OVER)
LARGER = 1.05  # a measure has changed where it is more than 5 % larger or smaller


@lru_cache(maxsize=8192)  # many sentences are the same in many reports
def spans_of(sentence: str) -> tuple[Span, ...]:
    """The spans of a sentence, as `biomedjourney.rewrite.spelling.sentences` gives it, from left to right."""
    candidates = [
        (match.start() - match.end(), place, span)
        for place, (kind, value, pattern) in enumerate(_PATTERNS)
        for match in pattern.finditer(sentence)
        if (span := _span(kind, value, match)) is not None
    ]
    if favored := _FAVORED_OVER.search(sentence):
        candidates.append(
            (favored.start("over") - favored.end("over"), 0, Span("rejected", None, *favored.span("over")))
        )
    candidates.sort(key=lambda candidate: (candidate[0], candidate[1], candidate[2].start))
    is_taken = bytearray(len(sentence))
    kept = []
    for _, _, span in candidates:
        if not any(is_taken[span.start : span.end]):
            is_taken[span.start : span.end] = b"\1" * (span.end - span.start)
            kept.append(span)
    kept += [link for link in _links(sentence) if not is_taken[link.start]]
    return tuple(sorted(kept, key=lambda span: span.start))


def _span(kind: str, value: Any, match: re.Match[str]) -> Span | None:
    groups = match.groupdict()
    if kind == "measures":
        now, then = float(groups["now"]), float(groups["then"])
        unit, unit_then = groups["unit"] or groups["unit_then"], groups["unit_then"] or groups["unit"]
        if unit is None:
            return None
        ratio = now * (10 if unit == "cm" else 1) / max(then * (10 if unit_then == "cm" else 1), 1e-6)
        change = "worse" if ratio > LARGER else "improved" if ratio < 1 / LARGER else "stable"
        return Span("change", change, *match.span("change"))
    if kind in ("size", "past size"):
        value = _rank(groups.get("low") or groups.get("size") or match.group())
    return Span(kind, value, match.start(), match.end())


def _rank(degree: str) -> int:
    return next(rank for rank, pattern in _RANKS if pattern.fullmatch(degree))


def _links(sentence: str) -> Iterator[Span]:
    for match in _LINK.finditer(sentence):
        text = match.group()
        yield Span("link", "and" if text.endswith("and") else text, match.start(), match.end())
