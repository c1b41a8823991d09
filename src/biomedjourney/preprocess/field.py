"""What is on a film: where its exposed field lies, and which way its grey scale runs."""

from functools import cache

import numpy as np
from scipy import ndimage

FLAT = 0.04  # a margin's pixels lie within this share of the grey range around its level
SHARE = 0.985  # ... at least this share of them, for burnt-in letters
MOST = 0.3  # no side loses more than this share of the picture
GRID = 24


def window(picture: np.ndarray, low: float = 0.5, high: float = 99.5) -> np.ndarray:
    """The picture with these two percentiles taken to 0 and 1, clipped; zeros where they coincide."""
    bottom, top = np.percentile(picture, [low, high])
    if top <= bottom:
        bottom, top = float(picture.min()), float(picture.max())
    return np.clip((picture - bottom) / max(float(top - bottom), 1e-12), 0.0, 1.0).astype(np.float32)


def field_box(picture: np.ndarray) -> tuple[int, int, int, int]:
    """The exposed field (left, top, right, bottom; right and bottom exclusive) of a picture in [0, 1].

    From each side, rows and columns are dropped while they are flat, at black or at white: margins, padding and
    straight collimator borders. Conservative: dark air beside the body is not flat enough to go, a side that would
    lose more than 30 % loses nothing, and neither does a picture of which less than half would remain.
    """
    height, width = picture.shape
    left, top, right, bottom = 0, 0, width, height
    for _ in range(2):  # a black margin around a white border
        rows = _flat(picture[top:bottom, left:right])
        top, bottom = _trim(rows, top, bottom, height)
        columns = _flat(picture[top:bottom, left:right].T)
        left, right = _trim(columns, left, right, width)
    if (right - left) * (bottom - top) < 0.5 * width * height:
        return 0, 0, width, height
    return left, top, right, bottom


def _flat(lines: np.ndarray) -> np.ndarray:
    dark = (lines <= FLAT).mean(axis=1) >= SHARE
    bright = (lines >= 1.0 - FLAT).mean(axis=1) >= SHARE
    return dark | bright


def _trim(flat: np.ndarray, start: int, stop: int, length: int) -> tuple[int, int]:
    if flat.all():
        return start, stop
    before, after = int(np.argmin(flat)), int(np.argmin(flat[::-1]))
    first = start + before if start + before <= MOST * length else start
    last = stop - after if length - stop + after <= MOST * length else stop
    return first, last


def valid_pixels(picture: np.ndarray, tolerance: float = 0.02) -> np.ndarray:
    """False where the picture in [0, 1] is black or white in one piece with its border (margins of any shape)."""
    outside = np.zeros(picture.shape, dtype=bool)
    for extreme in (picture <= tolerance, picture >= 1.0 - tolerance):
        pieces, _ = ndimage.label(np.pad(extreme, 1, constant_values=True))
        outside |= (pieces == pieces[0, 0])[1:-1, 1:-1]
    return ~ndimage.binary_opening(outside)


@cache
def _chest() -> np.ndarray:
    """A frontal chest in strokes: two dark lungs, bright spine, heart and abdomen; zero mean, unit norm."""
    y, x = np.mgrid[:GRID, :GRID] / (GRID - 1.0)
    lungs = sum(np.exp(-0.5 * (((x - c) / 0.10) ** 2 + ((y - 0.42) / 0.19) ** 2)) for c in (0.28, 0.72))
    spine = np.exp(-0.5 * ((x - 0.5) / 0.07) ** 2)
    abdomen = 1.0 / (1.0 + np.exp(-(y - 0.80) / 0.05))
    drawn = 0.6 * spine + 0.8 * abdomen - lungs
    drawn -= drawn.mean()
    return drawn / np.linalg.norm(drawn)


def is_inverted(picture: np.ndarray) -> bool:
    """Whether bones are dark: the picture, set against a drawn chest, fits better as a negative.

    The correlation of largest size over small shifts and two sizes decides by its sign, so that a film and its
    negative always get opposite answers.
    """
    from PIL import Image

    extreme = 0.0
    for inner in (GRID, round(1.25 * GRID)):
        small = np.asarray(
            Image.fromarray(np.ascontiguousarray(picture, dtype=np.float32)).resize(
                (inner, inner), Image.Resampling.BOX
            )
        )
        reach = (inner - GRID) // 2 or 2
        padded = small if inner > GRID else np.pad(small, reach, mode="edge")
        for top in range(0, padded.shape[0] - GRID + 1):
            for left in range(0, padded.shape[1] - GRID + 1):
                part = padded[top : top + GRID, left : left + GRID]
                part = part - part.mean()
                value = float((part * _chest()).sum() / (np.linalg.norm(part) + 1e-9))
                if abs(value) > abs(extreme):
                    extreme = value
    return extreme < 0.0
