"""What of a model's change is meant, and what the model also does where nothing changes."""

import numpy as np
from scipy import ndimage

NEIGHBOURS = 3  # pixels, the side of the square over which a change is averaged before it is compared with the floor


def floor(unchanged: np.ndarray) -> float:
    """The noise floor of a model on a film, in tones: the largest change that it draws where none is asked for.

    ``unchanged``: float32 (rows, columns), the exposed field of what the model makes of the film and of a text that
    tells no change, less the film as the first stage gives it back. What an autoencoder loses is in both. Of its
    averages over small squares the 99.5th percentile of the sizes is taken.
    """
    return float(np.percentile(_local(unchanged), 99.5))


def above(change: np.ndarray, least: float) -> np.ndarray:
    """The change where its local average is larger than ``least``, and in the pixels next to there; elsewhere 0."""
    meant = ndimage.binary_dilation(_local(change) > least, np.ones((3, 3)))
    return np.where(meant, change, np.float32(0.0))


def _local(change: np.ndarray) -> np.ndarray:
    return np.abs(ndimage.uniform_filter(change, NEIGHBOURS, mode="nearest"))
