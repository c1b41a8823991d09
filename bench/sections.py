"""How many of Open-i's reports the section splitter gives back whole, trap by trap, and the failures.

python bench/sections.py [--seed 1] [--community section_parser.py]

The 3,955 reports of the installed torchxrayvision are written out in MIMIC-CXR's layout, each with every trap of
tests/helpers/report_layout.py, so that all traps have equal shares. A report counts when its findings and impression
both come back with no word more or less (white space normalised). Beside it, where a copy of MIT-LCP's
`txt/section_parser.py` is given, what that one gives back, its last paragraph being taken for findings it lacks.
"""

import argparse
import random
from collections.abc import Callable
from pathlib import Path

from biomedjourney.ingest.sections import split_report
from tests.helpers.report_layout import TRAPS, openi_reports
from tests.helpers.section_parser import load

Split = Callable[[str], tuple[str, str]]
SHOWN = 160  # characters of a failure


def ours(text: str) -> tuple[str, str]:
    found = split_report(text)
    return found.findings, found.impression


def theirs(parser: Path) -> Split:
    section_text = load(parser).section_text

    def split(text: str) -> tuple[str, str]:
        texts, names, _ = section_text(text)
        found = dict(zip(names, texts, strict=True))  # the last of each name
        return found.get("findings", found.get("last_paragraph", "")), found.get("impression", "")

    return split


def normal(parts: tuple[str, str]) -> tuple[str, str]:
    return " ".join(parts[0].split()), " ".join(parts[1].split())


def failures(trap: str, split: Split, seed: int) -> list[tuple[int, tuple[str, str], tuple[str, str]]]:
    """Number, truth and what came back of each report that did not come back whole."""
    write, truth = TRAPS[trap]
    lost = []
    for number, report in enumerate(openi_reports()):
        found = normal(split(write(report, random.Random(f"{seed} {trap} {number}"))))
        if found != normal(truth(report)):
            lost.append((number, normal(truth(report)), found))
    return lost


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--community", type=Path)
    chosen = arguments.parse_args()
    every = len(openi_reports())
    splits = {"ours": ours} | ({"community": theirs(chosen.community)} if chosen.community else {})
    lost = {name: {trap: failures(trap, split, chosen.seed) for trap in TRAPS} for name, split in splits.items()}
    print(f"recovered of {every} reports: {', '.join(splits)}")
    for trap in TRAPS:
        print(
            f"{trap:16}",
            *(f"{every - len(lost[name][trap]):6} ({1 - len(lost[name][trap]) / every:7.2%})" for name in splits),
        )
    total = every * len(TRAPS)
    print(f"{'all':16}", *(f"{1 - sum(map(len, each.values())) / total:7.2%}" for each in lost.values()))
    for trap, cases in lost["ours"].items():
        for number, truth, found in cases:
            print(f"\n{trap}, report {number}:")
            for name, wanted, got in zip(("findings", "impression"), truth, found, strict=True):
                if wanted != got:
                    print(f"  {name} wanted: {wanted[:SHOWN]}\n  {name} found:  {got[:SHOWN]}")


if __name__ == "__main__":
    main()
