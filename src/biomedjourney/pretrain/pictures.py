"""Pictures of the training and validation patients, for the miniature parts that learn from them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from biomedjourney import pixels, tables
from biomedjourney.errors import UserError


def load(files: Iterable[Path], wanted: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """The ids among ``wanted`` that have a picture, sorted, and the pictures as uint8 (n, rows, columns).

    Raises UserError where none has.
    """
    found = tables.find(files, "pixels", "dicom_id", wanted)
    ids = sorted(name for name, row in found.items() if row["png"] is not None)
    if not ids:
        raise UserError("none of the wanted images has a picture in --pixels: run preprocess on these tables")
    return ids, np.stack([np.rint(pixels.decode_png(found[name]["png"]) * 255).astype(np.uint8) for name in ids])
