"""Drawn chests for the tests of `preprocess` and `register`, as arrays in [0, 1]."""

import numpy as np
from scipy import ndimage


def chest(height: int = 300, width: int = 260) -> np.ndarray:
    """Dark lungs, bright spine and abdomen, and ribs: always the same film."""
    y, x = np.mgrid[:height, :width] / np.array([height - 1, width - 1])[:, None, None]
    lungs = sum(np.exp(-0.5 * (((x - c) / 0.1) ** 2 + ((y - 0.42) / 0.19) ** 2)) for c in (0.3, 0.72))
    ribs = 0.05 * np.sin(40 * y + 6 * (x - 0.5) ** 2)
    return np.clip(0.55 + 0.2 * np.exp(-0.5 * ((x - 0.5) / 0.07) ** 2) + 0.2 * (y > 0.8) - 0.4 * lungs + ribs, 0, 1)


def chest_with_vessels(side: int = 256, seed: int = 0) -> np.ndarray:
    """A square film with sharp ribs, a dark background, and the vessels of one patient per seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / (side - 1.0)
    lungs = sum(np.exp(-(((np.abs(x - c) / 0.13) ** 4) + (np.abs(y - 0.42) / 0.27) ** 4)) for c in (0.3, 0.72))
    ribs = 0.10 * (np.sin(38 * (y - 0.8 * (x - 0.5) ** 2)) > 0.4) * lungs
    vessels = ndimage.gaussian_filter(rng.normal(size=(side, side)), side / 40)
    body = np.exp(-((np.abs(x - 0.5) / 0.46) ** 12))
    film = 0.5 + 0.25 * np.exp(-0.5 * ((x - 0.5) / 0.06) ** 2) + 0.15 * (y > 0.75) - 0.4 * lungs + ribs
    return np.clip((film + 0.05 * vessels / vessels.std()) * (0.1 + 0.9 * body), 0.0, 1.0)


def bent(film: np.ndarray, pixels: float) -> tuple[np.ndarray, np.ndarray]:
    """The square film with a part near its middle pushed down by so many pixels, which no affine map can do.

    Also the true displacement (rows, columns, 2): how far from each pixel of the new film its place in the old one
    lies, as (x, y).
    """
    side = len(film)
    y, x = np.mgrid[:side, :side] / (side - 1.0)
    push = pixels * np.exp(
        -(((x - 0.4) / 0.22) ** 2) - ((y - 0.55) / 0.28) ** 2
    )  # x and y differ, so that a swap shows
    rows, columns = np.mgrid[:side, :side]
    displacement = np.stack([np.zeros_like(push), -push], axis=-1)
    return ndimage.map_coordinates(film, (rows - push, columns), order=1, mode="nearest"), displacement
