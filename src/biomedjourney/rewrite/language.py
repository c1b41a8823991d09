"""What radiology sentences say of findings: asserted, denied or uncertain, where, how severe, how changed.

A compact cousin of NegEx (Chapman et al., 2001) and CheXpert's labeler (Irvin et al., 2019): triggers with a scope that
ends at a clause. medspaCy and negspaCy bring spaCy and its models, half a gigabyte, for the same rules.
"""

import re
from dataclasses import dataclass

SEVERITIES = {
    1: r"trace|tiny|minimal(?:ly)?|minor|slight(?:ly)?|faint|subtle|small|mild(?:ly)?|little|borderline",
    2: r"moderate(?:ly)?|medium(?:[- ]sized)?",
    3: r"large|severe(?:ly)?|marked(?:ly)?|massive|extensive|dense|substantial|gross(?:ly)?|big|sizable|prominent",
}

FINDINGS: dict[str, str] = {
    "pleural_effusion": r"(?:hydro(?=pneumo)|effusions?|pleural fluid|fluid in the pleural|hydrothorax|"
    r"blunt(?:ing|ed)(?: of)?(?: the)?(?: \w+)?(?: \w+)? (?:costophrenic|cp|costodiaphragmatic))",
    "cardiomegaly": r"(?:cardiomegaly|"
    r"(?:heart(?: size)?|cardiac(?: silhouette| size| shadow)?|cardio(?:mediastinal|pericardial) silhouette)"
    r"(?: \w+){0,4}? (?:enlarged|enlargement|prominent|increased|bigger|larger|big)|"
    r"(?:enlarged|enlargement|enlarging|big|prominent|large|bigger|larger)(?: \w+){0,3}? "
    r"(?:heart|cardiac|cardio\w+ silhouette))",
    "consolidation": r"(?:consolidations?|consolidative|air[- ]?space (?:disease|opacit\w+)|air bronchograms?)",
    "edema": r"(?:(?:o?edema)|vascular congestion|pulmonary congestion|venous congestion|interstitial fluid|kerley|"
    r"fluid overload|cephali[sz]ation|(?:cardiac|heart) failure|chf)",
    "pneumothorax": r"(?:pneumothora(?:x|ces)|pneumothoraxes|visceral pleural line|(?<=hydro)pneumothora(?:x|ces))",
    "atelectasis": r"(?:atelecta\w+|volume loss|(?:lobar|lung) collapse)",
    "pneumonia": r"(?:pneumonias?|infectious process|infectious infiltrate)",
    "lung_opacity": r"(?:opacit(?:y|ies)|opacification|infiltrates?|haziness)",
    "lung_lesion": r"(?:nodules?|mass(?:es)?|lesions?|granulomas?)",
    "fracture": r"fractures?",
    "picc": r"(?:piccs?|peripherally inserted central)",
    "central_line": r"(?:(?:central|jugular|subclavian|ij)(?: \w+){0,2}? (?:line|catheter)s?|central lines?|swan-?ganz|"
    r"port-?a-?cath)",
    "endotracheal_tube": r"(?:(?:endotracheal|et) tubes?|intubat\w+)",
    "enteric_tube": r"(?:nasogastric|ng|enteric|orogastric|feeding|dobbhoff|nasoenteric) tubes?",
    "chest_tube": r"(?:chest tubes?|pleural (?:tube|drain|catheter)s?|pigtail catheters?|thoracostomy tubes?)",
    "pacemaker": r"(?:pacemakers?|pacer|pacing|defibrillators?|icd|aicd)",
}
DEVICES = ("picc", "central_line", "endotracheal_tube", "enteric_tube", "chest_tube", "pacemaker")
SIDED = (
    "pleural_effusion", "consolidation", "pneumothorax", "atelectasis", "pneumonia", "lung_opacity", "lung_lesion",
    "fracture", "picc", "central_line", "chest_tube",
)  # fmt: skip

_NEGATION = (
    r"\b(?:no|without|not|nor|neither|negative for|free of|absence of|clear of|lack of|never|"
    r"(?:rules?|ruled|ruling) out|(?:no|without)(?: \w+){0,2}? (?:evidence|sign|indication|suggestion)s? (?:of|for))\b"
)
_SCOPE_END = r"\b(?:but|however|although|though|except|aside from|apart from|other than|whereas|while|yet|now)\b|[;:]"
_GONE = (
    r"\b(?:resol(?:ved|ution)|cleared|clearing of|clearance|disappear\w*|gone|no longer|"
    r"not (?:seen|present|visible|identified|visuali[sz]ed|evident|apparent)|"
    r"removed|removal|withdrawn|taken out|re-?expan\w+|excluded|normali[sz]ed|"
    r"is absent|are absent)\b"
)
_UNCERTAIN = (
    r"\b(?:may|might|could|possibl[ey]|probabl[ey]|question(?:able)?|suspect\w*|suspicio\w+|equivocal|"
    r"cannot (?:be )?exclude\w*|can ?not (?:be )?(?:exclude|rule)\w*|not (?:be )?(?:entirely |completely )?excluded|"
    r"difficult to exclude|versus|vs\.?|"
    r"suggest\w*|concern\w*|(?:un)?likely|potential\w*|perhaps|appears? to be|differential)\b"
)
_CHANGES = {
    "new": r"\b(?:new(?:ly)?|interval (?:development|appearance|placement|insertion)|has developed|have developed|"
    r"developed since|now (?:present|seen)|appeared|not (?:seen|present) (?:previously|before))\b",
    "worse": r"\b(?:increas\w+|larger|enlarg(?:ing|ed since|ement since)|wors\w+|progress\w+|"
    r"more (?:extensive|prominent|severe|pronounced|conspicuous|dense|marked)|"
    r"grow[ns]?|growth|grew|greater|bigger|expanded|extended|aggravat\w+|denser)\b",
    "improved": r"\b(?:decreas\w+|smaller|improv\w+|diminish\w+|"
    r"less (?:extensive|prominent|severe|pronounced|conspicuous|dense|marked)|"
    r"reduc\w+|resolving|lessen\w+|receded|regress\w+|partial(?:ly)? (?:clear\w*|resol\w*)|shrunk\w*|subsid\w+|"
    r"nearly resolved|almost resolved)\b",
    "stable": r"\b(?:unchanged|stable|stably|persist\w*|similar|again (?:seen|noted|demonstrated)|remains?|constant|"
    r"(?:no|without)(?: \w+){0,2}? change|as before|not (?:significantly )?changed|redemonstrat\w+|continu\w+|still|"
    r"re-?identified)\b",
}
_PARTIAL = re.compile(r"\b(?:partial(?:ly)?|near(?:ly)?|almost|incomplete(?:ly)?|resolving)\b")
_REGEX = {name: re.compile(pattern) for name, pattern in _CHANGES.items()}
_TERMS = {name: re.compile(r"\b" + pattern + r"\b") for name, pattern in FINDINGS.items()}
_SEVERE = {rank: re.compile(rf"\b(?:{words})\b") for rank, words in SEVERITIES.items()}
_SIDE_WORDS = re.compile(r"\b(bilateral(?:ly)?|bibasilar|both|biapical|left|right|left-sided|right-sided)\b")
_NORMAL_HEART = re.compile(
    r"\b(?:heart|cardiac|cardio\w*)(?: \w+){0,4}? (?:is |are |remains? |within |now )*"
    r"(?:normal|unremarkable|within normal|not enlarged|top[- ]normal|upper limits)"
    r"|\bnormal(?: \w+){0,2}? (?:heart|cardiac|cardio\w*)"
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])|\n\s*\n|(?<=\.)\s*\d+[.)]\s+|^\s*\d+[.)]\s+", re.MULTILINE)
_CLAUSE = re.compile(r"(?<=[;:])|\b(?:but|however|although|whereas|while)\b")


@dataclass(frozen=True)
class Mention:
    """One finding in one clause.

    ``present`` None: uncertain. ``sides``: of right and left. ``severity``: 0 (unsaid) to 3.
    """

    finding: str
    present: bool | None
    sides: frozenset[str] = frozenset()
    severity: int = 0
    change: str = ""


def sentences(text: str) -> list[str]:
    """The sentences of a report's section in lower case, white space normalised, removed text (___) left out."""
    parts = _SENTENCE.split(text.replace("___", " "))
    return [" ".join(part.split()).lower() for part in parts if part and part.strip()]


def mentions(text: str) -> list[Mention]:
    """Every finding that the text names, in order."""
    found = []
    for sentence in sentences(text):
        for clause in _CLAUSE.split(sentence):
            found += _of_clause(clause)
    return found


def _of_clause(clause: str) -> list[Mention]:
    hits = sorted(
        ((match.start(), match.end(), name) for name, term in _TERMS.items() for match in term.finditer(clause)),
        key=lambda hit: hit[:2],
    )
    found = []
    normal_heart = _NORMAL_HEART.search(clause)
    if normal_heart:
        found.append(Mention("cardiomegaly", False, change="resolved" if "now" in clause or "return" in clause else ""))
    for i, (start, end, name) in enumerate(hits):
        if name == "cardiomegaly" and normal_heart:
            continue
        before = hits[i - 1][1] if i else 0
        after = hits[i + 1][0] if i + 1 < len(hits) else len(clause)
        found.append(_mention(name, clause, start, end, before, after))
    return found


def _mention(name: str, clause: str, start: int, end: int, before: int, after: int) -> Mention:
    own = clause[before:after]
    denied = _denied(clause[:start], clause[end:])
    gone = re.search(_GONE, own) is not None and not _PARTIAL.search(own)
    gone = gone or (
        re.search(_GONE, clause[end:]) is not None and not _PARTIAL.search(clause[end:]) and after == len(clause)
    )
    uncertain = re.search(_UNCERTAIN, clause) is not None
    change = _change(own) or _change(clause)
    if gone and not denied:
        return Mention(name, False, _sides(name, clause, start, before, after), 0, "resolved")
    if uncertain and not (denied and not re.search(r"exclude", clause)):
        return Mention(name, None, _sides(name, clause, start, before, after), _severity(own), change)
    if denied:
        return Mention(name, False, _sides(name, own, start - before, 0, len(own)))
    return Mention(name, True, _sides(name, clause, start, before, after), _severity(own), change)


def _denied(before: str, after: str) -> bool:
    scope = re.split(_SCOPE_END, before)[-1]
    triggers = list(re.finditer(_NEGATION, scope))
    triggers = [
        t
        for t in triggers
        if not re.match(r"\s*(?:\w+\s+){0,2}?(?:change|longer|larger|smaller|increase)", scope[t.end() :])
    ]
    return bool(triggers)


def _change(text: str) -> str:
    for name in ("new", "worse", "improved", "stable"):
        match = _REGEX[name].search(text)
        if match and not re.search(r"\b(?:no|not|without)\s+(?:\w+\s+){0,1}$", text[: match.start()]):
            return name
    return ""


def _severity(text: str) -> int:
    ranks = [(match.start(), rank) for rank, words in _SEVERE.items() for match in words.finditer(text)]
    return max(ranks)[1] if ranks else 0


def _sides(name: str, clause: str, start: int, before: int, after: int) -> frozenset[str]:
    if name not in SIDED:
        return frozenset()
    near = _SIDE_WORDS.findall(clause[before:start]) or _SIDE_WORDS.findall(clause[start:after])
    near = near or _SIDE_WORDS.findall(clause)
    sides: set[str] = set()
    for word in near:
        sides |= {"right"} if word[0] == "r" else {"left"} if word[0] == "l" else {"left", "right"}
    return frozenset(sides)
