"""2×3 matrices: how to compose, check and apply them.

A matrix maps a point (x, y) of the current frame to one of the prior's. This is the direction that resampling needs.
The unit frame of an array has its origin in the middle and a longer side of length 2.
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


def warp(array: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], mode: str = "constant") -> np.ndarray:
    """The array seen through a matrix in pixels, as float32. Linear interpolation; scipy's mode beyond the array."""
    linear, shift = matrix[::-1, 1::-1], matrix[::-1, 2]
    array = np.asarray(array, dtype=np.float32)
    return ndimage.affine_transform(array, linear, offset=shift, output_shape=shape, order=1, mode=mode)


def warp_unit(array: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """As `warp`, for a matrix between unit frames."""
    return warp(array, between(matrix, shape, array.shape), shape)


def between(matrix: np.ndarray, shape: tuple[int, int], prior_shape: tuple[int, int]) -> np.ndarray:
    """The matrix in pixels, from an array of one shape to one of another, of a matrix between their unit frames."""
    return compose(pixels_of(prior_shape), compose(matrix, units_of(shape)))


def applied(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 2) through a matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def grid(shape: tuple[int, int]) -> np.ndarray:
    """The pixel centres (x, y) of an array of this shape, (rows, columns, 2)."""
    return np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), axis=-1)


def inside(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """True for the points (..., 2), in pixels, that lie in an array of this shape."""
    x, y = points[..., 0], points[..., 1]
    return (x >= -0.5) & (x <= shape[1] - 0.5) & (y >= -0.5) & (y <= shape[0] - 0.5)


@dataclass(frozen=True)
class Limits:
    """How far two films of one patient can plausibly differ in position.

    On real consecutive visits the robust standard deviations are 3.5 degrees, 4 % of scale and 6 % of shift. The
    limits lie more than five of them away.
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
    small_shape, large_shape = _sized(shape, 16), _sized(prior_shape, 1024)
    points = applied(between(matrix, small_shape, large_shape), grid(small_shape))
    return float(inside(points, large_shape).mean())


def _sized(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    factor = longest / max(shape)
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))
