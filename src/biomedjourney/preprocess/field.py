"""Where the exposed field of a film lies."""

from typing import Any

import numpy as np
from scipy import ndimage

FLAT = 0.04  # a margin's pixels lie within this share of the grey range around black or white
LEVEL = 0.005  # ... or around any other level, as padding with a mean has it
SHARE = 0.985  # ... at least this share of them: the rest may be burnt-in letters
LARGEST_CROP = 0.3  # no side loses more than this share of the picture


def levels(picture: np.ndarray, low: float = 0.5, high: float = 99.5) -> tuple[Any, Any]:
    """The values that become black and white: these two percentiles, or the extremes where they coincide."""
    bottom, top = np.percentile(picture, [low, high])
    if top <= bottom:
        bottom, top = float(picture.min()), float(picture.max())
    return bottom, top


def scaled(picture: np.ndarray, ends: tuple[Any, Any]) -> np.ndarray:
    """The picture with these two values taken to 0 and 1, clipped; zeros where they coincide."""
    bottom, top = ends
    return np.clip((picture - bottom) / max(float(top - bottom), 1e-12), 0.0, 1.0).astype(np.float32)


def window(picture: np.ndarray, low: float = 0.5, high: float = 99.5) -> np.ndarray:
    """The picture with these two percentiles taken to 0 and 1, clipped; zeros where they coincide."""
    return scaled(picture, levels(picture, low, high))


def field_box(picture: np.ndarray) -> tuple[int, int, int, int]:
    """The exposed field (left, top, right, bottom; right and bottom exclusive) of a picture in [0, 1].

    From each side, rows and columns are dropped while they are flat, at black, at white or at one grey: margins,
    padding and straight collimator borders. The crop is careful: dark air beside the body stays, since it is not flat
    enough. A side that would lose more than 30 % loses nothing. A picture of which less than half would remain stays
    whole.
    """
    height, width = picture.shape
    left, top, right, bottom = 0, 0, width, height
    for _ in range(2):  # twice: there may be a black margin around a white border
        rows = _flat(picture[top:bottom, left:right])
        top, bottom = _trim(rows, top, bottom, height)
        columns = _flat(picture[top:bottom, left:right].T)
        left, right = _trim(columns, left, right, width)
    if (right - left) * (bottom - top) < 0.5 * width * height:
        return 0, 0, width, height
    # One more line goes on each cropped side: where the picture was shrunk, that line is half margin.
    return left + (left > 0), top + (top > 0), right - (right < width), bottom - (bottom < height)


def _flat(lines: np.ndarray) -> np.ndarray:
    dark = (lines <= FLAT).mean(axis=1) >= SHARE
    bright = (lines >= 1.0 - FLAT).mean(axis=1) >= SHARE
    level = np.median(lines, axis=1, keepdims=True)
    grey = (np.abs(lines - level) <= LEVEL).mean(axis=1) >= SHARE
    return dark | bright | grey


def _trim(flat: np.ndarray, start: int, stop: int, length: int) -> tuple[int, int]:
    if flat.all():
        return start, stop
    before, after = int(np.argmin(flat)), int(np.argmin(flat[::-1]))
    first = start + before if start + before <= LARGEST_CROP * length else start
    last = stop - after if length - stop + after <= LARGEST_CROP * length else stop
    return first, last


def valid_pixels(picture: np.ndarray, tolerance: float = 0.02, grow: int = 0) -> np.ndarray:
    """False where the picture in [0, 1] is black or white in one piece with its border, and ``grow`` pixels around.

    These are margins of any shape: slanted borders, the padding of a square, dark air beside the body.
    """
    outside = np.zeros(picture.shape, dtype=bool)
    for extreme in (picture <= tolerance, picture >= 1.0 - tolerance):
        pieces, _ = ndimage.label(np.pad(extreme, 1, constant_values=True))
        outside |= (pieces == pieces[0, 0])[1:-1, 1:-1]
    padded = np.pad(outside, 2, mode="edge")  # so that the opening leaves margins of one pixel, too
    outside = ndimage.binary_opening(padded)[2:-2, 2:-2] & outside
    return ~(ndimage.binary_dilation(outside, iterations=grow) if grow else outside)
