"""How well registration fits on real films: a known truth recovered, the correlation of real pairs, and the scores of
pairs that do not belong together.

BIOMEDJOURNEY_FILMS=FOLDER python bench/registration_accuracy.py
"""

import argparse
from functools import partial

import numpy as np

from biomedjourney.errors import UserError
from biomedjourney.preprocess import load
from biomedjourney.register import Registration, register
from biomedjourney.register.registration import THRESHOLD
from tests.helpers import films


def known_truth(transform: str, draws: int) -> None:
    folder = films.folder()
    mean, largest, turned = [], [], 0
    for k, path in enumerate(films.paths(folder)):
        film = films.square(path)
        for draw in range(draws):
            rng = np.random.default_rng([11, k, draw])
            true, negative = films.random_affine(rng, films.SIDE), (k + draw) % 3 == 0
            moved = films.another_day(film, true, rng, negative)
            found = register((film * 255).astype(np.uint8), moved, transform=transform)
            turned += found.inverted == negative
            distances = films.corner_distances(found.matrix, true, films.SIDE)
            mean.append(distances.mean())
            largest.append(distances.max())
    print(f"known truth, {transform}: {len(mean)} moved films, grey scale recognised in {turned}")
    for name, errors in (("mean of the four corners", mean), ("worst of the four", largest)):
        median, high = np.percentile(errors, [50, 95])
        print(f"  {name}: median {median:.2f} px, 95th percentile {high:.2f} px, worst {max(errors):.1f} px")


def real_pairs(transform: str, side: int, prepared: bool) -> None:
    before, after, results = [], [], []
    for paths in films.pairs(films.folder()):
        try:
            prior, current = (load(p, side).picture if prepared else films.square(p, side) for p in paths)
        except UserError as error:
            print(f"  left out: {error}")
            continue
        result: Registration = register(prior, current, transform=transform)
        results.append(result)
        before.append(films.correlation(prior, current))
        after.append(films.correlation(result.warp(prior), current))
    gain = np.subtract(after, before)
    kept = sum("identity" in result.reason for result in results)
    what = f"preprocessed, {side} px" if prepared else f"padded to square, {side} px"
    print(f"real pairs, {transform}, {what}: {len(after)} pairs")
    print(f"  mean correlation {np.mean(before):.3f} before, {np.mean(after):.3f} after")
    print(f"  least gain {gain.min():+.3f}, {np.sum(gain < -0.02)} pairs more than 0.02 below")
    print(f"  accepted {np.mean([r.accepted for r in results]):.1%}, identity {kept}")


def wrong_pairs(transform: str, side: int) -> None:
    """Scores of real pairs as they are, swapped, with a mirrored prior, and with the prior of another patient."""
    paths = films.pairs(films.folder())
    pictures = [[load(path, side).picture for path in pair] for pair in paths]
    far = len(pictures) // 2  # pairs are sorted by patient
    ways = {
        "as they are": pictures,
        "swapped": [(current, prior) for prior, current in pictures],
        "prior mirrored": [(np.ascontiguousarray(prior[:, ::-1]), current) for prior, current in pictures],
        "prior of another patient": [(pictures[k - far][0], current) for k, (_, current) in enumerate(pictures)],
    }
    print(f"scores, {transform}, preprocessed, {side} px: {len(pictures)} pairs")
    own = None
    for way, pairs in ways.items():
        scores = np.array([register(prior, current, transform=transform).score_after for prior, current in pairs])
        own = scores if own is None else own
        print(
            f"  {way}: median {np.median(scores):.2f}, at least {THRESHOLD}: {np.mean(scores >= THRESHOLD):.0%}, "
            f"not below the pair as it is: {np.mean(scores >= own):.0%}, median difference "
            f"{np.median(np.abs(scores - own)):.2f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transform", default="affine")
    parser.add_argument("--draws", type=int, default=3, help="moved copies of each film")
    options = parser.parse_args()
    for step in (
        partial(known_truth, options.transform, options.draws),
        partial(real_pairs, options.transform, films.SIDE, False),
        partial(real_pairs, options.transform, 256, True),
        partial(wrong_pairs, options.transform, 256),
    ):
        step()
