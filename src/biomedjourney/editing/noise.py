"""What of a change a model means, and what it draws where it is told of none."""

import numpy as np
from scipy import ndimage

NEAR = 3  # pixels, the side of the square over which a change is averaged before it is compared with the floor
AROUND = 7 / 64  # of the picture's side: that of the square over which the floor is averaged


def floor(unchanged: np.ndarray) -> np.ndarray:
    """The noise floor of a model on a film, in tones, at each pixel of the square: float32 (rows, columns).

    ``unchanged``: what the model draws of the film and a text that tells no change, less the film as the first stage
    gives it back. A perfect model would draw nothing. The floor is the mean size of it around each pixel, or more where
    it is larger close by, as at the edges of the exposed field.
    """
    side = 2 * round((AROUND * max(unchanged.shape) - 1) / 2) + 1
    around = ndimage.uniform_filter(np.abs(unchanged), max(side, 1), mode="nearest")
    close = ndimage.maximum_filter(
        ndimage.uniform_filter(np.abs(unchanged), NEAR, mode="nearest"), NEAR, mode="nearest"
    )
    floor: np.ndarray = np.maximum(around, close)
    return floor


def above(change: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """The change where its local mean is larger than the floor, and in the pixels next to there; 0 elsewhere."""
    local = np.abs(ndimage.uniform_filter(change, NEAR, mode="nearest"))
    meant = ndimage.binary_dilation(local > floor, np.ones((3, 3)))
    return np.where(meant, change, np.float32(0.0))
