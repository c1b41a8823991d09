"""Writes the mean frontal and lateral film of the phantom. `preprocess` recognises a view by these means.

    python tools/mean_views.py resources/phantom/mimic-cxr-jpg results/tables/images.parquet \\
        src/biomedjourney/preprocess/means.png
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from biomedjourney import tables
from biomedjourney.preprocess import field, files, film, views

FILMS = 200  # of each view


def mean(paths: list[Path]) -> np.ndarray:
    """The mean of standardised films, as uint8 around 127.5."""
    total = np.zeros((views.GRID, views.GRID))
    for path in paths:
        window = field.window(film.shrink(files.read(path, views.SIDE)[0], views.SIDE))
        total += views.standardised(window, field.valid_pixels(window))
    return np.rint(np.clip(0.5 + total / len(paths) / 4.0, 0.0, 1.0) * 255.0).astype(np.uint8)


def main(root: Path, images: Path, out: Path) -> None:
    rows = tables.read(images, "images").sort_values("dicom_id")
    means = []
    for view_names in (("PA", "AP"), ("LATERAL",)):
        paths = [root / path for path in rows.loc[rows["view"].isin(view_names), "path"]]
        means.append(mean(paths[:: len(paths) // FILMS][:FILMS]))
    Image.fromarray(np.hstack(means)).save(out)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
