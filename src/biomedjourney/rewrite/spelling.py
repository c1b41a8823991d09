"""Sentences of a report in the words of the lexicon: abbreviations written out, slips of dictation put right."""

import re
from functools import cache, lru_cache

from rapidfuzz import process
from rapidfuzz.distance import OSA

from biomedjourney.rewrite import lexicon

# An end of a sentence is also an end before a small letter: dictation is often written without capitals.
_SENTENCE = re.compile(
    r"(?<=[.!?])(?<!\bvs\.)(?<!\b[Dd]r\.)(?<!\b[LRlr]\.)(?<!\b[LRlr]t\.)(?<!\bapprox\.)(?<!\be\.g\.)(?<!\bi\.e\.)\s+|"
    r"(?<=[a-z\s][.!?])(?=[A-Z][a-z])|(?<=[A-Z]{2}[.!?])(?=[A-Z]{2})|(?:^|(?<=\s))\d\)\s+|"
    r"\n\s*\n|\n\s*(?=[-*•]|[A-Za-z][A-Za-z /]{1,40}:)|(?:^|(?<=[\s.]))\d+[.)]\s*(?=[A-Z])",
    re.MULTILINE,
)
_ABBREVIATIONS = [(re.compile(pattern), words) for pattern, words in lexicon.ABBREVIATIONS.items()]
WORD = re.compile(r"[a-z]{4,}")


def sentences(text: str) -> list[str]:
    """The sentences of a report's section in lower case and in the lexicon's words, removed text (___) left out."""
    parts = _SENTENCE.split(text.replace("___", " "))
    return [_normal(part) for part in parts if part and part.strip()]


@lru_cache(maxsize=8192)
def _normal(sentence: str) -> str:
    text = re.sub(r",(?=[a-z])", ", ", " ".join(sentence.split()).lower())
    for pattern, words in _ABBREVIATIONS:
        text = pattern.sub(words, text)
    return " ".join(WORD.sub(lambda word: _spelled(word.group()), text).split())


@cache
def _english() -> frozenset[str]:
    from spellchecker import SpellChecker

    return frozenset(SpellChecker(language="en").word_frequency.words())


@lru_cache(maxsize=65536)
def _spelled(word: str) -> str:
    """The word of the lexicon that this one is a slip of, or the word itself.

    A slip is one edit, or two in a word of eight letters or more. A word of English, and one that is as near to two
    words of the lexicon with different stems, is left as it is, so that no finding turns into another one.
    """
    if word in lexicon.SPELLINGS or word in lexicon.OWN_WORDS or word in _english():
        return word
    allowed = 2 if len(word) >= 8 else 1
    near = process.extract(word, lexicon.SPELLINGS, scorer=OSA.distance, score_cutoff=allowed, limit=None)
    nearest = sorted((candidate for candidate, distance, _ in near if distance == near[0][1]), key=len)
    is_one_stem = all(candidate[: len(nearest[0]) - 2] == nearest[0][:-2] for candidate in nearest)
    return nearest[-1] if nearest and is_one_stem else word
