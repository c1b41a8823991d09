"""The rules writer on real reports: random pairs of Open-i, judged by the experts' MeSH codes in the same files.

python bench/rewrite_openi.py [--pairs 2000] [--seed 0] [--show 0] [--errors 0]

The two random reports of a pair come from two patients. That does not matter here: what is judged is which findings the
description names as present in the second report.
"""

import argparse
from collections import Counter

import numpy as np

from biomedjourney.rewrite.rules import Study, describe
from tests.helpers.coded_reports import (
    CODES,
    CodedReport,
    coded_reports,
    labels_named_present,
    with_implied_opacity,
)


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
    disagreements: dict[str, dict[str, CodedReport]] = {"named and not coded": {}, "coded and not named": {}}
    for i, j in places:
        prior, current = reports[i], reports[j]
        named = labels_named_present(prior.study, current.study)
        named_or_implied = with_implied_opacity(named)
        for label in CODES:
            counts[f"{label} named"] += label in named
            counts[f"{label} named right"] += label in named & current.labels
            counts[f"{label} coded"] += label in current.labels
            counts[f"{label} coded found"] += label in current.labels & named_or_implied
        for label in named - current.labels:
            disagreements["named and not coded"][f"{label} {current.name}"] = current
        for label in current.labels - named_or_implied:
            disagreements["coded and not named"][f"{label} {current.name}"] = current
    kinds = ("named", "named right", "coded", "coded found")
    total = Counter({kind: sum(counts[f"{label} {kind}"] for label in CODES) for kind in kinds})
    print(f"{options.pairs} pairs of {len(reports)} coded reports")
    for label in CODES:
        precision = counts[f"{label} named right"] / max(counts[f"{label} named"], 1)
        recall = counts[f"{label} coded found"] / max(counts[f"{label} coded"], 1)
        print(f"{label:18s} precision {precision:6.1%} of {counts[f'{label} named']:4d}   "
              f"recall {recall:6.1%} of {counts[f'{label} coded']:4d}")  # fmt: skip
    print(f"{'all':18s} precision {total['named right'] / total['named']:6.1%} of {total['named']:4d}   "
          f"recall {total['coded found'] / total['coded']:6.1%} of {total['coded']:4d}")  # fmt: skip
    for kind, cases in disagreements.items():
        of_the_label = [(key, report) for key, report in sorted(cases.items()) if key.startswith(options.only)]
        print(f"\n{kind}: {len(of_the_label)} disagreements of distinct reports")
        for key, report in of_the_label[: options.errors]:
            print(f"- {key.split()[0]}: {_text(report.study)}")
            print(f"    codes {'; '.join(report.codes)}")
    for i, j in places[: options.show]:
        prior, current = reports[i].study, reports[j].study
        print(f"\nprior   {_text(prior)}\ncurrent {_text(current)}\n-> {describe(prior, current)}")


def _text(study: Study) -> str:
    return " ".join(f"{study.findings} [I] {study.impression}".split())


if __name__ == "__main__":
    main()
