"""Real reports written in MIMIC-CXR's layout, drawn by a seed, each with one or two traps in its headers."""

import importlib.util
import random
import tarfile
import textwrap
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from functools import cache
from pathlib import Path

Sections = dict[str, str]
TITLE = f"{'FINAL REPORT':>44}\n"
UNDERSCORES = " " + "_" * 78 + "\n"


def openi_archive() -> Path:
    """The Open-i reports that ship with torchxrayvision, found without importing it, which takes seconds."""
    package = importlib.util.find_spec("torchxrayvision")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "data" / "NLMCXR_reports.tgz"


@cache
def openi_reports() -> tuple[Sections, ...]:
    """The Open-i reports: text by header, XXXX (removed words) written as in MIMIC-CXR, ___."""
    reports = []
    with tarfile.open(openi_archive()) as archive:
        for member in archive:
            if member.name.endswith(".xml"):
                file = archive.extractfile(member)
                assert file is not None
                texts = ElementTree.parse(file).iter("AbstractText")
                sections = {t.get("Label", ""): (t.text or "").strip().replace("XXXX", "___") for t in texts}
                reports.append({name: text for name, text in sections.items() if text})
    return tuple(reports)


def wrap(text: str) -> str:
    return "\n".join(" " + line for line in textwrap.wrap(text, 78, break_on_hyphens=False, break_long_words=False))


def block(header: str, text: str, rng: random.Random) -> str:
    """A section as MIMIC-CXR prints it: the text beside the header or, after an empty line, below it."""
    if rng.random() < 0.5:
        return wrap(f"{header}:  {text}") + "\n \n"
    return f" {header}: \n \n{wrap(text)}\n \n"


ORDER = ("INDICATION", "COMPARISON", "FINDINGS", "IMPRESSION")


def plain(report: Sections, rng: random.Random, names: dict[str, str] | None = None) -> str:
    names = names or {}
    written = [block(names.get(name, name), report[name], rng) for name in ORDER if name in report]
    return TITLE + " EXAMINATION:  CHEST (PA AND LAT)\n \n" + "".join(written)


def lower_case(report: Sections, rng: random.Random) -> str:
    style = rng.choice([str.lower, str.title])
    return plain(report, rng, {name: style(name) for name in ORDER})


def at_the_start(report: Sections, rng: random.Random) -> str:
    return "".join(block(name, report[name], rng) for name in ORDER if name in report).lstrip()


def empty_header(report: Sections, rng: random.Random) -> str:
    written = ""
    for name in ORDER:
        if name in report:
            empty = rng.choice(["TECHNIQUE", "COMPARISON", "WET READ", "RECOMMENDATION(S)"])
            written += f" {empty}:" + rng.choice(["\n", " \n", " \n \n", "\n\n"]) + block(name, report[name], rng)
    return TITLE + written


def conclusion(report: Sections, rng: random.Random) -> str:
    return plain(report, rng, {"IMPRESSION": "CONCLUSION"})


VIEWS = ("PORTABLE AP CHEST", "CHEST, TWO VIEWS", "PA AND LATERAL VIEWS OF THE CHEST", "AP CHEST, ___, 8:15 A.M.")


def view_header(report: Sections, rng: random.Random) -> str:
    return plain(report, rng, {"FINDINGS": rng.choice(VIEWS)})


def misspell(word: str, rng: random.Random) -> str:
    place = rng.randrange(len(word) - 1)
    slip = rng.choice(["lost", "doubled", "swapped", "changed"])
    if slip == "lost":
        return word[:place] + word[place + 1 :]
    if slip == "doubled":
        return word[: place + 1] + word[place:]
    if slip == "swapped":
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return word[:place] + rng.choice("AEIOURSTLN") + word[place + 1 :]


def misspelt(report: Sections, rng: random.Random) -> str:
    return plain(report, rng, {name: misspell(name, rng) for name in ORDER})


def addendum(report: Sections, rng: random.Random, write: Callable[[Sections, random.Random], str] = plain) -> str:
    above = rng.choice(
        [
            "ADDENDUM:  The findings were discussed with Dr. ___ by telephone.",
            "ADDENDUM  There is no change to the report below.",
            "WET READ: ___ ___ ___ 11:01 PM\n  no acute process",
        ]
    )
    corrected = rng.choice(["", " IMPRESSION:  Corrected side of the line.\n"]) if above.startswith("ADD") else ""
    return f" {above}\n{corrected}{UNDERSCORES}" + write(report, rng)


def several_blocks(report: Sections, rng: random.Random) -> str:
    written = TITLE
    for name in ORDER:
        words = report.get(name, "").split()
        cut = len(words) // 2
        for piece in (words[:cut], words[cut:]):
            written += block(name, " ".join(piece), rng) if piece else ""
    return written


def combined(report: Sections, rng: random.Random) -> str:
    header = rng.choice(["FINDINGS AND IMPRESSION", "FINDINGS/IMPRESSION", "IMPRESSION AND FINDINGS"])
    named = {name: report[name] for name in ("INDICATION", "COMPARISON") if name in report}
    return plain(named, rng) + block(header, in_one(report), rng)


def no_header(report: Sections, rng: random.Random) -> str:
    return TITLE + rng.choice(["", " CHEST RADIOGRAPH, ___\n \n"]) + wrap(in_one(report)) + "\n"


def other_layout(report: Sections, rng: random.Random) -> str:
    """Line ends of Windows, tabs, no empty lines, a space before the colon."""
    text = plain(report, rng)
    changes = [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n ", "\n\t"),
        lambda text: text.replace("\n \n", "\n"),
        lambda text: text.replace(":  ", " :  ").replace(": \n", " : \n"),
        lambda text: text.replace("\n ", "\n"),
    ]
    return rng.choice(changes)(text)


def sections_after(report: Sections, rng: random.Random) -> str:
    after = {
        "RECOMMENDATION(S)": "Follow-up radiograph in 4 weeks to document resolution.",
        "NOTIFICATION": "Findings were discussed with Dr. ___ by telephone at 10:15 AM, 5 minutes after discovery.",
        "WET READ": "___ ___ ___ 8:40 PM no acute process",
    }
    return plain(report, rng) + "".join(block(name, after[name], rng) for name in rng.sample(sorted(after), 2))


def signed(rng: random.Random) -> str:
    """Initials, day and time as the wet reads of MIMIC-CXR have them, removed or not."""
    who = rng.choice(["ABCd", "JKo", "___ ___"])
    return f"{who} {rng.choice(['MON', 'SUN', '___'])} {rng.randint(1, 12)}:{rng.randint(10, 59)} {rng.choice('AP')}M"


EARLY_WORDS = ("no acute process", "1. Small left effusion. 2. No pneumothorax.", "ETT 4.1 cm from the carina.")


def provisional(report: Sections, rng: random.Random) -> str:
    """Provisional findings above the report, among its sections or below it."""
    name = rng.choice(
        ["PROVISIONAL FINDINGS IMPRESSION (PFI)", "PFI", "PROVISIONAL FINDINGS", "PRELIMINARY IMPRESSION"]
    )
    early = f" {name}:  {signed(rng)}\n   {rng.choice(EARLY_WORDS)}\n \n"
    place = rng.choice(["above", "among", "below"])
    if place == "above":
        return early + UNDERSCORES + plain(report, rng)
    if place == "below":
        return plain(report, rng) + early
    return f"{TITLE} EXAMINATION:  CHEST\n \n{early}" + at_the_start(report, rng)


def wet_reads(report: Sections, rng: random.Random) -> str:
    """Two versions of a wet read; the second one has no colon."""
    first = f" {rng.choice(['WET READ', 'Wet read', 'ED WET READ'])}: {signed(rng)}\n  {rng.choice(EARLY_WORDS)}\n"
    second = f" WET READ VERSION #{rng.choice('12')} {signed(rng)}\n  {rng.choice(EARLY_WORDS)}\n"
    early = first + second
    if rng.random() < 0.3:
        early += f" FINDINGS:  {rng.choice(EARLY_WORDS)}\n IMPRESSION:  {rng.choice(EARLY_WORDS)}\n"
        return early + UNDERSCORES + plain(report, rng)
    return early + UNDERSCORES + plain(report, rng) if rng.random() < 0.5 else plain(report, rng) + early


def preliminary_report(report: Sections, rng: random.Random) -> str:
    early = {"FINDINGS": rng.choice(EARLY_WORDS), "IMPRESSION": rng.choice(EARLY_WORDS)}
    return f"{'PRELIMINARY REPORT':>44}\n" + at_the_start(early, rng) + plain(report, rng)


def no_colon(report: Sections, rng: random.Random) -> str:
    """Headers that end with another mark, with a gap or with their line, or have their colon below."""
    end = rng.choice([" -  ", " - ", ".  ", "; ", "   ", "\n ", " \n \n ", "\n :  ", ".\n "])
    written = TITLE + " EXAMINATION:  CHEST (PA AND LAT)\n \n"
    for name in ORDER:
        if name in report:
            written += f" {name}{end}{wrap(report[name]).lstrip()}\n \n"
    return written


def marked(report: Sections, rng: random.Random) -> str:
    """Headers in bold, numbered, or with a rule below them."""
    style = rng.choice(
        ["**{}:** ", "**{}**: ", "***{}***\n ", "## {}\n ", "{}:\n -------- \n ", "{}\n ======\n ", "#. {}: "]
    )
    written = TITLE
    for number, name in enumerate(ORDER, 1):
        if name in report:
            header = style.replace("#.", f"{number}.").format(name)
            written += f" {header}{wrap(report[name]).lstrip()}\n \n"
    return written


def in_one_line(report: Sections, rng: random.Random) -> str:
    return TITLE + " " + "  ".join(f"{name}:  {report[name]}" for name in ORDER if name in report) + "\n"


def closing(report: Sections, rng: random.Random) -> str:
    """Who dictated and signed the report, below it."""
    lines = [
        "Electronically signed by Dr. ___ on ___ at 3:12 PM",
        "DICTATED BY:  ___",
        "ATTENDING RADIOLOGIST:  ___, MD",
        "END OF IMPRESSION:",
        "CRITICAL RESULTS:  Told to Dr. ___ at 3:12 PM.",
        "Approved by: ___",
    ]
    return plain(report, rng) + "".join(f" {line}\n" for line in rng.sample(lines, 2))


def two_traps(report: Sections, rng: random.Random) -> str:
    """A trap of the report's own headers below an addendum."""
    write = rng.choice([lower_case, empty_header, conclusion, view_header, misspelt, several_blocks, sections_after])
    return addendum(report, rng, write)


def in_one(report: Sections) -> str:
    return " ".join(report[name] for name in ("FINDINGS", "IMPRESSION") if name in report)


def kept(report: Sections) -> tuple[str, str]:
    return report.get("FINDINGS", ""), report.get("IMPRESSION", "")


def both(report: Sections) -> tuple[str, str]:
    return in_one(report), in_one(report)


def findings_alone(report: Sections) -> tuple[str, str]:
    return in_one(report), ""


Truth = Callable[[Sections], tuple[str, str]]
TRAPS: dict[str, tuple[Callable[[Sections, random.Random], str], Truth]] = {
    "plain": (plain, kept),
    "lower case": (lower_case, kept),
    "at the start": (at_the_start, kept),
    "empty header": (empty_header, kept),
    "conclusion": (conclusion, kept),
    "view header": (view_header, kept),
    "misspelt": (misspelt, kept),
    "addendum": (addendum, kept),
    "several blocks": (several_blocks, kept),
    "combined": (combined, both),
    "no header": (no_header, findings_alone),
    "other layout": (other_layout, kept),
    "sections after": (sections_after, kept),
    "two traps": (two_traps, kept),
    "provisional": (provisional, kept),
    "wet reads": (wet_reads, kept),
    "preliminary": (preliminary_report, kept),
    "no colon": (no_colon, kept),
    "marked": (marked, kept),
    "in one line": (in_one_line, kept),
    "closing": (closing, kept),
}
