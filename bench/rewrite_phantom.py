"""The rules writer on phantom reports, against the truth: which directions are right, what is missed, what is invented.

python bench/rewrite_phantom.py [--phrases seen|held-out|all] [--patients 1500] [--seed 1] [--show 0] [--errors 0]

Reports are drawn without films; tests/helpers/phantom_pairs.py says how a description is judged.
"""

import argparse

import numpy as np

from biomedjourney.rewrite.rules import Study, describe
from tests.helpers.phantom_pairs import Score, judge, pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phrases", choices=("seen", "held-out", "all"), default="held-out")
    parser.add_argument("--patients", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="rows to print")
    parser.add_argument("--errors", type=int, default=0, help="errors of each kind to print")
    options = parser.parse_args()
    score = Score()
    drawn = list(pairs(options.seed, options.patients, options.phrases))
    descriptions = [describe(pair.prior, pair.current) for pair in drawn]
    for pair, description in zip(drawn, descriptions, strict=True):
        judge(pair, description, score)
    print(f"{len(drawn)} pairs, {options.phrases} phrases, {len(set(descriptions))} distinct descriptions,"
          f" mean length {np.mean([len(d) for d in descriptions]):.0f} characters")  # fmt: skip
    for name in ("direction", "mentioned", "mentioned, direction right", "not invented"):
        print(f"{name:28s} {score.share(name):7.2%} of {score.counts[name]}")
    for name in ("direction", "mentioned", "mentioned, direction right", "not invented"):
        for what, pair, description in [e for e in score.errors if e[0].startswith(f"{name}:")][: options.errors]:
            print(f"\n{what}\n  prior   {_text(pair.prior)}\n  current {_text(pair.current)}\n  -> {description}")
    rng = np.random.default_rng(0)
    for i in rng.choice(len(drawn), min(options.show, len(drawn)), replace=False):
        print(f"\nprior   {_text(drawn[i].prior)}\ncurrent {_text(drawn[i].current)}\n-> {descriptions[i]}")


def _text(study: Study) -> str:
    return " ".join(f"[F] {study.findings} [I] {study.impression}".split())


if __name__ == "__main__":
    main()
