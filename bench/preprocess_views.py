"""How surely `preprocess` recognises views: films in all four turns and both mirrorings, tilted, and their negatives.

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
    f"{90 * quarters}°{', mirrored' * mirrored}": (
        lambda grey, quarters=quarters, mirrored=mirrored: np.rot90(grey[:, ::-1] if mirrored else grey, quarters)
    )
    for mirrored in (False, True)
    for quarters in range(4)
} | {f"{degrees}°": lambda grey, degrees=degrees: _turned(grey, degrees) for degrees in (15, -15)}
HEADINGS = (
    *("turned to the left by", "negative", "on its side", "upside down", "lateral", "passed"),
    *("grey scale right", "uprightness"),
)
FAULTS = ("lying on its side", "upside down", "lateral", "")


def _turned(grey: np.ndarray, degrees: float) -> np.ndarray:
    return np.asarray(Image.fromarray(grey).rotate(degrees, Image.Resampling.BILINEAR))


def small(grey: np.ndarray) -> np.ndarray:
    """The exposed field, as `preprocess.canonical` looks at it."""
    shrunk = film.shrink(np.ascontiguousarray(grey), 512)
    left, top, right, bottom = field.field_box(field.window(shrunk))
    return film.shrink(field.window(shrunk[top:bottom, left:right]), views.SIDE)


def report(name: str, paths: list[Path]) -> None:
    greys = [files.read(path, 256).grey for path in paths]
    print(f"\n{name}: {len(greys)} films\n")
    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
    for way, change in WAYS.items():
        for negative in (False, True):
            pictures = [small(change(grey.max() - grey if negative else grey)) for grey in greys]
            seen = [views.recognise(picture) for picture in pictures]
            counted = Counter(fault for _, fault in seen)
            right = sum(inverted == negative for inverted, fault in seen if not fault)
            values = sorted(views.uprightness(picture, field.valid_pixels(picture)) for picture in pictures)
            cells = [way, "yes" if negative else "no", *(counted[fault] for fault in FAULTS)]
            cells += [f"{right} of {counted['']}", f"{values[0]:.2f} to {values[-1]:.2f}"]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


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
