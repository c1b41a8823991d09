"""The text of a report for a model: which section it is taken from, and how it is cleaned.

An Impression may say nothing by itself ("As above.", "See findings.", "None."), and so may Findings ("See
impression."). Other Impressions tell only that nothing changed ("Unchanged.", "No significant interval change."),
which a single film cannot show. A sentence is of the first kind if all its words are words of pointing, and of the
second if all are words of pointing or of comparing. A heading in front ("Chest: as above.") does not matter, nor whom
the report was told to. One word of anything else ("Stable cardiomegaly.") makes it neither.
"""

import re

# Each pattern begins with one character or a set of characters: that makes the search several times faster. The
# character \0 marks in between where an identifier was.
_REMOVED = re.compile(r"_{2,}[-/]{0,2}")
_JOINED = re.compile(r"[-/#]{1,2}\0")
_NOTHING_IN_BRACKETS = re.compile(r"[(\[][\s,;:./#-]*[)\]]")
_STRAY_MARKS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[,;:]+(?=[,;:.!?])", ""),
        (r"([.!?])\.+", r"\1"),
        (r"([(\[])[,;:.]+ *", r"\1"),
        (r"[,;:]+(?=[)\]])", ""),
    )
)
_WORD = re.compile(r"[A-Za-z]{2}")

LONGEST_WITHOUT_CONTENT = 200  # characters; longer texts are not looked at
_REFERRING = frozenset(
    re.findall(
        r"\w+",
        """above below same ibid ditto as see refer referred reference referenced per described discussed noted detailed
        stated mentioned reported outlined listed dictated given documented provided summarized summarised
        abovementioned aforementioned communicated telephoned phoned called paged relayed conveyed indicated shown seen
        enumerated written recorded interpreted attached supra infra vide cf""",
    )
)
_POINTING = _REFERRING | frozenset(
    re.findall(
        r"\w+",
        """body report reports findings finding impression impressions conclusion conclusions section sections text
        narrative summary description discussion detail details comment comments information addendum please pls kindly
        to the of in on at for from under and also this these that which is are was were be been has have full more
        further additional complete main entire separate separately dedicated final cxr ct exam examination study chest
        radiograph film prior previous concurrent subsequent day date dr md with by phone telephone pager page time am
        pm hours minutes after discovery team physician clinician nurse referring ordering emergency department he she
        they who result results critical person verbally directly dictation paragraph portion part remarks note notes
        read reading thank you thanks clinical clinically correlation correlate recommended advised suggested x ray
        s a p m via interpretation interpretations result radiology radiologist attending official preliminary wet pfi
        performed obtained acquired concurrently accompanying before previously formerly follows multiple several
        various numerous recommendations abdomen abdominal torso thorax pelvis neck""",
    )
)
_CHANGING = frozenset(
    re.findall(r"\w+", "unchanged unaltered stable stability change changes changed same identical similar difference")
)
_COMPARING = (_CHANGING - {"same"}) | frozenset(
    re.findall(
        r"\w+",
        """no not without any new interval significant significantly substantial substantially relevant appreciable
        gross grossly major acute evidence definite obvious essentially largely overall basically relatively generally
        otherwise remains remain remained appears appear again since last earlier recent most yesterday today compared
        comparison compare comparing with than there it all its appearance appearances radiographs films exams studies
        examinations images image radiographic radiographically little minimal very marked noticeable dramatic
        considerable short over past two three one hour hours day days week weeks month months ago""",
    )
)
_NOTHING = re.compile(
    r"none(?: (?:given|provided|stated|recorded|dictated|entered|available))?|n ?a|nil|tbd|blank|deferred"
    r"|not (?:applicable|available|given|provided|dictated|stated|recorded)"
    r"|(?:(?:final |full |formal |official )?(?:dictation|report|read|interpretation) )?(?:is )?(?:to follow|pending)"
    r"|await(?:ing)? (?:final |full |formal |official )?(?:dictation|report|read|interpretation)"
    r"|no (?:(?:separate|further|additional|formal) )?(?:impression|comments?|conclusion|opinion|dictation)"
    r"(?: (?:was )?(?:given|provided|stated|recorded|dictated|entered|available))?"
    r"|nothing(?: (?:further|more|else))?(?: to add)?"
)
_NUMBERING = re.compile(r"(?:^|(?<=\s))(?:(?:\d{1,2}|[a-h])[.)]|\((?:\d{1,2}|[a-h])\)|[-*•])(?=\s|$)")


def clean(text: str) -> str:
    """The text on one line, without ``___`` (removed identifiers) and the punctuation and brackets left around them."""
    if "__" in text:
        text = " ".join(_REMOVED.sub("\0", text).split())
        text = _NOTHING_IN_BRACKETS.sub(" ", _JOINED.sub(" ", text).replace("\0", " "))
        text = " ".join(text.split())
        for mark in ".,;:!?)]":
            text = text.replace(f" {mark}", mark)
        text = text.replace("( ", "(").replace("[ ", "[")
        for pattern, replacement in _STRAY_MARKS:
            text = pattern.sub(replacement, text)
        text = text.strip().lstrip(",;:.-/)] ")
    return " ".join(text.split())


def is_usable(text: str) -> bool:
    """Whether a cleaned text says anything: it has a word of at least two letters."""
    return _WORD.search(text) is not None


def report_text(*sections: str) -> str:
    """The cleaned text of the first section that says something by itself.

    Where none does, that of the first one which tells that nothing changed; otherwise empty. ``sections`` are the
    texts of a report's sections as found, the preferred one first, such as its Impression and its Findings.
    """
    unchanged = ""
    for text in map(clean, sections):
        if is_usable(text):
            content = _content(text)
            if content is None:
                return text
            unchanged = unchanged or (text if content else "")
    return unchanged


def _content(text: str) -> bool | None:
    """False if a cleaned text says nothing by itself, True if only that nothing changed, None if it says more."""
    if len(text) > LONGEST_WITHOUT_CONTENT:
        return None
    refers = is_unchanged = False
    for sentence in re.split(r"[.;:!?]+(?:\s|$)", _NUMBERING.sub(" ", text.lower())):
        words = re.findall(r"[a-z]+", sentence)
        if _NOTHING.fullmatch(" ".join(words)):
            refers = True
        elif _POINTING.issuperset(words):
            refers = refers or not _REFERRING.isdisjoint(words)
        elif (_POINTING | _COMPARING).issuperset(words) and not _CHANGING.isdisjoint(words):
            is_unchanged = True
        else:
            return None
    return is_unchanged if refers or is_unchanged else None
