"""Why a text may not do what its writer expects of a model."""

import re
from collections.abc import Callable, Iterable

from biomedjourney.phantom.findings import FINDINGS
from biomedjourney.rewrite.language import Mention, mentions
from biomedjourney.rewrite.rules import NOUNS
from biomedjourney.rewrite.spans import spans_of
from biomedjourney.rewrite.spelling import sentences

# What the phantom draws, and the pneumonia that its reports make of a consolidation.
DRAWN = (*FINDINGS, "pneumonia", "central_line", "endotracheal_tube", "picc", "pacemaker")
EXAMPLE = '"new small left pleural effusion"'
# The pathology judge's probability below which a film does not show a finding. On 931 phantom films of validation and
# test patients, at most 1.4 % of those that show one of the five findings are below, and 52 to 95 % of the others.
UNLIKELY = 0.1
MOST_UNKNOWN = 0.5  # of the words of a text; more of them unknown, and it is hardly English
# Words that tell no finding by themselves; the lexicon knows some of them as parts of longer expressions alone.
PLAIN_WORDS = frozenset(
    (
        *("a", "an", "and", "are", "as", "at", "been", "both", "but", "by", "for", "from", "has", "have", "in", "into"),
        *("is", "it", "its", "more", "most", "now", "of", "on", "or", "otherwise", "over", "than", "that", "the"),
        *("there", "this", "to", "was", "which", "while", "with", "within", "appearance", "base", "bases", "chest"),
        *("field", "fields", "interval", "lobe", "lobes", "lower", "lung", "lungs", "middle", "region", "side"),
        *("sided", "size", "upper", "zone", "zones"),
    )
)
GOES_ON = ("resolved", "improved", "stable", "still")  # what becomes of a finding that was there before


def cautions(text: str, phantom: bool, reading: Callable[[], dict[str, float]] | None) -> list[str]:
    """One sentence for each reason why the text may be outside of the language that the model learned.

    ``phantom``: whether the model learned from the phantom, which shows few findings. ``reading``: gives the
    probability of each finding in the prior, by a judge; it is called only where the text says that a finding went, or
    is there still. None: there is no judge, and this is not looked at.
    """
    if not text:
        return [f"the text is empty, so that nothing is asked for: describe what changes, as {EXAMPLE}"]
    told = mentions(text)
    unknown = _unknown_words(text)
    result = []
    if not told and not _tells_change(text):
        if len(unknown) > MOST_UNKNOWN * len(_words(text)):
            result.append(f"{_hardly_english(unknown)}: write it as {EXAMPLE}")
        else:
            result.append(f"the text names no finding that the reader of reports knows: write it as {EXAMPLE}")
    elif len(unknown) > MOST_UNKNOWN * len(_words(text)):
        result.append(f"{_hardly_english(unknown)}: only the rest may have an effect")
    if phantom:
        strange = [_noun(name) for name in _names(told) if name not in DRAWN]
        if strange:
            result.append(
                f"the model learned from the phantom, which does not show {_and(strange)}: "
                f"it knows {_and(_nouns(DRAWN))}"
            )
    went = [mention for mention in told if _goes_on(mention)]
    if went and reading is not None:
        result += _absent(went, reading())
    return result


def _absent(went: list[Mention], probabilities: dict[str, float]) -> list[str]:
    return [
        f"the text says {_noun(name)} was there before, but the film does not show it (the pathology judge gives "
        f"{probabilities[name]:.2f})"
        for name in _names(went)
        if probabilities.get(name, 1.0) < UNLIKELY
    ]


def _goes_on(mention: Mention) -> bool:
    return mention.change in GOES_ON and mention.present is not None


def _hardly_english(unknown: list[str]) -> str:
    return f"the text is hardly English of radiology reports, which the model learned from ({_and(unknown[:3])})"


def _tells_change(text: str) -> bool:
    """Whether the text tells of the whole picture how it changed, as "no significant change" does."""
    return any(span.kind == "change" for sentence in sentences(text) for span in spans_of(sentence))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]{2,}", text.lower())


def _unknown_words(text: str) -> list[str]:
    """The words that neither the lexicon nor `PLAIN_WORDS` knows."""
    result = []
    for sentence in sentences(text):
        covered = [(span.start, span.end) for span in spans_of(sentence)]
        for word in re.finditer(r"[^\W\d_]{2,}", sentence):
            known = any(start <= word.start() < end for start, end in covered)
            if not known and word[0] not in PLAIN_WORDS:
                result.append(word[0])
    return result


def _names(of: Iterable[Mention]) -> list[str]:
    return [name for name in dict.fromkeys(mention.finding for mention in of) if name in NOUNS]


def _noun(name: str) -> str:
    return NOUNS[name][0]


def _nouns(names: Iterable[str]) -> list[str]:
    return [_noun(name) for name in names]


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
