"""A smooth warp: a uniform cubic B-spline over the square that the current film is centred in.

The square is [-1, 1] in both directions of the unit frame, in 4 × 4 cells. ``control`` is an array (7, 7, 2): how far
the control point of row i and column j, at ((j - 1) / 2 - 1, (i - 1) / 2 - 1), moves in (x, y). Such a spline can be
any linear map too, so one array holds the whole map from a pixel of the current film to one of the prior's.
"""

import numpy as np
from scipy import ndimage

from biomedjourney.register import affine, search

MESH = 4
POINTS = MESH + 3
SPACING = 2.0 / MESH
ITERATIONS = 40
# No control point moves further than this. Below 0.48 of the spacing a cubic B-spline in two dimensions cannot fold
# (Choi and Lee, 2000). After an affine map a diaphragm or an arm is off by no more than 6 % of the side.
REACH = 0.12  # unit frame


def refine(current: np.ndarray, prior: np.ndarray, share: float) -> np.ndarray | None:
    """Control points, in the unit frame, from one structure (`search.structure`) to another of the same shape.

    SimpleITK's correlation metric and L-BFGS-B, whose bounds keep each control point within `REACH`; None where the
    optimiser fails.
    """
    import SimpleITK as sitk

    transform = sitk.BSplineTransform(2, 3)
    transform.SetTransformDomainOrigin((-1.0, -1.0))
    transform.SetTransformDomainPhysicalDimensions((2.0, 2.0))
    transform.SetTransformDomainMeshSize((MESH, MESH))
    bounds = {"lowerBound": -REACH, "upperBound": REACH}
    succeeded = search.Optimiser(current, prior, share).run(transform, ITERATIONS, **bounds)
    return np.array(transform.GetParameters()).reshape(2, POINTS, POINTS).transpose(1, 2, 0) if succeeded else None


def after(matrix: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Control points of the map x -> matrix(x + spline(x)), as a displacement of x; all in the unit frame."""
    points = _points()
    return affine.applied(matrix, points + control) - points


def in_pixels(control: np.ndarray, shape: tuple[int, int], prior_shape: tuple[int, int]) -> np.ndarray:
    """The same map, between unit frames, as a displacement from pixel centres of one array to those of another."""
    points, here, there = _points(), affine.pixels_of(shape), affine.pixels_of(prior_shape)
    return affine.applied(there, points + control) - affine.applied(here, points)


def warp(array: np.ndarray, control: np.ndarray, shape: tuple[int, int], mode: str = "constant") -> np.ndarray:
    """The array seen through a spline in pixels, linear interpolation, outside by scipy's mode; float32."""
    x, y = np.moveaxis(affine.grid(shape) + at_pixels(control, shape), -1, 0)
    return ndimage.map_coordinates(np.asarray(array, dtype=np.float32), (y, x), order=1, mode=mode)


def at_pixels(control: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The spline's value (rows, columns, 2) at the pixel centres of an array of this shape."""
    rows, columns = (_basis(side, max(shape)) for side in shape)
    return np.einsum("yi,xj,ijk->yxk", rows, columns, control, optimize=True)


def _points() -> np.ndarray:
    at = (np.arange(POINTS) - 1.0) * SPACING - 1.0
    return np.stack(np.meshgrid(at, at), axis=-1)


def _basis(side: int, longest: int) -> np.ndarray:
    """(side, 7): the weights of the control points at the pixel centres of a side."""
    at = ((np.arange(side) + 0.5 - side / 2.0) * 2.0 / longest + 1.0) / SPACING + 1.0
    distance = np.abs(at[:, None] - np.arange(POINTS))
    near, far = 2.0 / 3.0 - distance**2 + distance**3 / 2.0, (2.0 - distance) ** 3 / 6.0
    return np.where(distance < 1.0, near, np.where(distance < 2.0, far, 0.0))
