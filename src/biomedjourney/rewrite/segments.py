"""Which words of a clause belong to which finding, and to which side of it.

Each finding of a clause has the spans before and after its noun: a segment. A segment falls into pieces at its links. A
piece that names a side opens a group for this side, and a piece without one belongs to the group before it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from biomedjourney.rewrite import lexicon
from biomedjourney.rewrite.clauses import ANCHORS, AS_ALSO, FINITE, VERB
from biomedjourney.rewrite.spans import Span, words

_ADJECTIVES = ("side", "size", "past size", "change", "denial", "handling")
_COMES_WITH = re.compile(
    r"\b(?:with|likely|represent\w*|reflect\w*|suggest\w*|consistent|compatible|concerning|into)\b|^ (?:is|are) $"
)
_FORCE = {"stable": 1, "still": 2, "": 3}  # a change that is none gives way to a real one ("remains, but smaller")
_NEW_PART = re.compile(f",|{words(lexicon.NEW_PART).pattern}")
_STATED = words("is|are|was|were|has|have|seen|noted|present|identified")
_SINGULAR = re.compile(r"(?: [\w-]+){0,3}? (?:is|was|has|remains|persists|appears)\b")  # "A and B is gone": B alone
_MOVED_IF_LEFT, _ONE_OF = re.compile(lexicon.MOVED_IF_LEFT), re.compile(lexicon.ONE_OF)
_REJECTS = words(f"{lexicon.REJECTED}|over")
_OF_BOTH = re.compile(r"\b(?:all|both|each)\b")
_ELLIPSIS = re.compile(
    r"\b(?:the |that |those |one )?(?:on the |in the |at the )?(?:left|right)(?: (?:side|base|apex|one|lung base))?"
    r"(?: (?:upper|middle|lower)(?: lobe| lung)?)?(?=\s*(?:is\b|are\b|has\b|have\b|was\b|remains?\b|appears?\b|"
    r"persists?\b|now\b|it\b|they\b|unchanged|stable|small|moderate|large|resolved|increas|decreas|improv|wors))"
)
_FILLER = re.compile(r"\b(?:now|in|on|at|size|is|are|the|base|side|interval|today|and|also)\b|\W")
_STARTS_WITH_PRONOUN = re.compile(rf"\W*(?:and |but |also |overall,? )?(?:{lexicon.PRONOUN})\b")


@dataclass
class Group:
    """The modifiers of a finding on some sides. ``change`` may also be absent or doubted."""

    sides: frozenset[str] = frozenset()
    size: int = 0
    past_size: int = 0
    change: str = ""


@dataclass
class Segment:
    """A finding with the spans that belong to it, and the groups made of them."""

    anchor: Span
    before: list[Span]
    after: list[Span]
    groups: list[Group] = field(default_factory=list)

    @property
    def is_device(self) -> bool:
        return self.anchor.value[0] in lexicon.DEVICES or self.anchor.value == ("devices",)

    @property
    def sides(self) -> frozenset[str]:
        return _sides_of(self.groups)


def _sides_of(groups: list[Group]) -> frozenset[str]:
    return frozenset().union(*(group.sides for group in groups))


def segments_of(sentence: str, spans: list[Span], start: int, end: int) -> list[Segment]:
    """Each finding of a clause with its spans; between two findings a gap is cut where the second one's words begin."""
    anchors = [span for span in spans if span.kind in ANCHORS]
    if not anchors:
        return []
    cuts = [start, *(_cut(sentence, spans, a, b) for a, b in pairwise(anchors)), end]
    segments = []
    for i, anchor in enumerate(anchors):
        before = [s for s in spans if cuts[i] <= s.start and s.end <= anchor.start]
        after = [s for s in spans if anchor.end <= s.start and s.end <= cuts[i + 1]]
        segments.append(Segment(anchor, before, after))
    for segment in segments:
        segment.groups = _groups(sentence, segment, end)
    segments = _joined(sentence, segments)
    _share_changes(sentence, segments)
    _share_sides(sentence, segments)
    _exchange(segments, spans)
    return segments


def _joined(sentence: str, segments: list[Segment]) -> list[Segment]:
    """ "Mild edema has progressed to moderate edema" tells of one finding, whose first size is that of the past."""
    result: list[Segment] = []
    for segment in segments:
        before = result[-1] if result else segment
        gap = sentence[before.anchor.end : segment.anchor.start]
        is_again = before is not segment and before.anchor.value == segment.anchor.value
        is_elsewhere = segment.groups[0].sides and segment.groups[0].sides != before.groups[0].sides
        if is_again and not is_elsewhere and segment.groups[0].size and re.search(r"\b(?:to|into|with|only)\b", gap):
            for group in before.groups:
                group.past_size, group.size = group.size, segment.groups[0].size
        else:
            result.append(segment)
    return result


def _cut(sentence: str, spans: list[Span], left: Span, right: Span) -> int:
    """Where the words of the right finding begin: after the last link or preposition, else with its adjectives."""
    gap = [span for span in spans if left.end <= span.start < right.start]
    parts = [
        match
        for match in _NEW_PART.finditer(sentence, left.end, right.start)
        if not any(s.start <= match.start() < s.end for s in gap if s.kind not in ("link", "end"))
    ]
    if not parts:
        is_told_after = gap and gap[0].kind in ("change", "handling") and gap[0].value != "new"
        if is_told_after and _is_terse(sentence, spans):
            return gap[0].end  # "NGT REMOVED LEFT EFFUSION INCREASED"
        return _first_adjective(sentence, gap, right)
    i = len(parts) - 1
    while i > 0 and parts[i].group() == "and":  # "and moderate right and small left effusions"
        piece = [s for s in gap if parts[i - 1].end() <= s.start and s.end <= parts[i].start()]
        rest = [s for s in gap if parts[i].end() <= s.start]
        if {s.kind for s in piece} != {"side", "size"} or not any(s.kind == "side" for s in rest):
            break
        i -= 1
    return parts[i].start()


def _is_terse(sentence: str, spans: list[Span]) -> bool:
    """Whether a clause without verbs tells the change after each finding."""
    return spans[-1].kind in ("change", "handling") and not FINITE.search(sentence, spans[0].start, spans[-1].end)


def _first_adjective(sentence: str, gap: list[Span], noun: Span) -> int:
    start = noun.start
    for span in reversed(gap):
        between = sentence[span.end : start]
        is_size_of_tube = span.kind == "size" and noun.value[0] in lexicon.DEVICES
        is_cut_off = FINITE.search(between) or re.search(r"\b(?:in)?to\b", between) or len(between.split()) > 2
        if is_cut_off or is_size_of_tube or span.kind not in _ADJECTIVES:
            break
        start = span.start
        if span.kind in ("change", "denial", "handling"):
            break
    return start


def _pieces(sentence: str, spans: list[Span]) -> Iterator[list[Span]]:
    piece: list[Span] = []
    for span in spans:
        is_link = span.kind in ("link", "end")
        if is_link or (piece and re.search(r"\bwith\b", sentence[piece[-1].end : span.start])):
            yield piece
            piece = []
        if not is_link:
            piece.append(span)
    yield piece


def attributes(piece: Sequence[Span], *, is_device: bool) -> Group:
    """What the spans of a piece say."""
    sides: frozenset[str] = frozenset().union(*(s.value for s in piece if s.kind == "side"))
    sizes = [s.value for s in piece if s.kind == "size"]
    past_sizes = [s.value for s in piece if s.kind == "past size"]
    changes = [s.value for s in piece if s.kind == "change"]
    if is_device:
        handled = [s.value for s in piece if s.kind == "handling" and not s.value.startswith("exchange")]
        changes = handled or changes
    outcomes = {"denied": "absent", "doubted": "doubted"}
    changes = [outcomes[s.kind] for s in piece if s.kind in outcomes] + changes
    changes.sort(key=lambda change: _FORCE.get(change, 0))
    return Group(sides, (sizes or [0])[-1], (past_sizes or [0])[-1], (changes or [""])[0])


def _groups(sentence: str, segment: Segment, end: int) -> list[Group]:
    """The sides that a segment tells apart, each with its modifiers."""
    base = Group()
    groups: list[Group] = []
    for piece in _pieces(sentence, segment.before):
        piece_group = attributes(piece, is_device=segment.is_device)
        if piece_group.sides:
            groups.append(_filled(piece_group, groups[-1]) if groups else piece_group)
        else:
            base = _filled(piece_group, base)
    groups = [_filled(group, base) for group in groups] or [base]
    after = [
        s for s in segment.after if s.kind != "denied" or not _STATED.search(sentence, segment.anchor.end, s.start)
    ]
    pieces = [piece for piece in _pieces(sentence, after) if piece]
    sided_pieces = sum(any(span.kind == "side" for span in piece) for piece in pieces)
    current: Group | None = None
    for piece in pieces:
        piece_group = attributes(piece, is_device=segment.is_device)
        if _compares_sides(sentence, piece, piece_group, groups) and sided_pieces == 1:
            continue
        is_bare = piece_group.sides and not (piece_group.change or piece_group.size) and _sides_of(groups)
        if is_bare and FINITE.search(sentence, piece[0].end, _end_of(piece, after, end)):
            continue  # "a right effusion; the left lung is clear"
        if piece_group.sides:
            current = _group_of(piece_group.sides, groups)
            current.change = piece_group.change or current.change
        is_of_all = _OF_BOTH.search(sentence, piece[0].start - len("both "), piece[-1].end)
        for group in [current] if current and not is_of_all else groups:
            _say(group, piece_group)
    if segment.is_device:
        _mind_what_is_left(sentence, segment, groups, end)
    return [group for group in groups if group.sides or len(groups) == 1]


def _end_of(piece: list[Span], spans: list[Span], end: int) -> int:
    return next((span.start for span in spans if span.start >= piece[-1].end), end)


def _filled(group: Group, other: Group) -> Group:
    """The group, with what it does not say taken from the other."""
    change = min(group.change, other.change, key=lambda change: _FORCE.get(change, 0))
    return Group(group.sides, group.size or other.size, group.past_size or other.past_size, change)


def _say(group: Group, piece_group: Group) -> None:
    group.size = piece_group.size or group.size
    group.past_size = piece_group.past_size or group.past_size
    if piece_group.change and _FORCE.get(piece_group.change, 0) <= _FORCE.get(group.change, 0):
        group.change = piece_group.change


def _group_of(sides: frozenset[str], groups: list[Group]) -> Group:
    """The group of these sides, made where there is none: out of that of both sides, or beside those of others."""
    for group in groups:
        if group.sides == sides:
            return group
    if not _sides_of(groups):
        groups[0].sides = sides
        return groups[0]
    for group in groups:
        if sides < group.sides:
            group.sides -= sides
            groups.append(replace(group, sides=sides))
            return groups[-1]
    if missing := sides - _sides_of(groups):
        groups.append(Group(missing))
    return groups[-1]


def _compares_sides(sentence: str, piece: list[Span], piece_group: Group, groups: list[Group]) -> bool:
    """Whether a piece says on which side there is more, not what changed: "bilateral effusions, larger on the left"."""
    return (
        len(groups) == 1
        and len(groups[0].sides) == 2
        and len(piece_group.sides) == 1
        and piece_group.change == "worse"
        and not FINITE.search(sentence, piece[0].start - 8, piece[-1].end)
        and re.match(r"(?:\w+ly )?(?:larger|greater|worse|bigger|more)\b", sentence[piece[0].start :]) is not None
    )


def _mind_what_is_left(sentence: str, segment: Segment, groups: list[Group], end: int) -> None:
    """A tube that is pulled back is still there, and so is the second of two tubes."""
    is_one_of = _ONE_OF.search(sentence[max(segment.anchor.start - 60, 0) : segment.anchor.start])
    for span in segment.after + segment.before:
        if span.kind == "handling" and span.value == "resolved":
            is_pulled = span in segment.after and sentence.startswith(("withdrawn", "pulled"), span.start)
            if is_one_of or (is_pulled and _MOVED_IF_LEFT.search(sentence, span.end, end)):
                for group in groups:
                    group.change = "stable"
    text = sentence[segment.anchor.start : segment.anchor.end]
    if segment.anchor.value == ("endotracheal_tube",):
        if text.startswith("extubat"):
            groups[0].change = "resolved"
        elif text.startswith(("reintubat", "re-intubat")) or re.search(
            r"(?:been|interval|new|newly) $", sentence[: segment.anchor.start]
        ):
            groups[0].change = groups[0].change or "new"


def _is_list(sentence: str, left: Span, right: Span) -> bool:
    """Whether two findings are strung together by nothing but commas, "and", "or" and their adjectives."""
    parts = [match.group() for match in _NEW_PART.finditer(sentence, left.end, right.start)]
    return bool(parts) and set(parts) <= {",", "and", "or", "plus"} and not VERB.search(
        sentence, left.end, right.start
    )  # fmt: skip


def _share_changes(sentence: str, segments: list[Segment]) -> None:
    """In a list, "A and B have resolved" and "increase in A and B" tell the change of each that has none of its own."""
    for before, segment in pairwise(segments):
        if AS_ALSO.search(sentence, before.anchor.end, segment.anchor.start):
            changes = [group.change for group in before.groups if group.change]
            for group in segment.groups:
                group.change = group.change or (changes or [""])[0]
    if len(segments) > 1:
        last = segments[-1]
        if last.after and _OF_BOTH.search(sentence, last.anchor.end, last.after[-1].end):
            for segment in segments[:-1]:
                _give_change(segment, last.after)
    for i, first in enumerate(segments):
        run = [first]
        while i + len(run) < len(segments) and _is_list(sentence, run[-1].anchor, segments[i + len(run)].anchor):
            run.append(segments[i + len(run)])
        for segment in run[1:]:
            if _shares_head(sentence, first, segment):
                _give_change(segment, first.before)
        if len(run) > 1:
            tells_last_alone = _SINGULAR.match(sentence, run[-1].anchor.end) and _joins(sentence, run[-2:]) == "and"
            for segment in run[:-1] if not tells_last_alone else ():
                _give_change(segment, run[-1].after)


def _joins(sentence: str, pair: list[Segment]) -> str:
    """The last link between two findings of a list."""
    return [match.group() for match in _NEW_PART.finditer(sentence, pair[0].anchor.end, pair[1].anchor.start)][-1]


def _give_change(segment: Segment, spans: list[Span]) -> None:
    change = attributes(spans, is_device=segment.is_device).change
    for group in segment.groups:
        group.change = group.change or change


def _shares_head(sentence: str, first: Segment, segment: Segment) -> bool:
    """ "Increase in A and B" tells of both; "increasing A and B" only where B has no size and no other side."""
    heads = [s for s in first.before if s.kind in ("change", "handling")]
    if not heads:
        return False
    if re.match(r"\s*(?:in|of)\b", sentence[heads[0].end :]) or sentence[: heads[0].end].endswith((" in", " of")):
        return True
    if heads[0].value in ("stable", "still"):
        return True
    first_sides = {group.sides for group in first.groups}
    return all(not group.size and (not group.sides or group.sides in first_sides) for group in segment.groups)


def _share_sides(sentence: str, segments: list[Segment]) -> None:
    """A finding without a side of its own lies where the one is that it comes with."""
    for i, segment in enumerate(segments):
        if segment.sides:
            continue
        for other in (*reversed(segments[:i]), *segments[i + 1 :]):
            if other.is_device != segment.is_device or other.anchor.kind not in ("finding", "stand-in"):
                continue
            a, b = sorted((segment.anchor, other.anchor), key=lambda anchor: anchor.start)
            gap = sentence[a.end : b.start]
            comes_with = _COMES_WITH.search(gap)
            is_after = other.anchor.start < segment.anchor.start
            told_at_the_end = not is_after and not any(span.kind == "side" for span in other.before)
            joined = _is_list(sentence, a, b) or _REJECTS.search(gap) is not None
            if (is_after and (joined or comes_with)) or (told_at_the_end and joined):
                segment.groups = [replace(group, sides=other.sides) for group in segment.groups]
                if segment.sides:
                    break


def _exchange(segments: list[Segment], spans: list[Span]) -> None:
    """One tube in place of another: the one is gone, the other is new."""
    for span in spans:
        if span.kind != "handling" or not span.value.startswith("exchange"):
            continue
        old = [s for s in segments if s.is_device and s.anchor.end <= span.start][-1:]
        new = [s for s in segments if s.is_device and s.anchor.start >= span.end][:1]
        if span.value == "exchange back":
            old, new = new, old
        if not old or not new:
            continue
        on_one_side = old[0].sides == new[0].sides or not old[0].sides or not new[0].sides
        is_same = old[0].anchor.value == new[0].anchor.value and on_one_side
        for segment, change in ((old[0], "resolved"), (new[0], "new")):
            for group in segment.groups:
                group.change = "stable" if is_same else change


def carried_on(sentence: str, spans: list[Span], previous: list[Segment], start: int, end: int) -> list[Segment]:
    """A clause that goes on about the finding before: "it has grown", "the left is smaller"."""
    if not {span.kind for span in spans} & {"change", "handling", "denied", "size"}:
        return []
    clause = sentence[start:end]
    is_only = _is_only_change(sentence, spans, start, end)
    tells_side = _ELLIPSIS.search(clause) is not None or (is_only and any(span.kind == "side" for span in spans))
    if not (tells_side or is_only or _STARTS_WITH_PRONOUN.match(clause)):
        return []
    subjects = [s for s in previous if not tells_side or s.anchor.value[0] in lexicon.SIDED]
    if not subjects:
        return []
    subject = subjects[-1 if tells_side else 0]
    carried = Segment(replace(subject.anchor, start=start, end=start), [], spans)
    carried.groups = _groups(sentence, carried, end)
    if not carried.sides:
        carried.groups = [replace(carried.groups[0], sides=group.sides) for group in subject.groups]
    return [carried]


def _is_only_change(sentence: str, spans: list[Span], start: int, end: int) -> bool:
    """Whether a clause holds nothing but a change or a size: "Unchanged." or "Now moderate in size."."""
    is_told = {place for span in spans for place in range(span.start, span.end)}
    rest = "".join(" " if place in is_told else sentence[place] for place in range(start, end))
    return not _FILLER.sub("", rest)
