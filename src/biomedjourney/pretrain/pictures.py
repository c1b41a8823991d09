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
    lookup = tables.Lookup(files, "pixels", "dicom_id", dicom_ids)
    reasons = (row for batch in lookup.batches(columns=["dicom_id", "reason"]) for row in batch.to_pylist())
    ids = sorted(row["dicom_id"] for row in reasons if not row["reason"])
    if not ids:
        raise UserError("no training or validation image has a picture in --pixels: run preprocess on these tables")
    place_of = {name: place for place, name in enumerate(ids)}
    pictures: np.ndarray | None = None
    for batch in lookup.batches(ids, columns=["dicom_id", "png"]):
        for row in batch.to_pylist():
            picture = pixels.decode_png(row["png"])
            if pictures is None:
                pictures = np.empty((len(ids), *picture.shape), np.uint8)
            pictures[place_of[row["dicom_id"]]] = np.rint(picture * 255)
    assert pictures is not None
    return ids, pictures
