"""The rules writer on real reports: random pairs of Open-i, judged by the experts' MeSH codes in the same files.

python bench/rewrite_openi.py [--pairs 2000] [--seed 0] [--show 0] [--errors 0]

The reports (Demner-Fushman et al., 2016) ship with torchxrayvision. Two random reports make a pair, of two patients:
the findings told as present are right or wrong all the same. Codes in ``major`` were given by people who read the
report; reports that nobody coded are left out. ``XXXX`` stands for removed words.
"""

import argparse
import re
import tarfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biomedjourney.rewrite.rules import Study, changes, describe

# The heading that a code begins with, and what else it must name, for each label. A heart failure or a congestion is
# the labeller's edema (Irvin et al., 2019); a granuloma counts as a lesion.
CODES = {
    "pleural_effusion": r"pleural effusion|hydropneumothorax|hemopneumothorax|hemothorax",
    "cardiomegaly": r"cardiomegaly|cardiac shadow/.*enlarged|heart/enlarged",
    "consolidation": r"consolidation",
    "edema": r"pulmonary edema|pulmonary congestion|heart failure",
    "pneumothorax": r"pneumothorax|hydropneumothorax|hemopneumothorax",
    "atelectasis": r"pulmonary atelectasis|volume loss",
    "pneumonia": r"pneumonia",
    "lung_opacity": r"opacity(?!.*nodul)|airspace disease|infiltrate|density(?=.*/lung)",
    "pleural_other": r"(?:thickening|cicatrix)(?=.*pleura)",
    "enlarged_cardiomediastinum": r"mediastinum/.*(?:enlarged|prominent|wid)",
    "lung_lesion": r"nodule|mass(?!.*mediastin)|granuloma|calcified granuloma|granulomatous disease|opacity.*nodul",
    "fracture": r"fractures, bone",
    "support_devices": r"catheters, indwelling|implanted medical device(?!/humerus|/shoulder|/.*vertebra|/clavicle|"
    r"/neck)|medical device|tube, inserted",
}
IMPLIES_OPACITY = ("consolidation", "edema", "atelectasis", "pneumonia")
DEVICE = ("picc", "central_line", "endotracheal_tube", "enteric_tube", "chest_tube", "pacemaker", "tracheostomy")


@dataclass(frozen=True)
class Coded:
    """One report with the labels that its codes stand for."""

    name: str
    study: Study
    labels: frozenset[str]
    codes: tuple[str, ...]


def archive() -> Path:
    import torchxrayvision

    return Path(torchxrayvision.__file__).parent / "data" / "NLMCXR_reports.tgz"


def coded_reports() -> Iterator[Coded]:
    """Every report with text that somebody coded."""
    with tarfile.open(archive()) as files:
        for entry in files:
            file = files.extractfile(entry) if entry.name.endswith(".xml") else None
            if file is None:
                continue
            root = ElementTree.fromstring(file.read())
            text = {part.get("Label"): part.text or "" for part in root.iter("AbstractText")}
            codes = tuple((code.text or "").strip() for code in root.iter("major"))
            if not codes or "No Indexing" in codes or not (text.get("FINDINGS") or text.get("IMPRESSION")):
                continue
            study = Study({}, text.get("FINDINGS", ""), text.get("IMPRESSION", ""))
            labels = {n for n, p in CODES.items() for code in codes if re.match(rf"(?:{p})\b", code.lower())}
            yield Coded(entry.name, study, frozenset(labels), codes)


def label(finding: str) -> str:
    return "support_devices" if finding in DEVICE else finding


def told_present(prior: Study, current: Study) -> set[str]:
    """The labels of the current study that the changes tell as there, those that stayed among them."""
    return {label(change.finding) for change in changes(prior, current) if change.direction != "resolved"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, help="rows to print")
    parser.add_argument("--errors", type=int, default=0, help="disagreements of each kind to print")
    parser.add_argument("--only", default="", help="disagreements on this label alone")
    options = parser.parse_args()
    reports = sorted(coded_reports(), key=lambda report: report.name)
    rng = np.random.default_rng(options.seed)
    places = [rng.choice(len(reports), 2, replace=False) for _ in range(options.pairs)]
    counts: Counter[str] = Counter()
    wrong: dict[str, dict[str, Coded]] = {"told": {}, "missed": {}}
    for i, j in places:
        prior, current = reports[i], reports[j]
        told = told_present(prior.study, current.study)
        implied = told | ({"lung_opacity"} if told & set(IMPLIES_OPACITY) else set())
        for name in CODES:
            counts[f"{name} told"] += name in told
            counts[f"{name} told right"] += name in told & current.labels
            counts[f"{name} coded"] += name in current.labels
            counts[f"{name} coded found"] += name in current.labels & implied
        for name in told - current.labels:
            wrong["told"][f"{name} {current.name}"] = current
        for name in current.labels - implied:
            wrong["missed"][f"{name} {current.name}"] = current
    total = Counter({k: sum(counts[f"{n} {k}"] for n in CODES) for k in ("told", "told right", "coded", "coded found")})
    print(f"{options.pairs} pairs of {len(reports)} coded reports")
    for name in CODES:
        precision = counts[f"{name} told right"] / max(counts[f"{name} told"], 1)
        recall = counts[f"{name} coded found"] / max(counts[f"{name} coded"], 1)
        print(f"{name:18s} precision {precision:6.1%} of {counts[f'{name} told']:4d}   "
              f"recall {recall:6.1%} of {counts[f'{name} coded']:4d}")  # fmt: skip
    print(f"{'all':18s} precision {total['told right'] / total['told']:6.1%} of {total['told']:4d}   "
          f"recall {total['coded found'] / total['coded']:6.1%} of {total['coded']:4d}")  # fmt: skip
    for kind, cases in wrong.items():
        chosen = [(key, case) for key, case in sorted(cases.items()) if key.startswith(options.only)]
        print(f"\n{kind}: {len(chosen)} disagreements of distinct reports")
        for key, case in chosen[: options.errors]:
            print(f"- {key.split()[0]}: {' '.join((case.study.findings + ' [I] ' + case.study.impression).split())}")
            print(f"    codes {'; '.join(case.codes)}")
    for i, j in places[: options.show]:
        prior, current = reports[i].study, reports[j].study
        print(f"\nprior   {' '.join((prior.findings + ' [I] ' + prior.impression).split())}")
        print(f"current {' '.join((current.findings + ' [I] ' + current.impression).split())}")
        print(f"-> {describe(prior, current)}")


if __name__ == "__main__":
    main()
