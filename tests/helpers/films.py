"""Real films, and films moved by a known transform: what the benchmarks and the tests of registration measure on.

The folder of real longitudinal films is given by the environment variable BIOMEDJOURNEY_FILMS: `images.csv`
(patient_id, image_id, in the order of time) and `images/IMAGE_ID.png`.
"""

import csv
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

SIDE = 512
CENTRE = np.s_[SIDE // 8 : SIDE - SIDE // 8, SIDE // 8 : SIDE - SIDE // 8]  # the central 75 %


def folder() -> Path:
    """Exits with a message where the variable points to no films."""
    found = Path(os.environ.get("BIOMEDJOURNEY_FILMS", ""))
    if not (found / "images.csv").is_file():
        raise SystemExit("set BIOMEDJOURNEY_FILMS to the folder of real films (images.csv, images/)")
    return found


def paths(films: Path) -> list[Path]:
    return [films / "images" / f"{row['image_id']}.png" for row in _rows(films)]


def pairs(films: Path) -> list[tuple[Path, Path]]:
    """(prior, current) for consecutive films of one patient."""
    both = [(a, b) for a, b in pairwise(_rows(films)) if a["patient_id"] == b["patient_id"]]
    return [(films / "images" / f"{a['image_id']}.png", films / "images" / f"{b['image_id']}.png") for a, b in both]


def _rows(films: Path) -> list[dict[str, str]]:
    with (films / "images.csv").open() as lines:
        return list(csv.DictReader(lines))


def square(path: Path, side: int = SIDE) -> np.ndarray:
    """The film in the middle of a black square, float64 in [0, 1]: no other preprocessing."""
    film = Image.open(path).convert("L")
    longest = max(film.size)
    canvas = Image.new("L", (longest, longest))
    canvas.paste(film, ((longest - film.width) // 2, (longest - film.height) // 2))
    return np.asarray(canvas.resize((side, side), Image.Resampling.LANCZOS)) / 255.0


def correlation(prior: np.ndarray, current: np.ndarray) -> float:
    """Absolute Pearson correlation over the central 75 % of two pictures of 512 pixels."""
    size = len(current)
    centre = np.s_[size // 8 : size - size // 8, size // 8 : size - size // 8]
    return abs(float(np.corrcoef(prior[centre].ravel(), current[centre].ravel())[0, 1]))


def random_affine(rng: np.random.Generator, side: int) -> np.ndarray:
    """Within ±10 degrees, ±8 % scale, ±5 % shear, ±8 % shift, about the middle; moved pixel to original pixel."""
    turn, shear = np.radians(rng.uniform(-10, 10)), rng.uniform(-0.05, 0.05)
    scale = 1 + rng.uniform(-0.08, 0.08)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [[1, shear], [0, 1]]
    middle = np.full(2, (side - 1) / 2)
    return np.column_stack([linear, middle + rng.uniform(-0.08, 0.08, 2) * side - linear @ middle])


def seen_through(film: np.ndarray, matrix: np.ndarray, outside: float = 0.0) -> np.ndarray:
    return ndimage.affine_transform(film, matrix[::-1, 1::-1], offset=matrix[::-1, 2], order=1, cval=outside)


def another_day(film: np.ndarray, matrix: np.ndarray, rng: np.random.Generator, negative: bool) -> np.ndarray:
    """The film moved, with another exposure, an opacity and grain, as 8 bits; bones dark if asked."""
    side = film.shape[0]
    y, x = np.mgrid[:side, :side] / side
    cx, cy = rng.uniform(0.25, 0.75, 2)
    moved = np.clip(seen_through(film, matrix), 0, 1) ** rng.uniform(0.6, 1.6)
    moved = moved + 0.5 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / rng.uniform(0.08, 0.16) ** 2)
    moved = np.clip(moved + rng.normal(0, 0.03, film.shape), 0, 1)
    return ((1 - moved if negative else moved) * 255).astype(np.uint8)


def corner_distances(found: np.ndarray, true: np.ndarray, side: int) -> np.ndarray:
    """Distances at the four corners, in pixels of a film of 512."""
    last = side - 1
    corners = np.array([[0, 0, 1], [last, 0, 1], [0, last, 1], [last, last, 1]], float).T
    return np.linalg.norm(found @ corners - true @ corners, axis=0) * SIDE / side
