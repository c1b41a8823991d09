"""What radiology sentences say of findings: asserted, denied or uncertain, where, how severe, how changed.

ConText's scheme (Harkema et al., 2009): triggers that reach forward or backward to the end of a clause; the terms
follow CheXpert's labeler (Irvin et al., 2019). medspaCy 1.3 has the same scheme, but brings 33 packages and numpy 1.26.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from biomedjourney.rewrite import lexicon


@dataclass(frozen=True)
class Mention:
    """One finding in one clause.

    ``present`` None: uncertain. ``sides``: of right and left. ``severity``: 0 (unsaid) to 3. ``change``: new, worse,
    stable, improved, resolved, or empty where the clause tells none.
    """

    finding: str
    present: bool | None
    sides: frozenset[str] = frozenset()
    severity: int = 0
    change: str = ""


@dataclass(frozen=True)
class _Hit:
    finding: str
    start: int
    end: int
    present: bool | None = True


_TERMS = [(name, re.compile(rf"\b(?:{pattern})\b")) for name, pattern in lexicon.FINDINGS.items()]
_CHANGES = [(name, re.compile(rf"\b(?:{pattern})\b")) for name, pattern in lexicon.CHANGES.items()]
_SEVERITY = re.compile("|".join(rf"\b(?P<r{rank}>{words})\b" for rank, words in lexicon.SEVERITIES.items()))
_RANGE = re.compile(r"\b(trace|tiny|minimal|small|mild|moderate|borderline)(?:-to-| to )(?=\w)\w+")
_SIDES = re.compile(
    r"\b(?P<both>bilateral(?:ly)?|bi(?:basilar|basal|apical)|both|(?:lung )?bases|right (?:and|greater than|"
    r"more than|>) "
    r"(?:the )?left|left (?:and|greater than|more than|>) (?:the )?right|either side)\b|\b(?P<one>left|right)\b"
)
_NEGATION, _POST_NEGATION, _NOT_NEGATION, _UNCERTAIN, _POST_UNCERTAIN, _SCOPE_END, _GONE, _PARTIAL, _RESIDUAL = (
    re.compile(rf"\b(?:{pattern})\b")
    for pattern in (
        lexicon.NEGATION, lexicon.POST_NEGATION, lexicon.NOT_NEGATION, lexicon.UNCERTAIN, lexicon.POST_UNCERTAIN,
        lexicon.SCOPE_END, lexicon.GONE, lexicon.PARTIAL, "residual|remaining",
    )
)  # fmt: skip
_HEART = re.compile(rf"\b(?:{lexicon.HEART})\b")
_HEART_NORMAL, _HEART_LARGE, _HEART_MOVED = (
    re.compile(rf"(?:{pattern})(?!\w)") for pattern in (lexicon.HEART_NORMAL, lexicon.HEART_LARGE, lexicon.HEART_MOVED)
)
_NORMAL_HEART = re.compile(
    rf"\bnormal(?:[- ]sized)?(?: \w+){{0,2}}? (?:{lexicon.HEART})\b|\b(?:{lexicon.HEART_BACK})\b"
)
_CLEAR = [(names, re.compile(rf"\b(?:{pattern})\b")) for names, pattern in lexicon.CLEAR]
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9_])|\n\s*\n|(?:^|(?<=\s))\d+[.)]\s*(?=[A-Z])", re.MULTILINE)
_BREAK = re.compile(r"[;:]\s*|,?\s\b(?:but|however|although|though|whereas|while)\b\s*|,\s+(?:and\s+)?|\s+and\s+")
_ALTERNATIVES = re.compile(
    r"[\w-]+(?: [\w-]+)? or [\w-]+\.?$"
)  # "pleural effusions or pneumothorax": the end of a denial
_VERB, _FINITE = (re.compile(rf"\b(?:{verbs})\b") for verbs in (lexicon.VERB, lexicon.FINITE))
_CONNECTOR = re.compile(r",|\b(?:and|or|with|plus|due to|from|causing)\b")


def sentences(text: str) -> list[str]:
    """The sentences of a report's section in lower case, white space normalised, removed text (___) left out."""
    parts = _SENTENCE.split(text.replace("___", " "))
    return [" ".join(part.split()).lower() for part in parts if part and part.strip()]


@lru_cache(maxsize=1024)
def mentions(text: str) -> tuple[Mention, ...]:
    """Every finding that the text names, in order."""
    return tuple(m for sentence in sentences(text) for clause in _clauses(sentence) for m in _of_clause(clause))


def _clauses(sentence: str) -> list[str]:
    """Splits where both parts have a verb of their own, so that a list of findings stays together."""
    clauses, start = [], 0
    for link in _BREAK.finditer(sentence):
        left, right = sentence[start : link.start()], sentence[link.end() :]
        is_hard = link.group()[0] in ";:"
        if is_hard or (_VERB.search(left) and _starts_clause(left, right, link.group().strip())):
            clauses.append(left)
            start = link.end()
    return [clause for clause in [*clauses, sentence[start:]] if clause]


def _starts_clause(left: str, right: str, link: str) -> bool:
    """Whether what follows a comma, "and" or "but" has its own finding with its own verb."""
    pieces = _BREAK.split(right, maxsplit=2)[:2]
    names = [_names(piece) for piece in pieces]
    if link.strip(", ") not in ("", "and"):
        return names[0]
    if names[0] and _FINITE.search(pieces[0]):
        return not right.startswith("or ")
    joined = link == "and" and len(pieces) == 2 and all(names) and not _VERB.search(pieces[0])
    return joined and not _NEGATION.search(left) and re.search(r"\b(?:are|have)\b", pieces[1]) is not None


def _names(text: str) -> bool:
    return any(term.search(text) for _, term in _TERMS) or _HEART.search(text) is not None


def _of_clause(clause: str) -> list[Mention]:
    hits = _hits(clause)
    are_alternatives = len(hits) > 1 and _ALTERNATIVES.match(clause) is not None
    result = []
    for names, clear in _CLEAR:
        if clear.search(clause):
            result += [Mention(name, False) for name in names]
    for i, hit in enumerate(hits):
        before = clause[hits[i - 1].end if i else 0 : hit.start]
        after = clause[hit.end : hits[i + 1].start if i + 1 < len(hits) else len(clause)]
        near_before = before if i == 0 else _CONNECTOR.split(before)[-1]
        near_after = after if i + 1 == len(hits) else _until_last_connector(after)
        mention = _mention(hit, clause, near_before, near_after, hits)
        result.append(replace(mention, present=None) if are_alternatives and mention.present else mention)
    return result


def _until_last_connector(gap: str) -> str:
    places = [match.start() for match in _CONNECTOR.finditer(gap)]
    return gap[: places[-1]] if places else ""


def _hits(clause: str) -> list[_Hit]:
    """The findings in a clause from left to right; the longer term where two overlap."""
    every = [_Hit(name, m.start(), m.end()) for name, term in _TERMS for m in term.finditer(clause)]
    every += _heart(clause)
    kept: list[_Hit] = []
    for hit in sorted(every, key=lambda h: (h.start - h.end, h.start)):
        if all(hit.end <= other.start or other.end <= hit.start or hit.finding in _TOGETHER for other in kept):
            kept.append(hit)
    kept.sort(key=lambda h: (h.start, h.end))
    return kept


_TOGETHER = ("pleural_effusion", "pneumothorax")  # both named by hydropneumothorax


def _heart(clause: str) -> list[_Hit]:
    """Subject and predicate: the heart is enlarged, or normal, or has become larger or smaller."""
    if normal_heart := _NORMAL_HEART.search(clause):
        return [_Hit("cardiomegaly", normal_heart.start(), normal_heart.end(), False)]
    subject = _HEART.search(clause)
    if not subject:
        return []
    rest = clause[subject.end() :]
    normal, large, moved = (p.match(rest) for p in (_HEART_NORMAL, _HEART_LARGE, _HEART_MOVED))
    if normal and not (large and large.end() < normal.end()):
        return [_Hit("cardiomegaly", subject.start(), subject.end() + normal.end(), False)]
    if large or moved:
        reach = max(match.end() for match in (large, moved) if match)
        return [_Hit("cardiomegaly", subject.start(), subject.end() + reach)]
    return []


def _mention(hit: _Hit, clause: str, before: str, after: str, hits: list[_Hit]) -> Mention:
    name, inside = hit.finding, clause[hit.start : hit.end]
    near_text = f"{before} {inside} {after}" if name == "cardiomegaly" else f"{before} | {after}"
    sides = _sides(name, before, after, clause)
    if hit.present is False:
        is_back_to_normal = re.search(r"\bnow\b|\breturn|\bno longer\b|\bnormali[sz]|\bbecome\b", clause)
        return Mention(name, False, change="resolved" if is_back_to_normal else "")
    is_denied = _denied(clause, hit, hits)
    shared_text = clause if not _has_own_change(near_text) and _one_list(clause, hits) else near_text
    if is_denied:
        return Mention(name, False, sides, 0, "resolved" if _RESIDUAL.search(before) else "")
    if _uncertain(clause, hit):
        return Mention(name, None, sides, _severity(near_text), _change(near_text))
    if _GONE.search(shared_text) and not _PARTIAL.search(shared_text):
        return Mention(name, False, sides, 0, "resolved")
    return Mention(name, True, sides, _severity(near_text), _change(near_text) or _change(shared_text))


def _has_own_change(near_text: str) -> bool:
    return bool(_GONE.search(near_text) or _change(near_text))


def _one_list(clause: str, hits: list[_Hit]) -> bool:
    """Whether the findings are strung together by nothing but commas, "and", and a few words."""
    gaps = [clause[a.end : b.start] for a, b in pairwise(hits)]
    return not any(_VERB.search(gap) for gap in gaps)


def _denied(clause: str, hit: _Hit, hits: list[_Hit]) -> bool:
    before = clause[: hit.start]
    start = max((m.end() for m in _SCOPE_END.finditer(before)), default=0)
    scope = before[start:]
    for trigger in _NEGATION.finditer(scope):
        rest = scope[trigger.end() :]
        if _NOT_NEGATION.match(scope[trigger.start() :]) or _leaves_list(rest, start + trigger.end(), hits):
            continue
        return True
    after = clause[hit.end :]
    if re.match(lexicon.IS_NORMAL, after):
        return True
    end = _SCOPE_END.search(after)
    after = after[: end.start()] if end else after
    post = _POST_NEGATION.search(after)
    return post is not None and not _VERB.search(after[: post.start()])


def _leaves_list(rest: str, offset: int, hits: list[_Hit]) -> bool:
    """Whether between a negation and a finding another finding has its verb, or a new phrase begins."""
    ends = [h.end - offset for h in hits if offset < h.end <= offset + len(rest)]
    return bool(ends) and bool(
        _FINITE.search(rest[ends[0] :]) or re.search(rf",[^,]*\b(?:{lexicon.PHRASE_START})\b", rest[ends[-1] :])
    )


def _uncertain(clause: str, hit: _Hit) -> bool:
    before, after = clause[: hit.start], clause[hit.end :]
    start = max((m.end() for m in _SCOPE_END.finditer(before)), default=0)
    if _UNCERTAIN.search(before[start:]):
        return True
    if re.match(r"(?:\W+\w+){0,3}?\W+(?:versus|vs)\b", after):
        return True
    post = _POST_UNCERTAIN.search(after)
    return post is not None and not any(term.search(after[: post.start()]) for _, term in _TERMS)


def _change(text: str) -> str:
    for name, pattern in _CHANGES:
        for match in pattern.finditer(text):
            if not re.search(r"\b(?:no|not|without)(?:\s+\w+){0,2}\s+$", text[: match.start()]) or name == "stable":
                return name
    return ""


def _severity(text: str) -> int:
    """The rank of the last degree named; of a range the lower end."""
    text = _RANGE.sub(r"\1", text)
    ranks = [int(match.lastgroup[1:]) for match in _SEVERITY.finditer(text) if match.lastgroup]
    return ranks[-1] if ranks else 0


def _sides(name: str, before: str, after: str, clause: str) -> frozenset[str]:
    if name not in lexicon.SIDED:
        return frozenset()
    for text in (before, after, clause):
        sides: set[str] = set()
        for match in _SIDES.finditer(text):
            sides |= {"left", "right"} if match["both"] else {match["one"]}
        if sides:
            return frozenset(sides)
    return frozenset()
