"""The sections of a chest X-ray report in MIMIC-CXR's layout.

A header is a phrase at the start of a line, followed by a colon, in upper or lower case. More phrases are headers in
capitals than in lower case, because a line of running text may begin with "chest:". The other rules are:

- Text under a combined header ("FINDINGS AND IMPRESSION:") belongs to each section that the header names.
- A header that says how the film was taken ("PORTABLE AP CHEST:") introduces findings.
- Headers of other kinds ("RECOMMENDATION:", "NOTIFICATION:", "ADDENDUM:") end a section, and their text is left out.
  An unknown phrase ("LUNGS:") is not a header: it belongs to the section around it.
- A line of underscores, "FINAL REPORT" and "FINAL ADDENDUM" divide the file into parts. The report is the last part
  that has findings or an impression; an addendum is used only if no other part has them. All other parts (wet reads,
  addenda) are left out.
- Several blocks of one name are joined. A header without text adds nothing.
- If no header names findings, they are looked for in the last section before the impression: its first paragraph
  belongs to its header, the paragraphs after it are the findings. A text without any header is findings, except for
  titles at its start. These two rules do not apply to an addendum.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

FINDINGS, IMPRESSION, COMPARISON = "findings", "impression", "comparison"
INDICATION, TECHNIQUE, EXAMINATION, OTHER = "indication", "technique", "examination", "other"


_SECTIONS = (FINDINGS, IMPRESSION, COMPARISON, INDICATION, TECHNIQUE)


@dataclass(frozen=True)
class ReportSections:
    """The unchanged text of each section, stripped at both ends; empty if the section is absent."""

    findings: str = ""
    impression: str = ""
    comparison: str = ""
    indication: str = ""
    technique: str = ""


# Phrases that are headers in upper and in lower case.
_ANY_CASE = {
    FINDINGS: "findings|finding",
    IMPRESSION: "impression|impressions|conclusion|conclusions|opinion",
    COMPARISON: "comparison|comparisons|comparison exam|comparison exams|comparison film|comparison films"
    "|comparison study|comparison studies|reference exam|reference examination",
    INDICATION: "indication|indications|history|clinical history|clinical indication|clinical indications"
    "|clinical information|patient history|reason for exam|reason for examination|reason for the exam"
    "|reason for study|reason for indication",
    TECHNIQUE: "technique|techniques",
    EXAMINATION: "examination|type of examination|type of exam",
    OTHER: "recommendation|recommendations|recommendation(s)"
    "|notification|notifications|addendum|wet read|wetread|preliminary report|final report",
}
# Phrases that are headers only in capitals: in lower case they occur in running text.
_CAPITALS = {
    FINDINGS: "report|main report|bone windows",
    IMPRESSION: "summary",
    COMPARISON: "prior exam|prior study|prior studies|compare",
    INDICATION: "interval history|additional clinical history provided|clinic indication|reason of exam",
    EXAMINATION: "exam|study|date|date of exam|time|procedure",
    OTHER: "note|please note|comment|comments|procedure details|pfi|cc|accession number|anesthesia|medications|contrast"
    "|fluoroscopy time and dose|error|correction|amendment",
}
_WORDS = ("findings", "impression", "conclusion", "comparison", "indication", "technique", "history")
_KNOWN = {phrase: kind for kind, phrases in _ANY_CASE.items() for phrase in phrases.split("|")}
_KNOWN_IN_CAPITALS = _KNOWN | {phrase: kind for kind, phrases in _CAPITALS.items() for phrase in phrases.split("|")}
_MISSPELT = ("findings", "impression", "conclusion", "comparison", "indication", "technique", "examination")
_NEAR_WORDS = frozenset(("depression", "expression", "compression", "oppression", "suppression", "fillings"))

# How a film was taken, as in "PORTABLE AP CHEST", "CHEST, TWO VIEWS" or "AP UPRIGHT CHEST RADIOGRAPH, ___ AT 8:15 A.M."
_OBJECTS = frozenset(("chest", "cxr"))
_PROJECTIONS = frozenset(
    re.findall(
        r"\w+",
        """pa ap portable frontal lateral lat upright erect supine semiupright semierect bedside
        view views radiograph radiographs film films""",
    )
)
_FILLERS = frozenset(
    re.findall(
        r"\w+",
        """single one two three double semi of the and with in at on for from to dated obtained performed compared as
        x ray rays xray xrays image images exam examination study abdomen upper rib ribs left right oblique obliques
        decubitus lordotic expiration inspiration expiratory inspiratory dedicated thoracic spine pelvis position
        patient during port am pm a m p hours hrs""",
    )
)
_VIEW_WORDS = _OBJECTS | _PROJECTIONS | _FILLERS

# The pattern begins with the line break before the header, because a search for a fixed first character is several
# times faster. Its repeats are possessive (a + after the count): otherwise a line without a colon is tried again letter
# by letter. The repeat of the group is not possessive: before Python 3.11.5 that loses matches (python/cpython issue
# 106052).
_HEADER = re.compile(
    r"\n[^\S\n]*+(?:(?P<name>[A-Za-z][^:\n]{1,90}+(?:(?<=\d):(?=\d)[^:\n]*+){0,2})(?:(?<!\d):|:(?!\d))"
    r"|(?P<bare>FINDINGS|IMPRESSION|CONCLUSION|COMPARISON|INDICATION|TECHNIQUE)[^\S\n]*[-;.]?[^\S\n]*(?=\n|$))"
)
_DIVIDER = re.compile(r"\n[^\S\n]*(?:_{8,}|FINAL REPORT:?|(FINAL ADDENDUM:?))[^\S\n]*(?=\n|$)")
_INNER_HEADER = re.compile(
    r"[.!?](?P<header>[^\S\n]++(?P<name>FINDINGS AND IMPRESSION|FINDINGS/IMPRESSION|FINDINGS|IMPRESSION|CONCLUSION):)"
)
_PARAGRAPHS = re.compile(r"\n[^\S\n]*\n")


def split_report(text: str) -> ReportSections:
    """The sections of a report by the rules at the top of this module. Never raises, for any text."""
    text = "\n" + text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ")
    parts = [(is_addendum, _split_part(part)) for part, is_addendum in _divide(text)][::-1]
    parts.sort(key=lambda part: part[0])  # the last part first, addenda after all others
    for is_enough in (_has_main_section, _has_any_text):
        for is_addendum, blocks in parts:
            if is_enough(blocks):
                return _join(blocks if is_addendum else _find_unnamed(blocks))
    return ReportSections()


def _divide(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a file between the dividers, and whether each is an addendum."""
    start, titled = 0, False
    for divider in _DIVIDER.finditer(text):
        yield from _part(text[start : divider.start()], titled)
        start, titled = divider.end(), divider.group(1) is not None
    yield from _part(text[start:], titled)


def _part(text: str, titled: bool) -> Iterator[tuple[str, bool]]:
    if text.strip():
        yield text, titled or text.lstrip()[:8].upper() == "ADDENDUM"


Blocks = list[tuple[tuple[str, ...], str]]


def _split_part(text: str) -> Blocks:
    """The blocks of a part in order: the kinds of section in the header (none for the first block), and the text."""
    blocks: Blocks = []
    kinds: tuple[str, ...] = ()
    start = 0
    headers = [(*match.span(), _kinds(match["name"] or match["bare"])) for match in _HEADER.finditer(text)]
    headers = [header for header in headers if header[2]]
    if text.count(":") > len(headers):
        inner = [(*match.span("header"), _kinds(match["name"])) for match in _INNER_HEADER.finditer(text)]
        headers = sorted([*headers, *inner])
    for begin, end, next_kinds in headers:
        blocks.append((kinds, text[start:begin].strip()))
        kinds, start = next_kinds, end
    blocks.append((kinds, text[start:].strip()))
    return blocks


def _has_main_section(blocks: Blocks) -> bool:
    return any(body and (FINDINGS in kinds or IMPRESSION in kinds) for kinds, body in blocks)


def _has_any_text(blocks: Blocks) -> bool:
    return any(body for _, body in blocks)


def _join(blocks: Blocks) -> ReportSections:
    sections: dict[str, str] = {}
    for kinds, body in blocks:
        for kind in kinds if body else ():
            if kind in _SECTIONS:
                sections[kind] = f"{sections[kind]}\n{body}" if kind in sections else body
    return ReportSections(**sections)


def _find_unnamed(blocks: Blocks) -> Blocks:
    """Marks the findings of a report that has no header for them."""
    if any(FINDINGS in kinds for kinds, _ in blocks):
        return blocks
    end = next((i for i, (kinds, _) in enumerate(blocks) if IMPRESSION in kinds), len(blocks))
    last = max((i for i, (kinds, _) in enumerate(blocks[:end]) if OTHER not in kinds), default=None)
    if last is None:
        return blocks
    kinds, body = blocks[last]
    paragraphs = [p.strip() for p in _PARAGRAPHS.split(body) if p.strip()]
    title_count = 1 if kinds else _titles(paragraphs, only_text=len(blocks) == 1)
    if not re.search(r"[A-Za-z]{2,}\W+[A-Za-z]{2,}", " ".join(paragraphs[title_count:])):
        return blocks
    new_blocks = [(kinds, "\n\n".join(paragraphs[:title_count])), ((FINDINGS,), "\n\n".join(paragraphs[title_count:]))]
    return [*blocks[:last], *new_blocks, *blocks[last + 1 :]]


def _titles(paragraphs: list[str], only_text: bool) -> int:
    """How many paragraphs at the start of a text without headers are titles instead of sentences."""
    for count, paragraph in enumerate(paragraphs):
        if paragraph[-1] in ".!?" or (only_text and any(c.islower() for c in paragraph)):
            return count
    return len(paragraphs)


@lru_cache(maxsize=65536)
def _kinds(name: str) -> tuple[str, ...]:
    """The kinds of section that a header names; empty if the phrase is not a header."""
    capitals = name.upper() == name
    phrase = " ".join(name.lower().split())
    kinds_by_phrase = _KNOWN_IN_CAPITALS if capitals else _KNOWN
    if phrase in kinds_by_phrase:
        return (kinds_by_phrase[phrase],)
    pieces = [piece.strip() for piece in re.split(r"\band\b|[/&,+]", phrase)]
    kinds = [kinds_by_phrase.get(piece) or _misspelt(piece) for piece in pieces]
    if None not in kinds:
        return tuple(dict.fromkeys(kind for kind in kinds if kind))
    words = re.findall(r"[a-z]+", phrase)
    if capitals and len(words) > 1:
        for word in ("addendum", "wet", *_WORDS):
            if word in words:
                return (_KNOWN.get(word, OTHER),)
    return (FINDINGS,) if _tells_view(words, capitals) else ()


def _tells_view(words: list[str], capitals: bool) -> bool:
    """Whether a header says how the film was taken."""
    if not words or not _VIEW_WORDS.issuperset(words):
        return False
    objects, projections = _OBJECTS.intersection(words), _PROJECTIONS.intersection(words)
    return bool(objects or projections) if capitals else bool(objects and projections)


def _misspelt(word: str) -> str | None:
    """The kind of section whose name is within two edits (a letter lost, added or changed, two swapped) of the word."""
    if not 6 <= len(word) <= 14 or not word.isalpha() or word in _NEAR_WORDS:
        return None
    distance, closest = min((_edit_distance(word, name), name) for name in _MISSPELT)
    return _KNOWN[closest] if distance <= 2 else None


def _edit_distance(a: str, b: str) -> int:
    """The optimal string alignment distance of two words."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, previous, row = row, before, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, previous[j - 2] + 1)
            row.append(cost)
    return row[-1]
