"""Two pages to look at: the pairs that fit worst after registration, and random ones, before and after.

    BIOMEDJOURNEY_FILMS=FOLDER python bench/registration_pictures.py OUT

Each row: prior, current, checkerboard before and after, difference before and after. Real films: OUT is not for git.
"""

import argparse
import textwrap
from pathlib import Path

import numpy as np

from biomedjourney.preprocess import load
from biomedjourney.register import Registration, register
from biomedjourney.report import charts, registration
from tests.helpers import films

SIDE = 256


def page(rows: list[tuple[str, np.ndarray, np.ndarray, Registration]]) -> bytes:
    return charts.png(registration.grid([_row(*row) for row in rows]), dpi=90)


def _row(name: str, prior: np.ndarray, current: np.ndarray, found: Registration) -> registration.Pair:
    warped = found.warp(prior)
    covered = found.coverage((SIDE, SIDE))
    scores = f"{found.score_before:.2f} → {found.score_after:.2f}"
    reason = "\n".join(textwrap.wrap(found.reason, 20))
    return registration.Pair(f"{name}\n{scores}\n{reason}", prior, warped, covered, current)


def main(out: Path, count: int) -> None:
    done = []
    for paths in films.pairs(films.folder()):
        prior, current = (load(path, SIDE).picture for path in paths)
        done.append((f"{paths[0].stem[:10]} {paths[1].stem[:10]}", prior, current, register(prior, current)))
    order = np.argsort([row[3].score_after for row in done])
    random = np.random.default_rng(0).choice(len(done), count, replace=False)
    out.mkdir(parents=True, exist_ok=True)
    for name, chosen in (("worst", order[:count]), ("random", np.sort(random))):
        (out / f"{name}.png").write_bytes(page([done[k] for k in chosen]))
        print(out / f"{name}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=10)
    options = parser.parse_args()
    main(options.out, options.count)
