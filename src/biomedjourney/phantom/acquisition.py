"""From the body to the film: where a point falls, strokes of thin structures, the film's grey scale."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from biomedjourney.phantom.state import Acquisition

CANVAS = 512  # strokes are drawn at least this fine, then averaged down to the film
SCATTER = 0.035  # light that comes from everywhere, as a share of the unattenuated beam
DEPTH = 1.75  # attenuation of the thickest soft tissue, in powers of e
LEVELS = 2048  # of the grey scale while it is equalised
EQUALISED = 0.45  # share of the histogram-equalised grey scale


@dataclass(frozen=True)
class Stroke:
    """A thin structure in body coordinates: ``points`` (n, 2); a polygon where ``width`` is 0, else a line.

    ``width`` is a fraction of the film's side, ``density`` the attenuation at its middle, 0 to 1; a later stroke
    covers an earlier one.
    """

    points: np.ndarray
    width: float
    density: float


def to_film(acquisition: Acquisition) -> np.ndarray:
    """2x3 matrix from body coordinates to film coordinates (fractions of the side, origin at the film's centre)."""
    angle = np.deg2rad(acquisition.rotation)
    cos, sin = acquisition.scale * np.cos(angle), acquisition.scale * np.sin(angle)
    return np.array([[cos, sin, acquisition.shift_x], [-sin, cos, acquisition.shift_y]])


def body_grid(acquisition: Acquisition, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Body coordinates x and y, float32 (size, size), of every pixel centre of the film."""
    matrix = to_film(acquisition)
    back = np.linalg.inv(matrix[:, :2]).astype(np.float32)
    film = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    u, v = film[None, :] - np.float32(matrix[0, 2]), film[:, None] - np.float32(matrix[1, 2])
    return back[0, 0] * u + back[0, 1] * v, back[1, 0] * u + back[1, 1] * v


def paint(strokes: list[Stroke], acquisition: Acquisition, size: int, blur: float = 0.0) -> np.ndarray:
    """Strokes as attenuation, float32 (size, size) in [0, 1]; ``blur`` is a fraction of the side."""
    finer = max(2, -(-CANVAS // size))
    side = size * finer
    canvas = Image.new("L", (side, side))
    pen = ImageDraw.Draw(canvas)
    matrix = to_film(acquisition)
    points = np.concatenate([stroke.points for stroke in strokes]) if strokes else np.zeros((0, 2))
    places = ((points @ matrix[:, :2].T + matrix[:, 2] + 0.5) * side - 0.5).ravel().tolist()
    start = 0
    for stroke in strokes:
        stop = start + 2 * len(stroke.points)
        grey = round(255 * min(max(stroke.density, 0.0), 1.0))
        if stroke.width:
            pen.line(places[start:stop], fill=grey, width=max(1, round(stroke.width * acquisition.scale * side)))
        else:
            pen.polygon(places[start:stop], fill=grey)
        start = stop
    canvas = canvas.reduce(finer)
    if blur:
        canvas = canvas.filter(ImageFilter.BoxBlur(blur * size))
    return np.asarray(canvas, dtype=np.float32) * np.float32(1 / 255)


def expose(attenuation: np.ndarray, acquisition: Acquisition, rng: np.random.Generator) -> np.ndarray:
    """The film's grey scale in [0, 1], bones bright, float32: Beer-Lambert, scatter, a logarithmic detector.

    The greys are then partly equalised, as MIMIC-CXR-JPG's are. ``rng`` gives the grain and a slope of the field.
    """
    light = np.exp(np.float32(-DEPTH) * attenuation)
    slope = rng.normal(0.0, 0.06, 2)
    across = np.linspace(-0.5, 0.5, len(light), dtype=np.float32)
    light *= (np.float32(slope[0]) * across + 1.0)[None, :] * (np.float32(slope[1]) * across + 1.0)[:, None]
    light += np.float32(SCATTER)
    grey = -np.log(np.minimum(light * np.float32(acquisition.exposure), 1.05))
    low, high = np.percentile(grey[::4, ::4], (0.3, 99.7))
    steps = np.float32((LEVELS - 1) / max(high - low, 1e-6))
    level = np.clip((grey - np.float32(low)) * steps, 0, LEVELS - 1).astype(np.intp)
    ranks = np.cumsum(np.bincount(level[::2, ::2].ravel(), minlength=LEVELS)) / level[::2, ::2].size
    curve = (1.0 - EQUALISED) * np.linspace(0.0, 1.0, LEVELS) + EQUALISED * ranks
    tone = (curve ** (acquisition.exposure**0.5)).astype(np.float32)[level]
    grain = rng.standard_normal(tone.shape, dtype=np.float32)
    return tone + np.float32(acquisition.noise) * grain


def collimate(picture: np.ndarray, borders: tuple[float, float, float, float]) -> None:
    """Blackens what the collimator hides; ``borders`` (left, top, right, bottom) are fractions of the side."""
    side = len(picture)
    left, top, right, bottom = (round(border * side) for border in borders)
    picture[:top] = 0.0
    picture[side - bottom :] = 0.0
    picture[:, :left] = 0.0
    picture[:, side - right :] = 0.0


@lru_cache
def _letter(letter: str, height: int) -> np.ndarray:
    font = ImageFont.load_default(height)
    canvas = Image.new("L", (2 * height, 2 * height))
    ImageDraw.Draw(canvas).text((height // 2, height // 4), letter, fill=255, font=font)
    box = canvas.getbbox() or (0, 0, 1, 1)
    return np.asarray(canvas.crop(box), dtype=np.float32) / 255.0


def mark_side(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Burns in an L or R beside the patient's shoulder of that side, in place."""
    side = len(picture)
    left = rng.random() < 0.6
    glyph = _letter("L" if left else "R", max(8, round(side * 0.05)))[:side, :side]
    down, inward = rng.uniform(0.05, 0.15), rng.uniform(0.035, 0.09)
    top = round(down * side)
    start = side - round(inward * side) - glyph.shape[1] if left else round(inward * side)
    patch = picture[top : top + glyph.shape[0], start : start + glyph.shape[1]]
    np.maximum(patch, np.float32(0.95) * glyph[: patch.shape[0], : patch.shape[1]], out=patch)
