"""How surely `preprocess` recognises views: real films upright, upside down and as negatives; the phantom's laterals.

BIOMEDJOURNEY_FILMS=FOLDER python bench/preprocess_views.py [--images images.parquet --root FOLDER]
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from biomedjourney import tables
from biomedjourney.preprocess import field, files, film, views
from tests.helpers import films

WAYS = {
    "as it is": lambda grey: grey,
    "turned by 180 degrees": lambda grey: grey[::-1, ::-1],
    "mirrored top to bottom": lambda grey: grey[::-1],
    "turned by 15 degrees": lambda grey: _turned(grey, 15.0),
    "turned by -15 degrees": lambda grey: _turned(grey, -15.0),
}


def _turned(grey: np.ndarray, degrees: float) -> np.ndarray:
    return np.asarray(Image.fromarray(grey).rotate(degrees, Image.Resampling.BILINEAR))


def recognised(grey: np.ndarray) -> tuple[bool, str]:
    """As `preprocess.canonical` sees it."""
    small = film.shrink(np.ascontiguousarray(grey), 512)
    left, top, right, bottom = field.field_box(field.window(small))
    return views.recognise(film.shrink(field.window(small[top:bottom, left:right]), views.SIDE))


def report(name: str, paths: list[Path]) -> None:
    greys = [files.read(path, 256)[0] for path in paths]
    for way, change in WAYS.items():
        for negative in (False, True):
            seen = [recognised(change(grey.max() - grey if negative else grey)) for grey in greys]
            counted = Counter(fault or "frontal" for _, fault in seen)
            right = sum(inverted == negative for inverted, fault in seen if not fault)
            shown = ", ".join(f"{kind} {number}" for kind, number in sorted(counted.items()))
            sign = "negative" if negative else "positive"
            print(
                f"{name:18}{way:24}{sign:10}{shown}; grey scale right in {right} of {counted['frontal']} frontal ones"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="the phantom's table of images")
    parser.add_argument("--root", type=Path, help="the folder that its paths start from")
    options = parser.parse_args()
    report("real films", films.paths(films.folder()))
    if options.images and options.root:
        rows = tables.read(options.images, "images")
        for view in ("PA", "AP", "LATERAL"):
            report(
                f"phantom {view}", [options.root / path for path in rows.loc[rows["view"] == view, "path"][1::3][:300]]
            )
