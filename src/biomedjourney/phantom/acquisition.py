"""How a film shows the body: the projection of points, the drawing of thin structures, the grey values."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from biomedjourney.phantom.state import Acquisition

CANVAS = 512  # pixels per side: strokes are drawn on at least this many, then averaged down to the film
SCATTER = 0.035  # scattered radiation, as a fraction of the unattenuated beam
DEPTH = 1.75  # the thickest soft tissue (attenuation 1) lets exp(-DEPTH) of the beam through
LEVELS = 2048  # grey levels during histogram equalisation
EQUALISED = 0.45  # weight of the equalised grey scale; the original one has the rest


@dataclass(frozen=True)
class Stroke:
    """A thin structure in body coordinates: a line through ``points`` (n, 2), or a filled polygon if ``width`` is 0.

    ``width`` is a fraction of the film's side. ``density`` is the attenuation in the middle, 0 to 1. Later strokes
    cover earlier ones.
    """

    points: np.ndarray
    width: float
    density: float


def to_film(acquisition: Acquisition) -> np.ndarray:
    """The 2x3 matrix from body to film coordinates (fractions of the side, origin at the centre of the film)."""
    angle = np.deg2rad(acquisition.rotation)
    cos, sin = acquisition.scale * np.cos(angle), acquisition.scale * np.sin(angle)
    return np.array([[cos, sin, acquisition.shift_x], [-sin, cos, acquisition.shift_y]])


def body_grid(acquisition: Acquisition, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Body coordinates x and y of every pixel centre of the film, each float32 (size, size)."""
    matrix = to_film(acquisition)
    film_to_body = np.linalg.inv(matrix[:, :2]).astype(np.float32)
    positions = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    u, v = positions[None, :] - np.float32(matrix[0, 2]), positions[:, None] - np.float32(matrix[1, 2])
    return film_to_body[0, 0] * u + film_to_body[0, 1] * v, film_to_body[1, 0] * u + film_to_body[1, 1] * v


def paint(strokes: list[Stroke], acquisition: Acquisition, size: int, blur: float = 0.0) -> np.ndarray:
    """The attenuation of the strokes, float32 (size, size) in [0, 1]; ``blur`` is a fraction of the side."""
    factor = max(2, -(-CANVAS // size))
    side = size * factor
    canvas = Image.new("L", (side, side))
    pen = ImageDraw.Draw(canvas)
    matrix = to_film(acquisition)
    points = np.concatenate([stroke.points for stroke in strokes]) if strokes else np.zeros((0, 2))
    film_points = ((points @ matrix[:, :2].T + matrix[:, 2] + 0.5) * side - 0.5).ravel().tolist()
    start = 0
    for stroke in strokes:
        stop = start + 2 * len(stroke.points)
        grey = round(255 * min(max(stroke.density, 0.0), 1.0))
        if stroke.width:
            pen.line(film_points[start:stop], fill=grey, width=max(1, round(stroke.width * acquisition.scale * side)))
        else:
            pen.polygon(film_points[start:stop], fill=grey)
        start = stop
    canvas = canvas.reduce(factor)
    if blur:
        canvas = canvas.filter(ImageFilter.BoxBlur(blur * size))
    return np.asarray(canvas, dtype=np.float32) * np.float32(1 / 255)


def expose(attenuation: np.ndarray, acquisition: Acquisition, rng: np.random.Generator) -> np.ndarray:
    """The grey values of the film, float32 (size, size), bones bright; in [0, 1] before the grain is added.

    The model is Beer-Lambert's law, scatter and a logarithmic detector. The histogram is then partly equalised, as in
    MIMIC-CXR-JPG. ``rng`` draws the grain and a slope of the illumination.
    """
    light = np.exp(np.float32(-DEPTH) * attenuation)
    slope = rng.normal(0.0, 0.06, 2)
    positions = np.linspace(-0.5, 0.5, len(light), dtype=np.float32)
    light *= (np.float32(slope[0]) * positions + 1.0)[None, :] * (np.float32(slope[1]) * positions + 1.0)[:, None]
    light += np.float32(SCATTER)
    grey = -np.log(np.minimum(light * np.float32(acquisition.exposure), 1.05))
    low, high = np.percentile(grey[::4, ::4], (0.3, 99.7))
    steps = np.float32((LEVELS - 1) / max(high - low, 1e-6))
    level = np.clip((grey - np.float32(low)) * steps, 0, LEVELS - 1).astype(np.intp)
    ranks = np.cumsum(np.bincount(level[::2, ::2].ravel(), minlength=LEVELS)) / level[::2, ::2].size
    curve = (1.0 - EQUALISED) * np.linspace(0.0, 1.0, LEVELS) + EQUALISED * ranks
    grey_values = (curve ** (acquisition.exposure**0.5)).astype(np.float32)[level]
    grain = rng.standard_normal(grey_values.shape, dtype=np.float32)
    return grey_values + np.float32(acquisition.noise) * grain


def collimate(picture: np.ndarray, borders: tuple[float, float, float, float]) -> None:
    """Sets what the collimator hides to 0, in place. ``borders``: left, top, right, bottom; fractions of the side."""
    side = len(picture)
    left, top, right, bottom = (round(border * side) for border in borders)
    picture[:top] = 0.0
    picture[side - bottom :] = 0.0
    picture[:, :left] = 0.0
    picture[:, side - right :] = 0.0


@lru_cache
def _letter(letter: str, height: int) -> np.ndarray:
    """The letter, cropped, as float32 in [0, 1]."""
    font = ImageFont.load_default(height)
    canvas = Image.new("L", (2 * height, 2 * height))
    ImageDraw.Draw(canvas).text((height // 2, height // 4), letter, fill=255, font=font)
    box = canvas.getbbox() or (0, 0, 1, 1)
    return np.asarray(canvas.crop(box), dtype=np.float32) / 255.0


def mark_side(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Draws the marker L or R next to the patient's shoulder on that side, in place."""
    side = len(picture)
    left = rng.random() < 0.6
    glyph = _letter("L" if left else "R", max(8, round(side * 0.05)))[:side, :side]
    from_top, from_edge = rng.uniform(0.05, 0.15), rng.uniform(0.035, 0.09)
    top = round(from_top * side)
    start = side - round(from_edge * side) - glyph.shape[1] if left else round(from_edge * side)
    patch = picture[top : top + glyph.shape[0], start : start + glyph.shape[1]]
    np.maximum(patch, np.float32(0.95) * glyph[: patch.shape[0], : patch.shape[1]], out=patch)
