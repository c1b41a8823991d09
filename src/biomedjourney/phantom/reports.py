"""Reports of phantom studies: what is seen, put into words and into the layout of MIMIC-CXR's text files."""

import re
import textwrap
from dataclasses import dataclass, field, replace

import numpy as np

from biomedjourney.phantom import phrases as words
from biomedjourney.phantom.findings import Observation, degree, observe
from biomedjourney.phantom.labels import complete
from biomedjourney.phantom.phrases import Phrases, pick
from biomedjourney.phantom.state import Findings

# Which of the two main sections a report has: both, one of them, or neither, then with its text under another head.
LAYOUTS = {"both": 0.61, "impression": 0.22, "findings": 0.13, "neither": 0.04}
UNCERTAIN = 0.05  # share of mentions of a new, first seen or absent finding that are worded as a doubt
UNCOMPARED = 0.03  # later studies read without the earlier film
VERB = re.compile(r"\b(is|are|has|have|had|persists?|remains?|reflects|shows?|may|cannot|include)\b")
ABRUPT = ("no ", "negative", "findings include", "cannot")
UNDERSCORES = " " + "_" * 78


@dataclass(frozen=True)
class Report:
    """The text of a report, and what it says of CheXpert's labels: 1 present, 0 denied, -1 in doubt."""

    text: str
    mentions: dict[str, int] = field(default_factory=dict)


@dataclass
class Writer:
    """One report in the making. ``which`` phrases: all, seen or held-out."""

    rng: np.random.Generator
    which: str
    mentions: dict[str, int] = field(default_factory=dict)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, options: Phrases) -> str:
        return pick(self.rng, options, self.which)

    def mention(self, label: str, value: int) -> None:
        """What is said twice counts as present before in doubt before denied."""
        rank = (0, -1, 1)
        before = self.mentions.get(label, 0)
        self.mentions[label] = max(before, value, key=rank.index)


def _article(noun: str) -> str:
    vowel = noun[0].lower() in "aeio" or noun.startswith("ET ")
    return ("an " if vowel else "a ") + noun


def _nouns(finding: str, place: str) -> Phrases:
    if place in ("bilateral", "bibasilar"):
        return words.NOUNS[finding]["both"]
    if finding == "consolidation":
        return words.NOUNS[finding][place.split()[1]]
    return words.NOUNS[finding]["one"]


def _slots(writer: Writer, seen: Observation) -> dict[str, str]:
    side = seen.place.split()[0] if seen.place else ""
    bare = writer.pick(_nouns(seen.finding, seen.place)).format(side=side)
    grade = degree(seen.severity)
    adjective = writer.pick(words.DEGREES[seen.finding][grade])
    graded = f"{adjective} {bare}" if seen.severity and writer.chance(0.8) else bare
    several = seen.place in ("bilateral", "bibasilar")
    mass = seen.finding in words.MASS_NOUNS
    article = bool(several or mass)
    return {
        "side": side,
        "bare": bare,
        "np": graded,
        "a": graded if article else _article(graded),
        "anew": f"new {graded}" if article else f"a new {graded}",
        "the": bare if mass else f"the {bare}",
        "degree": adjective,
        "degreely": words.ADVERBS[grade],
        "is": "are" if several else "is",
        "has": "have" if several else "has",
        "was": "were" if several else "was",
        "s": "" if several else "s",
    }


def _fits(template: str, seen: Observation) -> bool:
    """A side is named only where there is one, a degree reached only where it is another; a heart does not clear."""
    if "{side}" in template and seen.place in ("bilateral", "bibasilar"):
        return False
    if seen.finding == "cardiomegaly" and re.search("clear|extensive", template):
        return False
    reached = seen.status in ("larger", "smaller") and "now {degree}" in template
    return not reached or degree(seen.before) != degree(seen.severity)


def _device_sentence(writer: Writer, seen: Observation) -> str:
    writer.mention("support_devices", 0 if seen.status == "resolved" else 1)
    bare = writer.pick(words.DEVICE_NOUNS[seen.place])
    where = writer.pick(words.DEVICE_PLACES[seen.place])
    return writer.pick(words.DEVICES[seen.status]).format(bare=bare, a=_article(bare), where=where)


def _sentence(writer: Writer, seen: Observation) -> str:
    """One observation that is no denial, as a sentence without capital and full stop."""
    if seen.finding == "support_devices":
        return _device_sentence(writer, seen)
    value = {"uncertain": -1, "resolved": 0}.get(seen.status, 1)
    writer.mention(seen.finding, value)
    general = words.GENERAL[seen.status].of(writer.which)
    special = words.SPECIAL.get((seen.finding, seen.status), Phrases(())).of(writer.which)
    pool = special if special and writer.chance(0.35) else general
    fitting = [t for t in pool if _fits(t, seen)] or [t for t in general if _fits(t, seen)]
    template = fitting[writer.rng.integers(len(fitting))]
    sentence = template.format_map(_slots(writer, seen))
    if "cardiomediastinal" in sentence:
        writer.mention("enlarged_cardiomediastinum", value)
    if seen.finding == "consolidation" and seen.status in ("new", "present") and writer.chance(0.35):
        certainty = 1 if writer.chance(0.4) else -1
        writer.mention("pneumonia", certainty)
        sentence += f", {writer.pick(words.PNEUMONIA[certainty])}"
    return sentence


def _listing(nouns: list[str]) -> str:
    if len(nouns) < 3:
        return " or ".join(nouns)
    return f"{', '.join(nouns[:-1])}, or {nouns[-1]}"


def _denials(writer: Writer, denied: list[Observation]) -> list[str]:
    """The absent findings, some in sentences of their own, the others in one list."""
    sentences, listed = [], []
    for seen in denied:
        writer.mention(seen.finding, 0)
        own = words.SPECIAL_DENIALS.get(seen.finding)
        if own and writer.chance(0.8 if seen.finding == "cardiomegaly" else 0.1):
            sentences.append(writer.pick(own))
            if "cardiomediastinal" in sentences[-1]:
                writer.mention("enlarged_cardiomediastinum", 0)
        else:
            listed.append(seen)
    if listed:
        order = writer.rng.permutation(len(listed))
        nouns = [writer.pick(words.DENIED_NOUNS[listed[i].finding]) for i in order]
        if writer.chance(0.08):
            writer.mention("pneumonia", 0)
            nouns.append("pneumonia")
        sentences.append(writer.pick(words.DENIALS).format(list=_listing(nouns)))
    return sentences


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _prose(sentences: list[str], gap: str) -> str:
    return gap.join(_capital(s) if s.endswith(".") else f"{_capital(s)}." for s in sentences)


def _joined(writer: Writer, sentences: list[str]) -> list[str]:
    """Now and then two neighbouring sentences become one."""
    result: list[str] = []
    for sentence in sentences:
        if result and writer.chance(0.2) and len(result[-1]) + len(sentence) < 130 and "; " not in result[-1]:
            whole = all(VERB.search(part) for part in (result[-1], sentence))
            abrupt = "," in result[-1] + sentence or sentence.startswith(ABRUPT)
            link = " and " if whole and not abrupt and writer.chance(0.6) else "; "
            result[-1] += link + sentence
        else:
            result.append(sentence)
    return result


def _compared(writer: Writer, sentences: list[str], probability: float) -> list[str]:
    """The first sentence may open with what the film is compared with."""
    if not sentences or not writer.chance(probability) or sentences[0].startswith(("findings include", "cannot")):
        return sentences
    first = sentences[0]
    if not VERB.search(first):
        plural = re.match(r"(?:\S+ ){0,3}(?:effusions|consolidations)\b", first)
        first = f"there {'are' if plural else 'is'} {first}"
    return [writer.pick(words.COMPARISONS) + first, *sentences[1:]]


def _doubted(writer: Writer, observations: list[Observation]) -> list[Observation]:
    """Some mentions are worded as a doubt, of absent findings as of present ones."""
    result = []
    places = {"pleural_effusion": ("right", "left"), "pneumothorax": ("right", "left")}
    for seen in observations:
        chosen = seen.finding != "support_devices" and seen.status in ("new", "present", "denied")
        if chosen and writer.chance(UNCERTAIN):
            place = seen.place
            if seen.status == "denied":
                options = places.get(seen.finding, ("right lower", "left lower"))
                mass = seen.finding in words.MASS_NOUNS
                place = "" if mass else options[writer.rng.integers(len(options))]
            seen = replace(seen, status="uncertain", place=place, severity=min(seen.severity or 0.4, 0.5))
        result.append(seen)
    return result


def _findings_text(writer: Writer, observations: list[Observation], extras: list[str], *, earlier: bool) -> str:
    devices = [s for s in observations if s.finding == "support_devices"]
    others = [s for s in observations if s.finding != "support_devices"]
    positive = [s for s in others if s.status != "denied"]
    denied = [s for s in others if s.status == "denied" and writer.chance(0.7)]
    shuffled = [positive[i] for i in writer.rng.permutation(len(positive))]
    body = [_sentence(writer, s) for s in shuffled]
    denials = _denials(writer, denied)
    body = denials + body if writer.chance(0.3) else body + denials
    tools = [_sentence(writer, s) for s in devices]
    body = tools + body if writer.chance(0.4) else body + tools
    body += [writer.pick(words.FILLERS) for _ in range(int(writer.rng.integers(0, 2)))] + extras
    if earlier:
        body = _compared(writer, body, 0.3)
    return _prose(_joined(writer, body), "  " if writer.chance(0.7) else " ")


def _impression_sentences(writer: Writer, observations: list[Observation], *, alone: bool, earlier: bool) -> list[str]:
    """What the Impression says: ``alone``, it names every finding that is there; else it may leave some out."""
    changed = [s for s in observations if s.status not in ("denied", "unchanged")]
    same = [s for s in observations if s.status == "unchanged"]
    denied = [s for s in observations if s.status == "denied"]
    if earlier and not alone and len(changed) <= 1 and writer.chance(0.3):
        unchanged = writer.pick(words.NO_CHANGE)
        return [_sentence(writer, changed[0]), f"otherwise {unchanged}"] if changed else [unchanged]
    told = [s for s in changed if alone or s.status != "resolved" or writer.chance(0.85)]
    if not alone:
        told = [s for s in told if s.finding != "support_devices" or writer.chance(0.6)]
    kept = [s for s in same if alone or writer.chance(0.6)]
    sentences = [_sentence(writer, told[i]) for i in writer.rng.permutation(len(told))]
    sentences += [_sentence(writer, kept[i]) for i in writer.rng.permutation(len(kept))]
    denials = _denials(writer, [s for s in denied if writer.chance(0.35)])
    if not any(s.status not in ("denied", "resolved") and s.finding != "support_devices" for s in observations):
        denials.append(writer.pick(words.NO_ACUTE if told or same else words.NORMAL))
    sentences += denials
    if not sentences:
        sentences = [_sentence(writer, s) for s in same[:1]] or [writer.pick(words.NO_ACUTE)]
    return _compared(writer, sentences, 0.3) if earlier else sentences


def _impression_text(writer: Writer, sentences: list[str]) -> str:
    if len(sentences) > 1 and writer.chance(0.3):
        return "\n ".join(f"{i}. {_prose([s], ' ')}" for i, s in enumerate(sentences, 1))
    return _prose(_joined(writer, sentences), "  " if writer.chance(0.6) else " ")


def _wrapped(text: str) -> str:
    """Lines of MIMIC's width, each after a space."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines += textwrap.wrap(paragraph.strip(), 78, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join(f" {line}" for line in lines)


def _section(header: str, text: str, *, own_line: bool) -> str:
    body = f"{header} \n \n{text}" if own_line else f"{header}  {text}"
    return _wrapped(body)


def _technique(view: str, lateral: bool) -> tuple[str, str]:
    if lateral:
        return f"CHEST ({view} AND LAT)", f"Chest {view} and lateral"
    if view == "AP":
        return "CHEST (PORTABLE AP)", "Single portable AP view of the chest"
    return f"CHEST ({view})", f"Single frontal view of the chest, {view}"


def _preamble(writer: Writer, sex: str, view: str, *, lateral: bool, earlier: bool) -> list[tuple[str, str]]:
    examination, technique = _technique(view, lateral)
    man = "woman" if sex == "F" else "man"
    indication = writer.pick(words.INDICATIONS).format(man=man, F=sex)
    heads: list[tuple[str, str]] = []
    if writer.chance(0.75):
        heads.append(("EXAMINATION:", examination if writer.chance(0.8) else "Chest radiograph"))
    heads.append((("INDICATION:", "HISTORY:")[int(writer.chance(0.25))], indication))
    if writer.chance(0.006):
        heads[-1] = ("NDICATION:", indication)
    if writer.chance(0.7):
        heads.append(("TECHNIQUE:", technique))
    dated = ("___.", "Chest radiograph ___.", "Prior radiograph from ___.", "Radiograph of ___ at ___.")
    if writer.chance(0.03):
        heads.append(("COMPARISON:", ""))
    elif earlier:
        heads.append(("COMPARISON:", dated[writer.rng.integers(len(dated))]))
    elif writer.chance(0.7):
        heads.append(("COMPARISON:", ("None.", "None available.", "No prior.")[writer.rng.integers(3)]))
    return heads


def _heads(writer: Writer) -> tuple[str, str]:
    """The headers of the two main sections, in the forms that occur."""
    findings, impression = "FINDINGS:", "CONCLUSION:" if writer.chance(0.03) else "IMPRESSION:"
    if writer.chance(0.04):
        return findings.capitalize(), impression.capitalize()
    return findings, impression


def render(
    prior: Findings | None,
    current: Findings,
    rng: np.random.Generator,
    *,
    sex: str = "F",
    view: str = "PA",
    lateral: bool = False,
    inspiration: float = 1.0,
    incidental: int | None = None,
    phrases: str = "all",
) -> Report:
    """The report of a study, and the labels that its text speaks of.

    ``prior`` holds the findings of the study before, None at the first; ``incidental`` is a row of
    `phrases.INCIDENTAL`; ``phrases`` is all, seen or held-out. Raises ValueError for another word.
    """
    if phrases not in words.WHICH:
        raise ValueError(f"phrases are one of {', '.join(words.WHICH)}, not {phrases!r}")
    writer = Writer(rng, phrases)
    if prior is not None and writer.chance(UNCOMPARED):
        prior = None
    earlier = prior is not None
    observations = _doubted(writer, observe(prior, current))
    layout = str(rng.choice(list(LAYOUTS), p=list(LAYOUTS.values())))
    extras = []
    if inspiration < 0.9 and writer.chance(0.6):
        extras.append(writer.pick(words.LOW_VOLUMES))
        if writer.chance(0.4):
            extras.append(writer.pick(words.ATELECTASIS))
            writer.mention("atelectasis", 1)
    if incidental is not None and layout != "impression":
        sentence, label = words.INCIDENTAL[incidental]
        extras.append(sentence)
        writer.mention(label, 1)

    blocks = _preamble(writer, sex, view, lateral=lateral, earlier=earlier)
    findings_head, impression_head = _heads(writer)
    seen, concluded = "", ""
    if layout != "impression":
        seen = _findings_text(writer, observations, extras, earlier=earlier)
    if layout in ("both", "impression"):
        sentences = _impression_sentences(writer, observations, alone=layout == "impression", earlier=earlier)
        if writer.chance(0.04):
            sentences.append(writer.pick(words.RECOMMENDATIONS))
        concluded = _impression_text(writer, sentences)
    if layout == "impression" and writer.chance(0.12):
        blocks.append(("FINDINGS AND IMPRESSION:", concluded))
    elif layout == "neither":
        title = "PORTABLE AP CHEST:" if view == "AP" else "CHEST RADIOGRAPH:"
        blocks.append((title if writer.chance(0.6) else "", seen))
    else:
        blocks += [(findings_head, seen)] if seen else []
        blocks += [(impression_head, concluded)] if concluded else []

    return Report(_layout(writer, blocks), complete(writer.mentions))


def _layout(writer: Writer, blocks: list[tuple[str, str]]) -> str:
    own_line = writer.chance(0.4)
    main = ("FINDINGS", "IMPRESSION", "CONCLUSION")
    body = "\n \n".join(
        _section(head, text, own_line=own_line and head.upper().startswith(main)) for head, text in blocks
    )
    if writer.chance(0.01):
        return body.lstrip() + "\n"
    report = f"{'FINAL REPORT':>45}\n{body}\n"
    if writer.chance(0.025):
        addendum = _wrapped(f"ADDENDUM:  {writer.pick(words.ADDENDA)}")
        report = f"{'FINAL ADDENDUM':>47}\n{addendum}\n{UNDERSCORES}\n{report}"
    return report
