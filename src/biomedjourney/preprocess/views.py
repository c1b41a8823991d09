"""What a film shows: a frontal chest or a lateral one, upright or not, bones bright or dark."""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from biomedjourney.preprocess.field import valid_pixels

GRID = 24  # pixels, the side of a mean picture
REACH = 2  # pixels of that grid; a film may be shifted by so many
SIDE = 64  # pixels, the longer side at which margins and field are told apart
MEANS = Path(__file__).with_name("means.png")  # tools/mean_views.py makes it
# By how much another view must fit better than an upright frontal one. Measured by bench/preprocess_views.py.
DOWN, LATERAL = 0.08, 0.11
LEAST_FIT = 0.2  # of lower correlation, a picture looks like none of the views
EDGES = 32  # pixels, the side of the square that edges are seen in
NEIGHBOURHOOD, EDGE = 3.0, 2.0  # pixels of that square: the standard deviations of the Gaussians there
# Upright real films are at 0.12 to 1.10, turned by a quarter -1.10 to -0.11. Measured by bench/preprocess_views.py.
ON_ITS_SIDE = -0.2


def recognise(picture: np.ndarray) -> tuple[bool, str]:
    """(bones are dark, what is wrong with the view) of a picture in [0, 1] of any size.

    The picture is standardised over its valid pixels. Over small shifts it is correlated with three kinds of mean films
    of the phantom: frontal, frontal upside down (turned or mirrored), and lateral, each as it is and as a negative. The
    sign of the strongest upright frontal fit decides whether bones are dark, so that a film and its negative get
    opposite answers. The second answer is "" for a frontal film, or where no other view fits clearly better. Otherwise
    it is "lying on its side" (`uprightness`), "upside down" or "lateral".
    """
    valid = valid_pixels(picture)
    padded = np.pad(standardised(picture, valid), REACH)
    patches = sliding_window_view(padded, (GRID, GRID)).reshape(-1, GRID * GRID)
    fits = patches @ _means() / (np.linalg.norm(patches, axis=1, keepdims=True) + 1e-9)
    best, worst = fits.max(axis=0), fits.min(axis=0)  # the worst fit is the best one of the negative
    strengths = np.maximum(best, -worst)
    frontal, down, lateral = float(strengths[0]), float(strengths[1:3].max()), float(strengths[3:].max())
    fault = ""
    if uprightness(picture, valid) < ON_ITS_SIDE:
        fault = "lying on its side"
    elif lateral > max(frontal + LATERAL, down, LEAST_FIT):
        fault = "lateral"
    elif down > max(frontal + DOWN, LEAST_FIT):
        fault = "upside down"
    return bool(-worst[0] > best[0]), fault


def uprightness(picture: np.ndarray, valid: np.ndarray) -> float:
    """How far vertical edges outweigh horizontal ones in a picture in [0, 1]: half the log ratio of their energies.

    The outlines of lungs, heart, spine and chest wall run along the body. So the value is positive for a chest that is
    upright or upside down, also for a lateral one, and negative for one that lies on its side. It is the same for a
    negative, and a turn by 90 degrees changes its sign. The picture is seen in a square of 32 pixels, whatever its
    aspect. Each of the ``valid`` pixels is normalised by its neighbourhood, so that neither exposure nor one dense lung
    matters. 0 where there is nothing to see.
    """
    from PIL import Image

    square, weight = (
        np.asarray(Image.fromarray(array).resize((EDGES, EDGES), Image.Resampling.BOX), dtype=np.float64)
        for array in (picture, valid.astype(np.float32))
    )
    weight = np.rint(weight)
    share = _blurred(weight, NEIGHBOURHOOD) + 1e-6
    difference = weight * (square - _blurred(weight * square, NEIGHBOURHOOD) / share)
    variance = _blurred(difference**2, NEIGHBOURHOOD) / share
    local = difference / np.sqrt(variance + 1e-3)
    inside = ndimage.binary_erosion(weight > 0, iterations=2)  # off the border of the field, which is an edge too
    down, across = (float((edges[inside] ** 2).sum()) + 1e-9 for edges in np.gradient(_blurred(local, EDGE)))
    return 0.5 * float(np.log(across / down))


def standardised(picture: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(GRID, GRID): the picture in the middle of a square, standardised over its valid pixels, 0 elsewhere."""
    from PIL import Image

    if not valid.any():
        return np.zeros((GRID, GRID), dtype=np.float32)
    inside = picture[valid]
    standard = np.where(valid, (picture - inside.mean()) / (inside.std() + 1e-6), 0.0)
    height, width = picture.shape
    longest = max(height, width)
    square = np.zeros((longest, longest), dtype=np.float32)
    top, left = (longest - height) // 2, (longest - width) // 2
    square[top : top + height, left : left + width] = np.clip(standard, -3.0, 3.0)
    return np.asarray(Image.fromarray(square).resize((GRID, GRID), Image.Resampling.BOX))


def _blurred(square: np.ndarray, deviation: float) -> np.ndarray:
    """As `scipy.ndimage.gaussian_filter`, at a fifth of the time for a square of EDGES pixels."""
    blur = _blur(deviation)
    return blur @ square @ blur.T


@cache
def _blur(deviation: float) -> np.ndarray:
    return ndimage.gaussian_filter1d(np.eye(EDGES), deviation, axis=0)


@cache
def _means() -> np.ndarray:
    """(GRID², 5), unit vectors: the frontal mean, turned, mirrored top to bottom; the lateral mean, mirrored."""
    from PIL import Image

    frontal, lateral = np.split(np.asarray(Image.open(MEANS), dtype=np.float32), 2, axis=1)
    means = np.stack([frontal, frontal[::-1, ::-1], frontal[::-1], lateral, lateral[:, ::-1]]).reshape(5, -1)
    means -= means.mean(axis=1, keepdims=True)
    return (means / np.linalg.norm(means, axis=1, keepdims=True)).T
