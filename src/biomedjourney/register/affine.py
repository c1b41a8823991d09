"""2×3 matrices: composing, judging and applying them.

A matrix maps a point (x, y) of the current frame to one of the prior's, the direction in which pictures are
resampled. The unit frame of an array has its origin in the middle and a longer side of length 2.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The matrix of x -> outer(inner(x))."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.column_stack([linear, outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def pixels_of(shape: tuple[int, int]) -> np.ndarray:
    """Unit frame to pixel centres (x, y) of an array of this shape."""
    height, width = shape
    half = max(shape) / 2.0
    return np.array([[half, 0.0, (width - 1) / 2.0], [0.0, half, (height - 1) / 2.0]])


def units_of(shape: tuple[int, int]) -> np.ndarray:
    """Pixel centres of an array of this shape to the unit frame."""
    height, width = shape
    half = max(shape) / 2.0
    return np.array([[1.0 / half, 0.0, -(width - 1) / 2.0 / half], [0.0, 1.0 / half, -(height - 1) / 2.0 / half]])


def warp(array: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The array seen through a matrix in pixels, linear interpolation, 0 outside; float32 of this shape."""
    linear, shift = matrix[:, :2], matrix[:, 2]
    return ndimage.affine_transform(
        np.asarray(array, dtype=np.float32), linear[::-1, ::-1], offset=shift[::-1], output_shape=shape, order=1
    )


def warp_unit(array: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """As `warp`, for a matrix between unit frames."""
    return warp(array, compose(pixels_of(array.shape), compose(matrix, units_of(shape))), shape)


def coverage(matrix: np.ndarray, shape: tuple[int, int], prior_shape: tuple[int, int]) -> np.ndarray:
    """True for the pixels of an array of ``shape`` that a matrix in pixels maps into the prior's array."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    at_x = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
    at_y = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
    inside_x = (at_x >= -0.5) & (at_x <= prior_shape[1] - 0.5)
    return inside_x & (at_y >= -0.5) & (at_y <= prior_shape[0] - 0.5)


@dataclass(frozen=True)
class Limits:
    """How far two films of one patient can plausibly differ in position.

    On real consecutive visits the robust standard deviations are 3.5 degrees, 4 % of scale and 6 % of shift;
    the limits lie beyond five of them.
    """

    rotation: float = 25.0  # degrees
    scale: float = 1.35  # either way
    stretch: float = 1.18  # ratio of the two principal scales: shear and anisotropy
    shift: float = 0.4  # of the middle of the current film, as a share of the longer side
    overlap: float = 0.5  # share of the current film that the prior covers

    def objection(self, matrix: np.ndarray, shape: tuple[int, int], prior_shape: tuple[int, int]) -> str:
        """Why a matrix between unit frames is implausible; empty where it is not."""
        linear, shift = matrix[:, :2], matrix[:, 2]
        if not np.isfinite(matrix).all() or np.linalg.det(linear) <= 0.0:
            return "a reflection"
        _, sizes, _ = np.linalg.svd(linear)
        rotation = abs(np.degrees(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])))
        scale = float(np.sqrt(sizes[0] * sizes[1]))
        covered = _covered(matrix, shape, prior_shape)
        if rotation > self.rotation:
            return f"rotation {rotation:.0f} degrees"
        if max(scale, 1.0 / scale) > self.scale:
            return f"scale {scale:.2f}"
        if sizes[0] / sizes[1] > self.stretch:
            return f"shear or stretch {sizes[0] / sizes[1]:.2f}"
        if np.abs(shift).max() / 2.0 > self.shift:
            return f"shift {np.abs(shift).max() / 2.0:.2f} of the side"
        if covered < self.overlap:
            return f"overlap {covered:.2f}"
        return ""


def _covered(matrix: np.ndarray, shape: tuple[int, int], prior_shape: tuple[int, int]) -> float:
    grid, other = _sized(shape, 16), _sized(prior_shape, 1024)
    pixels = compose(pixels_of(other), compose(matrix, units_of(grid)))
    return float(coverage(pixels, grid, other).mean())


def _sized(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    factor = longest / max(shape)
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))
