"""Reports of phantom studies: the observations in words, in the layout of MIMIC-CXR's text files."""

import re
import textwrap
from dataclasses import dataclass, field, replace

import numpy as np

from biomedjourney.phantom import phrases as words
from biomedjourney.phantom.findings import Observation, degree, observe
from biomedjourney.phantom.labels import complete
from biomedjourney.phantom.phrases import Phrases, pick
from biomedjourney.phantom.state import Findings

# Which of the two main sections a report has, with probabilities. With neither, its text has another header or none.
LAYOUTS = {"both": 0.61, "impression": 0.22, "findings": 0.13, "neither": 0.04}
UNCERTAIN = 0.05  # share of the new, first seen or absent findings that are worded as uncertain
UNCOMPARED = 0.03  # share of the follow-up studies that are reported without the earlier film
VERB = re.compile(r"\b(is|are|has|have|had|persists?|remains?|reflects|shows?|may|cannot|include)\b")
ABRUPT = ("no ", "negative", "findings include", "cannot")
UNDERSCORES = " " + "_" * 78


@dataclass(frozen=True)
class Report:
    """The text of a report, and the CheXpert labels that it mentions: 1 present, 0 denied, -1 uncertain."""

    text: str
    mentions: dict[str, int] = field(default_factory=dict)


@dataclass
class Writer:
    """Writes one report and collects its labels. ``which``: the phrases to use: all, seen or held-out."""

    rng: np.random.Generator
    which: str
    mentions: dict[str, int] = field(default_factory=dict)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, options: Phrases) -> str:
        return pick(self.rng, options, self.which)

    def mention(self, label: str, value: int) -> None:
        """Records a label. Of two mentions, present counts first, then uncertain, then denied."""
        rank = (0, -1, 1)
        earlier = self.mentions.get(label, 0)
        self.mentions[label] = max(earlier, value, key=rank.index)


def _article(noun: str) -> str:
    vowel = noun[0].lower() in "aeio" or noun.startswith("ET ")
    return ("an " if vowel else "a ") + noun


def _nouns(finding: str, place: str) -> Phrases:
    if place in ("bilateral", "bibasilar"):
        return words.NOUNS[finding]["both"]
    if finding == "consolidation":
        return words.NOUNS[finding][place.split()[1]]
    return words.NOUNS[finding]["one"]


def _slots(writer: Writer, observation: Observation) -> dict[str, str]:
    side = observation.place.split()[0] if observation.place else ""
    noun = writer.pick(_nouns(observation.finding, observation.place)).format(side=side)
    degree_name = degree(observation.severity)
    adjective = writer.pick(words.DEGREES[observation.finding][degree_name])
    noun_phrase = f"{adjective} {noun}" if observation.severity and writer.chance(0.8) else noun
    several = observation.place in ("bilateral", "bibasilar")
    is_mass_noun = observation.finding in words.MASS_NOUNS
    without_article = bool(several or is_mass_noun)
    return {
        "side": side,
        "bare": noun,
        "np": noun_phrase,
        "a": noun_phrase if without_article else _article(noun_phrase),
        "anew": f"new {noun_phrase}" if without_article else f"a new {noun_phrase}",
        "the": noun if is_mass_noun else f"the {noun}",
        "degree": adjective,
        "degreely": words.ADVERBS[degree_name],
        "is": "are" if several else "is",
        "has": "have" if several else "has",
        "was": "were" if several else "was",
        "s": "" if several else "s",
    }


def _fits(template: str, observation: Observation) -> bool:
    """Whether a template suits an observation.

    A side is named only if there is one side, and "now" a degree only if the degree has changed. A heart does not clear
    and is not extensive.
    """
    if "{side}" in template and observation.place in ("bilateral", "bibasilar"):
        return False
    if observation.finding == "cardiomegaly" and re.search("clear|extensive", template):
        return False
    names_new_degree = observation.status in ("larger", "smaller") and "now {degree}" in template
    return not names_new_degree or degree(observation.before) != degree(observation.severity)


def _device_sentence(writer: Writer, observation: Observation) -> str:
    writer.mention("support_devices", 0 if observation.status == "resolved" else 1)
    noun = writer.pick(words.DEVICE_NOUNS[observation.place])
    where = writer.pick(words.DEVICE_PLACES[observation.place])
    return writer.pick(words.DEVICES[observation.status]).format(bare=noun, a=_article(noun), where=where)


def _sentence(writer: Writer, observation: Observation) -> str:
    """A sentence for one observation that is not a denial, without capital letter and full stop."""
    if observation.finding == "support_devices":
        return _device_sentence(writer, observation)
    value = {"uncertain": -1, "resolved": 0}.get(observation.status, 1)
    writer.mention(observation.finding, value)
    general = words.GENERAL[observation.status].of(writer.which)
    special = words.SPECIAL.get((observation.finding, observation.status), Phrases(())).of(writer.which)
    templates = special if special and writer.chance(0.35) else general
    fitting = [t for t in templates if _fits(t, observation)] or [t for t in general if _fits(t, observation)]
    template = fitting[writer.rng.integers(len(fitting))]
    sentence = template.format_map(_slots(writer, observation))
    if "cardiomediastinal" in sentence:
        writer.mention("enlarged_cardiomediastinum", value)
    if observation.finding == "consolidation" and observation.status in ("new", "present") and writer.chance(0.35):
        certainty = 1 if writer.chance(0.4) else -1
        writer.mention("pneumonia", certainty)
        sentence += f", {writer.pick(words.PNEUMONIA[certainty])}"
    return sentence


def _listing(nouns: list[str]) -> str:
    if len(nouns) < 3:
        return " or ".join(nouns)
    return f"{', '.join(nouns[:-1])}, or {nouns[-1]}"


def _denials(writer: Writer, denied: list[Observation]) -> list[str]:
    """Sentences for the absent findings: some have their own sentence, the others share one list."""
    sentences, in_list = [], []
    for observation in denied:
        writer.mention(observation.finding, 0)
        own_sentences = words.SPECIAL_DENIALS.get(observation.finding)
        if own_sentences and writer.chance(0.8 if observation.finding == "cardiomegaly" else 0.1):
            sentences.append(writer.pick(own_sentences))
            if "cardiomediastinal" in sentences[-1]:
                writer.mention("enlarged_cardiomediastinum", 0)
        else:
            in_list.append(observation)
    if in_list:
        order = writer.rng.permutation(len(in_list))
        nouns = [writer.pick(words.DENIED_NOUNS[in_list[i].finding]) for i in order]
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
    """Joins some neighbouring sentences."""
    result: list[str] = []
    for sentence in sentences:
        if result and writer.chance(0.2) and len(result[-1]) + len(sentence) < 130 and "; " not in result[-1]:
            both_have_verbs = all(VERB.search(part) for part in (result[-1], sentence))
            abrupt = "," in result[-1] + sentence or sentence.startswith(ABRUPT)
            link = " and " if both_have_verbs and not abrupt and writer.chance(0.6) else "; "
            result[-1] += link + sentence
        else:
            result.append(sentence)
    return result


def _with_comparison(writer: Writer, sentences: list[str], probability: float) -> list[str]:
    """With this probability the first sentence begins with what the film is compared with."""
    if not sentences or not writer.chance(probability) or sentences[0].startswith(("findings include", "cannot")):
        return sentences
    first = sentences[0]
    if not VERB.search(first):
        plural = re.match(r"(?:\S+ ){0,3}(?:effusions|consolidations)\b", first)
        first = f"there {'are' if plural else 'is'} {first}"
    return [writer.pick(words.COMPARISONS) + first, *sentences[1:]]


def _with_uncertainty(writer: Writer, observations: list[Observation]) -> list[Observation]:
    """Makes some observations uncertain, of present and of absent findings."""
    result = []
    places = {"pleural_effusion": ("right", "left"), "pneumothorax": ("right", "left")}
    for observation in observations:
        possible = observation.finding != "support_devices" and observation.status in ("new", "present", "denied")
        if possible and writer.chance(UNCERTAIN):
            place = observation.place
            if observation.status == "denied":
                options = places.get(observation.finding, ("right lower", "left lower"))
                mass = observation.finding in words.MASS_NOUNS
                place = "" if mass else options[writer.rng.integers(len(options))]
            severity = min(observation.severity or 0.4, 0.5)
            observation = replace(observation, status="uncertain", place=place, severity=severity)
        result.append(observation)
    return result


def _findings_text(writer: Writer, observations: list[Observation], extras: list[str], *, has_prior: bool) -> str:
    devices = [s for s in observations if s.finding == "support_devices"]
    others = [s for s in observations if s.finding != "support_devices"]
    positive = [s for s in others if s.status != "denied"]
    denied = [s for s in others if s.status == "denied" and writer.chance(0.7)]
    shuffled = [positive[i] for i in writer.rng.permutation(len(positive))]
    body = [_sentence(writer, s) for s in shuffled]
    denials = _denials(writer, denied)
    body = denials + body if writer.chance(0.3) else body + denials
    device_sentences = [_sentence(writer, s) for s in devices]
    body = device_sentences + body if writer.chance(0.4) else body + device_sentences
    body += [writer.pick(words.FILLERS) for _ in range(int(writer.rng.integers(0, 2)))] + extras
    if has_prior:
        body = _with_comparison(writer, body, 0.3)
    return _prose(_joined(writer, body), "  " if writer.chance(0.7) else " ")


def _impression_sentences(
    writer: Writer, observations: list[Observation], *, alone: bool, has_prior: bool
) -> list[str]:
    """The sentences of the Impression. ``alone``: no other section names the findings, so it leaves none out."""
    changed = [s for s in observations if s.status not in ("denied", "unchanged")]
    unchanged = [s for s in observations if s.status == "unchanged"]
    denied = [s for s in observations if s.status == "denied"]
    if has_prior and not alone and len(changed) <= 1 and writer.chance(0.3):
        no_change = writer.pick(words.NO_CHANGE)
        return [_sentence(writer, changed[0]), f"otherwise {no_change}"] if changed else [no_change]
    reported = [s for s in changed if alone or s.status != "resolved" or writer.chance(0.85)]
    if not alone:
        reported = [s for s in reported if s.finding != "support_devices" or writer.chance(0.6)]
    repeated = [s for s in unchanged if alone or writer.chance(0.6)]
    sentences = [_sentence(writer, reported[i]) for i in writer.rng.permutation(len(reported))]
    sentences += [_sentence(writer, repeated[i]) for i in writer.rng.permutation(len(repeated))]
    denials = _denials(writer, [s for s in denied if writer.chance(0.35)])
    if not any(s.status not in ("denied", "resolved") and s.finding != "support_devices" for s in observations):
        denials.append(writer.pick(words.NO_ACUTE if reported or unchanged else words.NORMAL))
    sentences += denials
    if not sentences:
        sentences = [_sentence(writer, s) for s in unchanged[:1]] or [writer.pick(words.NO_ACUTE)]
    return _with_comparison(writer, sentences, 0.3) if has_prior else sentences


def _impression_text(writer: Writer, sentences: list[str]) -> str:
    if len(sentences) > 1 and writer.chance(0.3):
        return "\n ".join(f"{i}. {_prose([s], ' ')}" for i, s in enumerate(sentences, 1))
    return _prose(_joined(writer, sentences), "  " if writer.chance(0.6) else " ")


def _wrapped(text: str) -> str:
    """The text in lines of MIMIC's width, each with a space in front."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines += textwrap.wrap(paragraph.strip(), 78, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join(f" {line}" for line in lines)


def _section(header: str, text: str, *, own_line: bool) -> str:
    section = f"{header} \n \n{text}" if own_line else f"{header}  {text}"
    return _wrapped(section)


def _technique(view: str, lateral: bool) -> tuple[str, str]:
    if lateral:
        return f"CHEST ({view} AND LAT)", f"Chest {view} and lateral"
    if view == "AP":
        return "CHEST (PORTABLE AP)", "Single portable AP view of the chest"
    return f"CHEST ({view})", f"Single frontal view of the chest, {view}"


def _preamble(writer: Writer, sex: str, view: str, *, lateral: bool, has_prior: bool) -> list[tuple[str, str]]:
    examination, technique = _technique(view, lateral)
    man = "woman" if sex == "F" else "man"
    indication = writer.pick(words.INDICATIONS).format(man=man, F=sex)
    headers: list[tuple[str, str]] = []
    if writer.chance(0.75):
        headers.append(("EXAMINATION:", examination if writer.chance(0.8) else "Chest radiograph"))
    headers.append((("INDICATION:", "HISTORY:")[int(writer.chance(0.25))], indication))
    if writer.chance(0.006):
        headers[-1] = ("NDICATION:", indication)
    if writer.chance(0.7):
        headers.append(("TECHNIQUE:", technique))
    earlier_films = ("___.", "Chest radiograph ___.", "Prior radiograph from ___.", "Radiograph of ___ at ___.")
    if writer.chance(0.03):
        headers.append(("COMPARISON:", ""))
    elif has_prior:
        headers.append(("COMPARISON:", earlier_films[writer.rng.integers(len(earlier_films))]))
    elif writer.chance(0.7):
        headers.append(("COMPARISON:", ("None.", "None available.", "No prior.")[writer.rng.integers(3)]))
    return headers


def _main_headers(writer: Writer) -> tuple[str, str]:
    """The headers of the two main sections, in the forms that occur in MIMIC-CXR."""
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
    """The report of a study, and the labels that its text mentions.

    ``prior``: the findings of the study before, None for the first study. ``incidental``: a row of
    `phrases.INCIDENTAL`. ``phrases``: all, seen or held-out. Raises ValueError for another value.
    """
    if phrases not in words.WHICH:
        raise ValueError(f"phrases must be one of {', '.join(words.WHICH)}, not {phrases!r}")
    writer = Writer(rng, phrases)
    if prior is not None and writer.chance(UNCOMPARED):
        prior = None
    has_prior = prior is not None
    observations = _with_uncertainty(writer, observe(prior, current))
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

    blocks = _preamble(writer, sex, view, lateral=lateral, has_prior=has_prior)
    findings_header, impression_header = _main_headers(writer)
    findings_text, impression_text = "", ""
    if layout != "impression":
        findings_text = _findings_text(writer, observations, extras, has_prior=has_prior)
    if layout in ("both", "impression"):
        sentences = _impression_sentences(writer, observations, alone=layout == "impression", has_prior=has_prior)
        if writer.chance(0.04):
            sentences.append(writer.pick(words.RECOMMENDATIONS))
        impression_text = _impression_text(writer, sentences)
    if layout == "impression" and writer.chance(0.12):
        blocks.append(("FINDINGS AND IMPRESSION:", impression_text))
    elif layout == "neither":
        title = "PORTABLE AP CHEST:" if view == "AP" else "CHEST RADIOGRAPH:"
        blocks.append((title if writer.chance(0.6) else "", findings_text))
    else:
        blocks += [(findings_header, findings_text)] if findings_text else []
        blocks += [(impression_header, impression_text)] if impression_text else []

    return Report(_layout(writer, blocks), complete(writer.mentions))


def _layout(writer: Writer, blocks: list[tuple[str, str]]) -> str:
    own_line = writer.chance(0.4)
    main_headers = ("FINDINGS", "IMPRESSION", "CONCLUSION")
    body = "\n \n".join(
        _section(header, text, own_line=own_line and header.upper().startswith(main_headers)) for header, text in blocks
    )
    if writer.chance(0.01):
        return body.lstrip() + "\n"
    report = f"{'FINAL REPORT':>45}\n{body}\n"
    if writer.chance(0.025):
        addendum = _wrapped(f"ADDENDUM:  {writer.pick(words.ADDENDA)}")
        report = f"{'FINAL ADDENDUM':>47}\n{addendum}\n{UNDERSCORES}\n{report}"
    return report
