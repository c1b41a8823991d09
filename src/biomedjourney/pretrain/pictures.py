"""Pictures of training and validation patients for the parts that are trained in miniature."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from biomedjourney import pixels, tables
from biomedjourney.errors import UserError


def load(files: Iterable[Path], dicom_ids: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """Those of the ``dicom_ids`` that have a picture, sorted, and the pictures as uint8 (n, rows, columns).

    Raises UserError if none has a picture.
    """
    pixel_rows = tables.find(files, "pixels", "dicom_id", dicom_ids)
    ids = sorted(name for name, row in pixel_rows.items() if row["png"] is not None)
    if not ids:
        raise UserError("no training or validation image has a picture in --pixels: run preprocess on these tables")
    return ids, np.stack([np.rint(pixels.decode_png(pixel_rows[name]["png"]) * 255).astype(np.uint8) for name in ids])
