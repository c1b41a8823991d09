"""The checks on right descriptions and on the same with one word made wrong: python bench/rewrite_checks.py [--show 0]

Right descriptions are the rules' on the report pairs of the tests that are read right, and on phantom reports, both
without labels. tests/helpers/spoiled.py makes them wrong.
"""

import argparse
from collections import Counter

from biomedjourney.rewrite import checks
from biomedjourney.rewrite.rules import Study, describe
from tests.helpers import phantom_pairs, report_pairs
from tests.helpers.spoiled import spoiled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", type=int, default=0, help="spoiled descriptions to print that no check refuses")
    options = parser.parse_args()
    studies = [(p.prior, p.current) for p in report_pairs.report_pairs() if report_pairs.is_read_right(p)]
    for pair in phantom_pairs.pairs(11, 300, "all"):
        texts = [(study.findings, study.impression) for study in (pair.prior, pair.current)]
        studies.append((Study({}, *texts[0]), Study({}, *texts[1])))
    counts: Counter[str] = Counter()
    missed: list[str] = []
    for prior, current in studies:
        description = describe(prior, current)
        counts["right refused"] += not all(checks.run(description, prior, current).values())
        for kind, wrong in spoiled(description, prior, current):
            is_refused = not all(checks.run(wrong, prior, current).values())
            counts[kind] += 1
            counts[f"{kind} refused"] += is_refused
            if not is_refused:
                missed.append(f"{kind}: {description} -> {wrong}")
    print(f"right descriptions refused: {counts['right refused']} of {len(studies)}")
    kinds = ("side", "direction", "size", "finding", "added")
    for kind in kinds:
        print(f"{kind:10s} refused {counts[f'{kind} refused'] / counts[kind]:7.2%} of {counts[kind]}")
    total, refused = sum(counts[kind] for kind in kinds), sum(counts[f"{kind} refused"] for kind in kinds)
    print(f"{'all':10s} refused {refused / total:7.2%} of {total}")
    for line in missed[: options.show]:
        print(line)


if __name__ == "__main__":
    main()
