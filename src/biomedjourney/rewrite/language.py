"""What radiology sentences say of findings: present, absent or uncertain, where, how severe, how changed.

A sentence is read in five steps. Take "the L effusion is unchanged, the right has increased from small to moderate, and
there is no new consolidation".

1. `spelling` writes "left" for "L".
2. `spans` finds the spans: side left, finding pleural_effusion, change stable, link ",", side right, change worse, past
   size 1, size 2, link "and", denial unknown, finding consolidation.
3. `clauses` splits where a new finding has a verb of its own: before "there is no new consolidation".
4. `segments` gives each finding of a clause the spans that belong to it, and makes one group of modifiers for each side
   that they tell apart: left stable; right worse, 2, before it 1.
5. Here each group becomes a `Mention`, which is present, absent or unknown: the consolidation is unknown.

Denials, doubts and history are not attached to a noun: they reach forward to the end of a clause, as in ConText
(Harkema et al., 2009), and what they reach is absent or unknown.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from biomedjourney.rewrite import lexicon
from biomedjourney.rewrite.clauses import FINITE, clauses, names, without_advice
from biomedjourney.rewrite.segments import Group, Segment, attributes, carried_on, segments_of
from biomedjourney.rewrite.spans import Span, spans_of, words
from biomedjourney.rewrite.spelling import sentences
from biomedjourney.rewrite.study import Study

_PHRASE_START = words(lexicon.PHRASE_START)
_LABEL = re.compile(r"(?:[-*•]\s*)?([a-z][a-z /]{1,40}?)\s?:\s+(?=\S)")
_NO_EVENT = re.compile(r"(?:history|indication|clinical|reason|comparison|technique|exam\w*)\b")
_CLEAR = [(names, words(pattern)) for names, pattern in lexicon.CLEAR]
_ALTERNATIVES = re.compile(r"[\w-]+(?: [\w-]+)? or [\w-]+\.?$")  # "effusions or pneumothorax": the end of a denial
_IS_NORMAL = re.compile(lexicon.IS_NORMAL)
_VERSUS = re.compile(r"(?:\W+\w+){0,3}?\W+(?:versus|vs)\b")
_GONE_BEFORE = words(lexicon.GONE_BEFORE)
_NEITHER_CHANGED = re.compile(
    r"\bneither\b.*\b(?:has|have|is|are)\b.*\b(?:chang|increas|decreas|wors|improv|progress|enlarg|resol|clear)"
)


@dataclass(frozen=True)
class Mention:
    """One finding in one clause, or one that stands for others (the lexicon's STANDS_FOR).

    ``present`` None: unknown. ``sides``: of right and left. ``severity`` and ``severity_before``: 0 (unsaid) to 3.
    ``change``: new, worse, stable, improved, resolved, or empty where the clause tells none.
    """

    finding: str
    present: bool | None
    sides: frozenset[str] = frozenset()
    severity: int = 0
    change: str = ""
    severity_before: int = 0


def mentions_of(study: Study) -> tuple[Mention, ...]:
    """Every finding that a study's report names, the Impression's first."""
    return mentions(f"{study.impression}\n\n{study.findings}")


@lru_cache(maxsize=1024)
def mentions(text: str) -> tuple[Mention, ...]:
    """Every finding that the text names, in order."""
    result: list[Mention] = []
    previous: list[Segment] = []
    for sentence in sentences(text):
        sentence_mentions, previous = _of_sentence(sentence, previous)
        result += sentence_mentions
    return tuple(result)


def _of_sentence(
    sentence: str, previous: list[Segment], default: Group | None = None
) -> tuple[list[Mention], list[Segment]]:
    """The mentions of a sentence and its last segments, to which a pronoun of the next sentence may refer.

    ``default``: sides and change that a label before a colon gives to the whole sentence.
    """
    result = [] if default else _of_clear_regions(sentence)
    label = _LABEL.match(sentence)
    if label:
        if _NO_EVENT.match(label[1]):
            return [], []
        label_spans = spans_of(label[1])
        if not any(span.kind in ("finding", "heart") for span in label_spans):
            label_group = attributes(label_spans, is_device=False)
            rest_mentions, last_segments = _of_sentence(sentence[label.end() :], previous, label_group)
            return result + rest_mentions, last_segments
    label_end = label.end() if label else 0
    sentence_spans = [span for span in spans_of(sentence) if span.kind != "link" or span.start >= label_end]
    for start, end in clauses(sentence, sentence_spans):
        clause_spans = [span for span in sentence_spans if start <= span.start and span.end <= end]
        segments = segments_of(sentence, without_advice(sentence, clause_spans, start), start, end)
        if not segments:
            segments = carried_on(sentence, clause_spans, previous, start, end)
        told_segments = []
        for segment in segments:
            if default and not segment.sides:
                segment.groups = [replace(group, sides=default.sides) for group in segment.groups]
            if default and not any(group.change for group in segment.groups):
                segment.groups = [replace(group, change=default.change) for group in segment.groups]
            segment_mentions = list(_of_segment(sentence, segment, segments, clause_spans, start, end))
            if any(mention.present is not False or mention.change for mention in segment_mentions):
                told_segments.append(segment)
            result += segment_mentions
        previous = told_segments or ([] if any(s.anchor.kind == "other" for s in segments) else previous)
    return result, previous


def _of_clear_regions(sentence: str) -> list[Mention]:
    result = []
    for findings, pattern in _CLEAR:
        for region in pattern.finditer(sentence):
            side = {"lingula": "left"}.get(words_of_side := (region["side"] or "").strip(), words_of_side)
            result += [Mention(name, False, frozenset((side,)) if side else frozenset()) for name in findings]
    return result


def _of_segment(
    sentence: str, segment: Segment, segments: list[Segment], spans: list[Span], start: int, end: int
) -> Iterator[Mention]:
    """The mentions of a segment: one for each group, absent or unknown where a denial or a doubt reaches it."""
    anchor = segment.anchor
    if anchor.kind == "other":
        return
    denial = _denial(sentence, segment, segments, spans)
    if denial and _NEITHER_CHANGED.search(sentence, start, end):
        denial = ""
        segment.groups = [replace(group, change="stable") for group in segment.groups]
    is_unknown = denial == "unknown" or _is_unknown(sentence, segment, spans)
    findings = [s for s in segments if s.anchor.kind in ("finding", "heart")]
    is_unknown |= not denial and len(findings) > 1 and bool(_ALTERNATIVES.match(sentence[start:end]))
    for group in segment.groups:
        present: bool | None = True
        change = group.change
        if anchor.kind == "heart" and not denial:
            present, change = _heart(sentence[start:end], segment, group)
            if present is None:
                continue
        elif anchor.kind == "stand-in":
            change = _of_stand_in(sentence, segment, group)
        for name in anchor.value:
            is_sided = name in lexicon.SIDED or anchor.kind == "stand-in"
            is_told_apart = name == "edema" and len(segment.groups) > 1  # else edema has no side
            sides = group.sides if is_sided or is_told_apart else frozenset()
            if is_unknown or change == "doubted":
                yield Mention(name, None, sides, group.size, "" if change == "doubted" else change)
            elif denial or change == "absent" or not present:
                was_there = change == "resolved" or denial == "gone"
                yield Mention(name, False, sides, 0, "resolved" if was_there else "")
            elif change == "resolved" and anchor.kind != "stand-in":
                yield Mention(name, False, sides, 0, "resolved")
            else:
                yield Mention(name, True, sides, group.size, change, group.past_size)


def _heart(clause: str, segment: Segment, group: Group) -> tuple[bool | None, str]:
    """Whether the heart is enlarged, by the first word on its size before or after it, else by its change."""
    said = [
        span.value
        for span in (*segment.before, *segment.after)
        if span.kind == "heart is" or (span.kind == "size" and clause[span.start : span.end] in ("large", "big"))
    ]
    if said[:1] == ["normal"] or group.change == "resolved":
        return False, "resolved" if re.search(lexicon.HEART_IS_BACK, clause) else ""
    if said or group.change in ("worse", "improved"):
        return True, group.change
    return None, ""


def _of_stand_in(sentence: str, segment: Segment, group: Group) -> str:
    """What a stand-in tells of its findings: they shrink where aeration grows."""
    name = segment.anchor.value[0]
    around = sentence[max(segment.anchor.start - 20, 0) : segment.anchor.end + 15]
    text = sentence[segment.anchor.start : segment.anchor.end]
    near = " ".join(
        sentence[s.start : s.end] for s in (*segment.before, segment.anchor, *segment.after) if s.kind != "side"
    )
    if name == "aeration":
        if re.search(r"increas|better|improv|more|re-?aerat", near):
            return "improved"
        return "worse" if re.search(r"decreas|less|reduc|wors|diminish|loss|poor", near) else ""
    if name == "expansion":
        is_partial = re.search(r"partial|near|almost|incomplete|largely|mostly|some|improv|increas|better", around)
        return "improved" if is_partial else "resolved"
    return group.change if "resolved" in (group.change, text) else ""


def _denial(sentence: str, segment: Segment, segments: list[Segment], spans: list[Span]) -> str:
    """Absent, gone (it was there before), unknown (nothing new), or empty where no denial reaches the finding."""
    anchor = segment.anchor
    scope = max((s.end for s in spans if s.kind == "end" and s.end <= anchor.start), default=0)
    for denial in reversed([s for s in spans if s.kind == "denial" and scope <= s.start and s.end <= anchor.start]):
        if not _leaves_list(sentence, denial.end, anchor.start, segments, spans):
            is_gone = _GONE_BEFORE.search(sentence, denial.end, anchor.start) or "longer" in sentence[
                denial.start : denial.end
            ]  # fmt: skip
            return "gone" if denial.value == "absent" and is_gone else denial.value
    return "absent" if _IS_NORMAL.match(sentence, anchor.end) else ""


def _leaves_list(sentence: str, start: int, end: int, segments: list[Segment], spans: list[Span]) -> bool:
    """Whether between a denial and a finding another finding has its verb, or a new phrase begins."""
    between = [s.anchor for s in segments if start <= s.anchor.start and s.anchor.end <= end]
    if not between:
        return False
    if FINITE.search(sentence, between[0].end, end):
        return True
    tail = sentence[between[-1].end : end]
    if re.search(r",[^,]*$", tail) and _PHRASE_START.search(tail):
        return True
    starts_with_size = any(span.kind == "size" and between[-1].end <= span.start < end for span in spans)
    ends_list = re.search(r"\b(?:or|nor)\b", sentence[start:])
    return starts_with_size and not ends_list and re.search(r",|\b(?:and|with)\b", tail) is not None


def _is_unknown(sentence: str, segment: Segment, spans: list[Span]) -> bool:
    """Whether a doubt, a rejection, history or advice reaches the finding."""
    anchor = segment.anchor
    if re.match(r",? which (?:is|are|has|have)\b", sentence[anchor.end :]) and any(g.change for g in segment.groups):
        return False
    scope = max((s.end for s in spans if s.kind == "end" and s.end <= anchor.start), default=0)
    for span in spans:
        if span.end > anchor.start:
            continue
        if span.kind == "doubt" and span.start >= scope:
            return True
        if span.kind == "advice" and span.start >= scope:
            return True
        if span.kind in ("rejected", "history"):
            gap = [s for s in spans if span.end <= s.start < anchor.start]
            is_list = names(gap, span.end, anchor.start) and not re.search(
                r"\bnow\b", sentence[span.end : anchor.start]
            )
            next_link = next((s.start for s in spans if s.kind == "link" and s.start >= anchor.end), len(sentence))
            ends = ";:" if is_list and not FINITE.search(sentence, anchor.end, next_link) else ",;:"
            if not any(s.kind == "link" and s.value[0] in ends for s in gap) and not FINITE.search(
                sentence, span.end, anchor.start
            ):  # fmt: skip
                return True
    return bool(_VERSUS.match(sentence, anchor.end))
