"""The sections of a chest X-ray report in MIMIC-CXR's layout.

A header is a phrase at the start of a line, followed by a colon, in upper or lower case. More phrases are headers in
capitals than in lower case, because a line of running text may begin with "chest:". The name of a main section is a
header without a colon too, if it stands alone on its line, or if a dash, a full stop or a gap follows it in capitals;
and within a line, in capitals after a sentence or a gap. The other rules are:

- Text under a combined header ("FINDINGS AND IMPRESSION:") belongs to each section that the header names.
- A header that says how the film was taken ("PORTABLE AP CHEST:") introduces findings.
- Headers of other kinds ("RECOMMENDATION:", "NOTIFICATION:", "ADDENDUM:") end a section, and their text is left out.
  An unknown phrase ("LUNGS:") is not a header: it belongs to the section around it.
- What was read before the final report ("WET READ: ABCd MON 3:12 PM", "PROVISIONAL FINDINGS IMPRESSION (PFI): ...",
  "PRELIMINARY REPORT") is a section of its own, with its initials and times. It is left out, even where it is all that
  there is: the radiologist who answers for the report has not written it. Where findings or an impression begin anew
  after it, those before them are of the preliminary reading.
- A line of underscores, "FINAL REPORT", "PRELIMINARY REPORT" and "FINAL ADDENDUM" divide the file into parts. The
  report is the last part that has findings or an impression; an addendum is used only if no other part has them. A part
  that begins as a preliminary one is left out whole if another part follows. All other parts are left out too.
- Several blocks of one name are joined. A header without text adds nothing.
- If no header names findings, they are looked for in the last section before the impression: its first paragraph
  belongs to its header, the paragraphs after it are the findings. A text without any header is findings, except for
  titles at its start. These two rules do not apply to an addendum.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz.distance import OSA

FINDINGS, IMPRESSION, COMPARISON = "findings", "impression", "comparison"
INDICATION, TECHNIQUE, EXAMINATION, OTHER = "indication", "technique", "examination", "other"
PRELIMINARY = "preliminary"

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
    IMPRESSION: "impression|impressions|final impression|overall impression|conclusion|conclusions|opinion",
    COMPARISON: "comparison|comparisons|comparison exam|comparison exams|comparison film|comparison films"
    "|comparison study|comparison studies|reference exam|reference examination",
    INDICATION: "indication|indications|history|clinical history|clinical indication|clinical indications"
    "|clinical information|patient history|reason for exam|reason for examination|reason for the exam"
    "|reason for study|reason for indication",
    TECHNIQUE: "technique|techniques",
    EXAMINATION: "examination|type of examination|type of exam",
    OTHER: "recommendation|recommendations|recommendation(s)"
    "|notification|notifications|addendum|final report|dictated by|transcribed by|signed by|electronically signed by"
    "|read by|interpreted by|reviewed by|approved by|attending radiologist|critical result|critical results",
}
# Phrases that are headers only in capitals: in lower case they occur in running text.
_CAPITALS = {
    FINDINGS: "report|main report|bone windows",
    IMPRESSION: "summary|imp",
    COMPARISON: "prior exam|prior study|prior studies|compare",
    INDICATION: "interval history|additional clinical history provided|clinic indication|reason of exam",
    EXAMINATION: "exam|study|date|date of exam|time|procedure",
    OTHER: "note|please note|technologist's note|communication|end of impression|end of report|summary code|attending"
    "|comment|comments|procedure details|cc|accession number|anesthesia|medications|contrast"
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

# What a preliminary section is called. In lower case only a wet read may have more words before its colon.
_WET_READ = r"wet[ -]?read(?:s|ing)?"
_BEFORE_FINAL = (
    rf"(?:{_WET_READ}|(?:provisional|prelim(?:inary)?) (?:findings?(?:(?: and |/| )impressions?)?|impressions?"
    r"|read(?:ing)?|report|interpretation|results?)"
    r"|(?:resident|overnight|nighthawk|initial|stat|e[dr]) (?:read(?:ing)?|impression|interpretation)|pfi)"
)
_PRELIMINARY_NAME = re.compile(rf"\b{_BEFORE_FINAL}\b|^(?:prelim(?:inary)?|provisional)$")
_PRELIMINARY_PHRASE = re.compile(rf"{_WET_READ}\b.*|{_BEFORE_FINAL}(?: \(pfi\))?|prelim(?:inary)?|provisional")

# The pattern begins with the line break before the header, because a search for a fixed first character is several
# times faster. Its repeats are possessive (a + after the count): otherwise a line without a colon is tried again letter
# by letter. The repeat of the group is not possessive: before Python 3.11.5 that loses matches (python/cpython issue
# 106052).
_MAIN = "FINDINGS|IMPRESSION|CONCLUSION|COMPARISON|INDICATION|TECHNIQUE"
_HEADER = re.compile(
    r"\n[^\S\n]*+(?P<mark>[*#_>\[(-]{1,12}+[^\S\n]*+|\d{1,2}[.)][^\S\n]++)?(?:"
    rf"(?P<preliminary>(?:{_BEFORE_FINAL.upper()}|Wet [Rr]ead [Vv]ersion)\b)(?![.,;]|[^\S\n]+(?!by\b)[a-z])"
    r"|(?P<closing>Electronically (?:signed|approved)|ELECTRONICALLY (?:SIGNED|APPROVED)"
    r"|ADDENDUM\b(?![.,;]|[^\S\n]+(?!to\b|by\b)[a-z]))"
    rf"|(?P<bare>(?:{_MAIN}|(?:{_MAIN.title()}|[A-Z]{{7,14}})(?=[*_\])\s]*?(?:\n|$)))[*_\])]*)"
    r"(?:[^\S\n]*[-;.]?[^\S\n]*(?:\n[^\S\n]*:|(?=\n|$))|[^\S\n]*(?:[.;]|-{1,3}|[–—])[^\S\n]++|[^\S\n]{2,}+(?!:)"
    r"|[^\S\n](?=[A-Z][a-z]|\d{1,2}[.)]))"
    r"|(?P<name>[A-Za-z][^:\n]{1,90}+(?:(?<=\d):(?=\d)[^:\n]*+){0,2})(?:(?<!\d):|:(?!\d)):*(?:[*_]{1,3}(?=\s))?)"
)
_DIVIDER = re.compile(
    r"\n[^\S\n]*(?:_{8,}|(?:FINAL REPORT|Final Report):?|(?P<preliminary>PRELIMINARY REPORT|Preliminary Report)"
    r"|(?P<addendum>FINAL ADDENDUM:?))"
    r"[^\S\n]*(?=\n|$)"
)
_NAME_WITHIN = re.compile(
    rf"(?:[.!?][ \t]+|[ \t]{{2,}})((?:FINDINGS(?: AND |/))?IMPRESSION|{_MAIN}|RECOMMENDATION(?:S|\(S\))?|NOTIFICATION)$"
    r"|[.!?][ \t]+(Findings|Impression)$"
)
_PRELIMINARY_WITHIN = re.compile(r"(?<=\s)(?:WET READ(?=:|\s+VERSION|\s+\()|PROVISIONAL FINDINGS IMPRESSION)")
LONGEST_NAME_WITHIN = 40  # characters before a colon that are searched for a header inside a line
_RULES = re.compile(r"(?:[-=~*]{3,}[^\S\n]*(?:\n\s*|$))+")
_PARAGRAPHS = re.compile(r"\n[^\S\n]*\n")


def split_report(text: str) -> ReportSections:
    """The sections of a report by the rules at the top of this module. Never raises, for any text."""
    text = "\n" + text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    text = text.replace("\xa0", " ").replace("：", ":")
    parts = [(is_addendum, _split_part(part)) for part, is_addendum in _divide(text)][::-1]
    parts.sort(key=lambda part: part[0])  # the last part first, addenda after all others
    for is_enough in (_has_main_section, _has_any_text):
        for is_addendum, blocks in parts:
            if is_enough(blocks):
                return _join(blocks if is_addendum else _find_unnamed(blocks))
    return ReportSections()


def _divide(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a file between the dividers, and whether each is an addendum; without the preliminary ones."""
    start, title = 0, ""
    for divider in _DIVIDER.finditer(text):
        part = text[start : divider.start()]
        if title != PRELIMINARY and not _begins_preliminary(part):
            yield from _part(part, title)
        start, title = divider.end(), divider.lastgroup or ""
    if title != PRELIMINARY:
        yield from _part(text[start:], title)


def _begins_preliminary(part: str) -> bool:
    header = _HEADER.match("\n" + part.lstrip())
    return header is not None and PRELIMINARY in _header_kinds(header)


def _part(text: str, title: str) -> Iterator[tuple[str, bool]]:
    if text.strip():
        yield text, title == "addendum" or text.lstrip().lstrip("*")[:8].upper() == "ADDENDUM"


Blocks = list[tuple[tuple[str, ...], str]]


def _split_part(text: str) -> Blocks:
    """The blocks of a part in order: the kinds of section in the header (none for the first block), and the text."""
    headers = [(*match.span(), _header_kinds(match)) for match in _HEADER.finditer(text)]
    headers = [header for header in headers if header[2]]
    if text.count(":") > len(headers):
        headers = sorted([*headers, *_headers_within(text, {header[1] for header in headers})])
    blocks: Blocks = []
    kinds: tuple[str, ...] = ()
    start = 0
    for begin, end, next_kinds in headers:
        is_part = len(kinds) > 1 and text[begin] != "\n" and set(next_kinds) < set(kinds)  # "... Impression: ..."
        if begin >= start and not is_part:
            blocks.append((kinds, _body(text[start:begin])))
            kinds, start = next_kinds, end
    blocks.append((kinds, _body(text[start:])))
    return blocks


def _body(text: str) -> str:
    """The text of a block, without a rule of dashes or the like below its header."""
    text = text.strip()
    return _RULES.sub("", text, count=1).strip() if text[:1] in "-=~*" and _RULES.match(text) else text


def _header_kinds(match: re.Match[str]) -> tuple[str, ...]:
    """The kinds of section that a match of `_HEADER` names; empty if it is no header."""
    form = match.lastgroup
    if form == "preliminary":
        return (PRELIMINARY,)
    if form == "closing":
        return (OTHER,)
    name, mark = match[form or 0], match["mark"]
    if mark and mark[0] not in "*#" and name.upper() != name:
        return ()  # an item of a list, or words in brackets
    kinds = _kinds(name)
    return kinds if form == "name" or {*_SECTIONS, EXAMINATION}.issuperset(kinds) else ()


def _headers_within(text: str, ends: set[int]) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Begin, end and kinds of headers inside a line: after a sentence or a gap, preliminary ones after any word.

    ``ends``: where the headers at the starts of lines end.
    """
    colon = text.find(":")
    while colon >= 0:
        if colon + 1 not in ends and not text[colon - 1].isdigit():
            name = _NAME_WITHIN.search(text[max(0, colon - LONGEST_NAME_WITHIN) : colon])
            if name:
                named = name[1] or name[2]
                yield colon - len(named), colon + 1, _kinds(named)
        colon = text.find(":", colon + 1)
    if "WET READ" in text or "PROVISIONAL" in text:
        for match in _PRELIMINARY_WITHIN.finditer(text):
            yield *match.span(), (PRELIMINARY,)


def _has_main_section(blocks: Blocks) -> bool:
    return any(body and (FINDINGS in kinds or IMPRESSION in kinds) for kinds, body in blocks)


def _has_any_text(blocks: Blocks) -> bool:
    return any(body for kinds, body in blocks if PRELIMINARY not in kinds)


def _join(blocks: Blocks) -> ReportSections:
    sections: dict[str, str] = {}
    given: frozenset[str] = frozenset()  # the sections before a preliminary one, which may have headers of its own
    is_after_preliminary, last_kinds = False, tuple[str, ...]()
    for kinds, body in blocks:
        if PRELIMINARY in kinds:
            given, is_after_preliminary = frozenset(sections), True
        for kind in kinds if body else ():
            if kind in _SECTIONS and kind not in given:
                begins_anew = is_after_preliminary and kind not in last_kinds  # what stands before was preliminary too
                sections[kind] = f"{sections[kind]}\n{body}" if kind in sections and not begins_anew else body
        last_kinds = kinds
    return ReportSections(**sections)


def _find_unnamed(blocks: Blocks) -> Blocks:
    """Marks the findings of a report that has no header for them."""
    if any(FINDINGS in kinds for kinds, _ in blocks):
        return blocks
    end = next((i for i, (kinds, _) in enumerate(blocks) if IMPRESSION in kinds), len(blocks))
    last = max((i for i, (kinds, _) in enumerate(blocks[:end]) if not {OTHER, PRELIMINARY} & set(kinds)), default=None)
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
    name = name.rstrip("*_] " if "(" in name else "*_)] ")
    capitals = name.upper() == name
    phrase = " ".join(name.lower().split())
    if (_PRELIMINARY_NAME.search if capitals else _PRELIMINARY_PHRASE.fullmatch)(phrase):
        return (PRELIMINARY,)
    kinds_by_phrase = _KNOWN_IN_CAPITALS if capitals else _KNOWN
    if phrase in kinds_by_phrase:
        return (kinds_by_phrase[phrase],)
    pieces = [piece.strip() for piece in re.split(r"\band\b|[/&,+]", phrase)]
    kinds = [kinds_by_phrase.get(piece) or _misspelt(piece) for piece in pieces]
    if None not in kinds:
        return tuple(dict.fromkeys(kind for kind in kinds if kind))
    words = re.findall(r"[a-z]+", phrase)
    if capitals and (len(words) > 1 or "addendum" in words):
        for word in ("addendum", *_WORDS):
            if word in words:
                return (_KNOWN.get(word, OTHER),)
    if not capitals and (unqualified := phrase.partition(" (")[0]) in _KNOWN and phrase.endswith(")"):
        return (_KNOWN[unqualified],)
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
    distance, closest = min((OSA.distance(word, name), name) for name in _MISSPELT)
    return _KNOWN[closest] if distance <= 2 else None
