"""Draws a phantom film: the attenuation is added up along the beam and then turned into grey values.

Body coordinates are fractions of the film's side at magnification 1. The origin is the centre of the chest, x points to
the right of the picture (the patient's left), y downwards. Outlines are tables over x or y. Each pixel looks its value
up.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from biomedjourney.phantom import skeleton
from biomedjourney.phantom.acquisition import body_grid, collimate, expose, mark_side, paint, to_film
from biomedjourney.phantom.anatomy import Anatomy
from biomedjourney.phantom.skeleton import Stroke
from biomedjourney.phantom.state import Acquisition, Findings

REACH = 0.8  # the tables cover the coordinates from -REACH to REACH
ENTRIES = 1024
AT = (np.arange(ENTRIES) + 0.5) * (2 * REACH / ENTRIES) - REACH  # the coordinate of each entry
TEXTURE = 512  # pixels of the texture along one side of the film
BREATH = 0.35  # how far the diaphragm moves down from no inspiration (0) to full inspiration (1)

# The cardiomediastinal outline: heights from apex (0) to dome (1), with the half-widths on the right and on the left.
OUTLINE_PLACES = np.array([-0.4, 0.05, 0.18, 0.27, 0.335, 0.405, 0.48, 0.55, 0.66, 0.78, 0.90, 1.0, 1.12, 1.4])
OUTLINE_RIGHT = np.array([46, 48, 54, 57, 58, 59, 62, 66, 88, 106, 109, 98, 76, 60]) / 1000
OUTLINE_LEFT = np.array([44, 46, 50, 70, 88, 66, 82, 88, 112, 146, 174, 178, 150, 90]) / 1000
HEART = np.array([0, 0, 0, 0, 0, 0, 0.05, 0.3, 0.75, 1, 1, 1, 1, 1])  # how much of the outline is the heart
KNOB = np.array([0, 0, 0, 0.5, 1, 0.45, 0, 0, 0, 0, 0, 0, 0, 0])  # how much on the left is the aortic arch
ASCENDING = np.array([0, 0, 0.1, 0.4, 0.7, 1, 1, 0.6, 0.15, 0, 0, 0, 0, 0])  # how much on the right is the aorta

# Centres of the upper and the lower zone, as fractions of the width and of the height of the lung.
ZONES = ((0.55, 0.30), (0.60, 0.74))
DEVICE_BLUR = 0.0012
HEART_TOP = 0.48  # the height, on the scale of OUTLINE_PLACES, above which the outline is that of the great vessels
HEART_BELOW = -0.01  # distance above the diaphragm at which the heart has faded to one half


def _ramp(distance: np.ndarray, width: float) -> np.ndarray:
    """0 for negative and 1 for positive distances, with a smooth edge of this width at zero."""
    t = np.clip(distance * np.float32(1.0 / width) + np.float32(0.5), 0.0, 1.0)
    return t * t * (np.float32(3.0) - np.float32(2.0) * t)


def _chord(share: np.ndarray) -> np.ndarray:
    """The path through a round body at this fraction of its half-width, as a fraction of the longest path."""
    return np.sqrt(np.maximum(np.float32(1.0) - share * share, 0.0))


def _bell(squares: np.ndarray) -> np.ndarray:
    return np.exp(-squares)


def _table(coordinates: np.ndarray, values: np.ndarray, smooth: float = 0.012) -> np.ndarray:
    """The smoothed table of the ``values`` at these coordinates."""
    raw = np.interp(AT, coordinates, values)
    return ndimage.gaussian_filter1d(raw, smooth * ENTRIES / (2 * REACH), mode="nearest").astype(np.float32)


def _index(coordinates: np.ndarray) -> np.ndarray:
    """The entries of a table at these coordinates."""
    scaled = (coordinates + np.float32(REACH)) * np.float32(ENTRIES / (2 * REACH))
    return np.clip(scaled, 0, ENTRIES - 1).astype(np.intp)


@lru_cache(maxsize=1)
def _tile() -> Image.Image:
    """A fractal texture of mean 0 and standard deviation 1; its side has twice TEXTURE pixels."""
    white = np.random.default_rng(0).standard_normal((TEXTURE, TEXTURE))
    total = np.zeros_like(white)
    for blur, weight in ((22.0, 1.0), (11.0, 0.8), (5.0, 0.55), (2.2, 0.35)):
        layer = ndimage.gaussian_filter(white, blur, mode="wrap")
        total += weight * layer / layer.std()
    return Image.fromarray(np.tile((total / total.std()).astype(np.float32), (2, 2)))


@dataclass(frozen=True)
class _Body:
    """One patient at one visit, on the pixels of the film; arrays are float32 (size, size)."""

    anatomy: Anatomy
    age: float
    findings: Findings
    acquisition: Acquisition
    size: int

    @cached_property
    def xy(self) -> tuple[np.ndarray, np.ndarray]:
        """Distance from the mid-line, positive on the patient's left, and height."""
        x, y = body_grid(self.acquisition, self.size)
        table = skeleton.midline(self.anatomy, AT).astype(np.float32)
        return x - table.take(_index(y)), y

    @cached_property
    def left(self) -> np.ndarray:
        return self.xy[0] > 0

    @cached_property
    def out(self) -> np.ndarray:
        """Distance from the mid-line."""
        return np.abs(self.xy[0])

    @cached_property
    def rows(self) -> np.ndarray:
        return _index(self.xy[1])

    @cached_property
    def rows_by_side(self) -> np.ndarray:
        """Entries in two joined tables over y: the right side, then the left."""
        return self.rows + ENTRIES * self.left

    def by_height(self, table: np.ndarray) -> np.ndarray:
        """The values of a table over y."""
        return table.take(self.rows)

    def by_side(self, right: float, left: float) -> np.ndarray:
        return np.where(self.left, np.float32(left), np.float32(right))

    @cached_property
    def bone_density(self) -> float:
        return self.anatomy.bone * (1.15 - 0.65 * self.anatomy.aged("bones", self.age))

    @cached_property
    def knob(self) -> float:
        """How much farther to the left the aortic arch reaches than the average one at the age of 20."""
        return 0.018 * (self.anatomy.knob - 1.0) + 0.042 * self.anatomy.aged("aorta", self.age)

    @cached_property
    def breath(self) -> float:
        """How much lower the diaphragm is than in full inspiration (negative: higher)."""
        return BREATH * (self.acquisition.inspiration - 1.0)

    @cached_property
    def domes(self) -> tuple[float, float]:
        """Heights of the domes, right and left."""
        flattening = 0.020 * self.anatomy.aged("lungs", self.age)
        right = self.anatomy.base + self.breath + flattening
        return right, right + self.anatomy.dome_step

    @cached_property
    def angle(self) -> float:
        """Height of the costophrenic angles."""
        return skeleton.angle_height(self.anatomy) + 0.7 * self.breath

    @cached_property
    def across(self) -> np.ndarray:
        """Position between mid-line (0) and chest wall (1); large above the tips of the lungs, at most 4."""
        half = np.maximum(skeleton.wall(self.anatomy, AT), 1e-4)
        return np.minimum(self.out * self.by_height((1.0 / half).astype(np.float32)), np.float32(4.0))

    @cached_property
    def above_diaphragm(self) -> np.ndarray:
        """Distance above the diaphragm, negative below it."""
        share = np.abs(AT) / self.anatomy.width
        outer, inner = np.clip((share - 0.42) / 0.58, 0.0, 1.2), np.clip((0.42 - share) / 0.42, 0.0, 1.0)
        dome = np.where(AT > 0, self.domes[1], self.domes[0])
        curve = dome + (self.angle - dome) * outer**2 + 0.030 * inner**2
        table = ndimage.gaussian_filter1d(curve, 3.0).astype(np.float32)
        return table.take(_index(self.xy[0])) - self.xy[1]

    def outline_height(self, places: Any) -> Any:
        """Heights (number or array) of places along the outline, on the scale of OUTLINE_PLACES."""
        return self.anatomy.apex + places * (self.anatomy.base + 0.6 * self.breath - self.anatomy.apex)

    @cached_property
    def outline(self) -> np.ndarray:
        """Position between mid-line (0) and the border of heart and great vessels (1), at most 4."""
        ageing = self.anatomy.aged("aorta", self.age)
        heights = self.outline_height(OUTLINE_PLACES) - 0.010 * ageing * KNOB
        cardiomegaly = self.findings.cardiomegaly
        heart = self.anatomy.heart * (1.0 + 0.04 * (self.age - 50.0) / 40.0)
        grow = 1.0 + HEART * (heart - 1.0) + (1.0 - HEART) * (self.anatomy.mediastinum - 1.0)
        right = OUTLINE_RIGHT * grow * (1.0 + 0.42 * cardiomegaly * HEART) + 0.030 * ageing * ASCENDING
        left = OUTLINE_LEFT * grow * (1.0 + 0.62 * cardiomegaly * HEART)
        left = left + self.knob * KNOB
        shift = self.anatomy.heart_left * HEART
        tables = [1.0 / _table(heights, width) for width in (right - shift, left + shift)]
        return np.minimum(self.out * np.concatenate(tables).take(self.rows_by_side), np.float32(4.0))

    @cached_property
    def heart(self) -> np.ndarray:
        """How far heart and great vessels take the place of the lung, 0 to 1, with a sharp edge."""
        return np.sqrt(np.clip((np.float32(1.0) - self.outline) * np.float32(5.0), 0.0, 1.0))

    @cached_property
    def lung(self) -> np.ndarray:
        """The path through the lungs, without the heart, as a fraction of the longest path."""
        depth = np.clip((AT - self.anatomy.apex) / (0.45 * (self.angle - self.anatomy.apex)), 0.0, 1.0)
        path = self.by_height((0.55 + 0.45 * np.sin(0.5 * np.pi * depth)).astype(np.float32))
        path *= _chord(self.across * self.across)
        return path * _ramp(self.above_diaphragm, 0.012)

    @cached_property
    def texture(self) -> np.ndarray:
        """The texture of the lungs: mean 0, standard deviation 1, fixed to the body."""
        start = np.random.default_rng([self.anatomy.seed, 2]).integers(0, TEXTURE // 2, 2) + 0.7 * TEXTURE
        film_to_texture = np.linalg.inv(np.vstack([to_film(self.acquisition), [0.0, 0.0, 1.0]]))[:2] * TEXTURE
        shift = film_to_texture @ (-0.5, -0.5, 1.0) + start
        steps = film_to_texture[:, :2] / self.size
        coefficients = (steps[0, 0], steps[0, 1], shift[0], steps[1, 0], steps[1, 1], shift[1])
        size = (self.size, self.size)
        return np.asarray(_tile().transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.NEAREST))

    @cached_property
    def inside_wall(self) -> np.ndarray:
        """Distance inwards from the chest wall and the tip of the lung."""
        half = skeleton.wall(self.anatomy, AT)
        slope = np.gradient(half, AT)
        largest = ndimage.gaussian_filter1d(half / np.sqrt(1.0 + np.square(slope)), 6.0).astype(np.float32)
        return self.by_height(largest) * (np.float32(1.0) - self.across)

    def paint(self, strokes: list[Stroke], blur: float = 0.0) -> np.ndarray:
        return paint(strokes, self.acquisition, self.size, blur)


def _soft_tissue(body: _Body) -> tuple[np.ndarray, np.ndarray]:
    """The attenuation of a chest without lungs, and how far each pixel is inside the body (0 to 1)."""
    anatomy = body.anatomy
    torso = anatomy.width + anatomy.wall_tissue
    heights = np.array([-0.8, -0.50, -0.455, -0.41, -0.365, -0.33, -0.28, -0.10, -0.055, -0.01, 0.07, 0.25, 0.8])
    widths = np.array([0.135, 0.135, 0.16, 0.23, 0.36, 0.52, 0.78, 0.78, 0.60, 0.0, 0.0, 0.0, 0.03])
    widths = np.where(heights > -0.03, widths + torso + np.where(heights < 0.0, 0.03, 0.0), widths)
    outline = body.by_height(_table(heights + np.where(heights < 0.0, anatomy.shoulder, 0.0), widths, 0.018))
    inside = np.sqrt(np.clip((outline - body.out) * np.float32(1 / 0.07), 0.0, 1.0))
    trunk = np.maximum(1.0 - np.square(body.out * np.float32(1 / (1.10 * torso))), 0.0)
    tissue = np.float32(anatomy.soft_tissue) * inside * (np.float32(0.40) + np.float32(0.60) * trunk)
    if anatomy.breast:
        y = body.xy[1]
        across = np.square((body.out - np.float32(0.205)) * np.float32(1 / 0.135))
        fold = y - np.float32(0.16 + 0.045 * anatomy.breast)
        down = np.where(fold > 0, np.float32(1 / 0.055), np.float32(1 / 0.16)) * fold
        tissue += np.float32(0.20 * anatomy.breast) * _bell(across + down * down) * inside
    return tissue, inside


def _filling(body: _Body) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The fraction of air that disease leaves in the lungs, the consolidated fraction, and the pneumothorax.

    The last is the distance of each pixel inside the free air (negative: outside it), or None without pneumothorax.
    """
    findings, y = body.findings, body.xy[1]
    air_fraction = np.ones_like(y)
    consolidated = np.zeros_like(y)
    if any(map(any, findings.consolidation)):
        top, bottom = body.anatomy.apex, body.angle
        for zone, (across, height) in enumerate(ZONES):
            right, left = (findings.consolidation[side][zone] for side in (0, 1))
            if not right and not left:
                continue
            severity = body.by_side(right, left)
            distance = np.square((body.across - np.float32(across)) * np.float32(1 / 0.50))
            distance += np.square((y - np.float32(top + height * (bottom - top))) * np.float32(1 / 0.130))
            strength = np.float32(0.35) + np.float32(0.75) * severity - distance + np.float32(0.16) * body.texture
            cloud = _ramp(strength, 0.8) * (np.float32(0.92) + np.float32(0.08) * body.texture)
            cloud = cloud * np.minimum(np.float32(0.40) + severity, 1.0) * (severity > 0)
            np.maximum(consolidated, cloud * np.float32(0.92), out=consolidated)
        air_fraction *= 1.0 - consolidated
    if findings.edema:
        haze = _bell(
            np.square((body.out - np.float32(0.11)) * np.float32(1 / 0.14))
            + np.square((y - np.float32(0.03)) * np.float32(1 / 0.20))
        )
        haze *= np.float32(0.85 * findings.edema) * np.clip(1.0 + np.float32(0.32) * body.texture, 0.2, 1.8)
        air_fraction *= np.float32(1.0 - 0.15 * findings.edema) - np.minimum(haze, 0.75)
    if any(findings.pleural_effusion):
        air_fraction *= 1.0 - _fluid(body)
    free_air = None
    if any(findings.pneumothorax):
        rim = np.array([0.045 + 0.120 * s if s else -1.0 for s in findings.pneumothorax])
        right, left = ((r * (1.35 - 0.9 * np.clip((AT + 0.3) / 0.55, 0.0, 1.0)) if r > 0 else r + 0 * AT) for r in rim)
        width = np.concatenate([right, left]).astype(np.float32)[body.rows_by_side]
        free_air = width - body.inside_wall
    return air_fraction, consolidated, free_air


def _fluid(body: _Body) -> np.ndarray:
    """The fraction of the beam that goes through pleural fluid.

    The fluid fills the costophrenic angle and rises along the chest wall (the meniscus).
    """
    right, left = body.findings.pleural_effusion
    depth = body.by_side(*(0.12 + 0.36 * s if s else -1.0 for s in (right, left)))
    rise = np.minimum(body.across, 1.0)
    rise = np.float32(0.42) + np.float32(0.58) * rise * rise * rise
    surface = np.float32(body.angle + 0.012) - depth * rise
    return np.float32(0.93) * _ramp(body.xy[1] - surface, 0.05)


def _bones(body: _Body) -> np.ndarray:
    anatomy = body.anatomy
    density = body.bone_density
    posterior, anterior = skeleton.cage(anatomy)
    calcium = anatomy.aged("calcium", body.age)
    total = np.float32(0.26 * density * anatomy.rib_contrast) * body.paint(posterior)
    total += np.float32(0.15 * density * anatomy.rib_contrast) * body.paint(anterior)
    total += np.float32(0.30 * density) * body.paint(skeleton.girdle(anatomy))
    total += np.float32(0.15 * density) * body.paint(skeleton.spine(anatomy))
    if calcium > 0.2:
        total += np.float32(0.30 * (calcium - 0.2)) * body.paint([*skeleton.cartilage(anatomy), *_arch(body)])
    return total


def _arch(body: _Body) -> list[Stroke]:
    """Calcium along the outer wall of the aortic arch."""
    ageing = body.anatomy.aged("aorta", body.age)
    reach = 0.083 + body.knob
    centre = body.anatomy.apex + 0.33 * (body.anatomy.base - body.anatomy.apex) - 0.010 * ageing
    angles = np.linspace(-1.2, 0.9, 12)
    points = np.stack([reach - 0.036 + 0.030 * np.cos(angles), centre + 0.036 * np.sin(angles)], axis=1)
    points[:, 0] += skeleton.midline(body.anatomy, points[:, 1])
    return [Stroke(points, 0.0065, 0.9)]


def _frontal(body: _Body) -> np.ndarray:
    """The attenuation of a frontal view, float32 (size, size)."""
    anatomy, findings = body.anatomy, body.findings
    tissue, inside = _soft_tissue(body)
    air_fraction, consolidated, free_air = _filling(body)
    lung = body.lung
    air = lung * air_fraction * (np.float32(1.0) - np.float32(0.90) * body.heart)
    markings = body.paint(skeleton.vessels(anatomy), 0.0022) * np.float32(0.26 * (1.0 + 0.5 * findings.edema))
    grain = np.float32(0.030 * anatomy.texture * (1.0 + 0.5 * anatomy.aged("lungs", body.age) + findings.edema))
    markings *= np.float32(1.0) - np.float32(1.5) * consolidated
    markings += grain * body.texture
    if findings.edema:
        markings += body.paint(skeleton.septal_lines(anatomy, findings.edema), 0.001)
    if free_air is not None:
        without_lung = _ramp(free_air, 0.006)
        markings *= 1.0 - without_lung
        air *= np.float32(0.92) + np.float32(0.50) * without_lung
        markings += np.float32(0.30) * _bell(np.square(free_air * np.float32(1 / 0.0045)))
    markings *= np.minimum(lung * np.float32(2.0), 1.0)
    attenuation = tissue * (np.float32(1.0) - np.float32(0.70) * air) + markings
    attenuation += _mediastinum(body) * inside
    attenuation += _bones(body) * np.minimum(inside * np.float32(2.0), 1.0)
    if findings.device:
        attenuation += np.float32(1.0) * body.paint(skeleton.device(findings.device), DEVICE_BLUR)
    return attenuation


def _mediastinum(body: _Body) -> np.ndarray:
    """The attenuation that heart, great vessels and abdomen add, less the air in trachea and stomach."""
    anatomy, (x, y) = body.anatomy, body.xy
    ageing = anatomy.aged("aorta", body.age)
    depth = np.interp(AT, [-0.5, -0.25, 0.0, 0.1, 0.25], [0.05, 0.14, 0.20, 0.32, 0.30]).astype(np.float32)
    total = body.by_height(depth) * _chord(np.minimum(body.outline, 1.0)) * _ramp(body.above_diaphragm + 0.01, 0.16)
    total += np.float32(0.16) * _ramp(-body.above_diaphragm, 0.10)
    apical_caps = np.float32(0.18 * anatomy.aged("lungs", body.age))
    total += (
        apical_caps
        * _bell(np.square(body.inside_wall * np.float32(1 / 0.022)))
        * (body.across < np.float32(1.3))
        * body.by_height(np.interp(AT, [anatomy.apex + 0.03, anatomy.apex + 0.10], [1.0, 0.0]).astype(np.float32))
    )
    midline = np.interp(AT, [-0.5, -0.3, -0.2, -0.13], [0.0, 0.0, -0.006 - 0.012 * ageing, -0.008])
    trachea = np.float32(0.15) * _chord(np.minimum(np.abs(x - body.by_height(midline.astype(np.float32))) / 0.019, 1.0))
    total -= trachea * body.by_height(np.interp(AT, [-0.14, -0.11], [1.0, 0.0]).astype(np.float32))
    bubble = np.square((x - np.float32(0.17)) * np.float32(1 / 0.06))
    bubble += np.square((y - np.float32(body.domes[1] + 0.055)) * np.float32(1 / 0.030))
    return total - np.float32(0.14) * _bell(bubble)


def _lateral(body: _Body) -> np.ndarray:
    """The attenuation of a lateral view, float32 (size, size); the sternum is on the left of the picture."""
    anatomy, (x, y) = body.anatomy, body.xy
    ageing = anatomy.aged("spine", body.age)
    back = np.interp(AT, [-0.5, -0.3, 0.0, 0.3, 0.5], [0.10, 0.17, 0.21 + 0.04 * ageing, 0.17, 0.12])
    front = np.interp(AT, [-0.5, -0.35, -0.1, 0.2, 0.5], [-0.05, -0.12, -0.22, -0.25, -0.22])
    spine, sternum = (body.by_height(_table(AT, line, 0.04)) for line in (back, front))
    position = (x - spine) / (spine - sternum)  # -1 at the sternum, 0 at the spine
    skin = 0.13 + 0.6 * (anatomy.wall_tissue - 0.05)
    trunk = _chord(np.minimum(np.abs(position + np.float32(0.42)) / np.float32(0.62 + skin), 1.0))
    inside = np.minimum(trunk * 3.0, 1.0)
    dome = _lateral_dome(body, position)
    rise = np.interp(AT, [anatomy.apex, anatomy.apex + 0.15], [0.0, 1.0]).astype(np.float32)
    lung = _chord(np.minimum(np.abs(position + 0.45) / 0.60, 1.0)) * body.by_height(np.sqrt(rise))
    lung = lung * _ramp(dome - y, 0.012)
    effusion = max(body.findings.pleural_effusion)
    if effusion:
        surface = np.float32(body.angle + 0.03 - 0.30 * effusion) - 0.20 * np.square(position + 0.35)
        lung = lung * (1.0 - 0.8 * _ramp(y - surface, 0.05))
    heart_width = 0.33 * anatomy.heart * (1.0 + 0.35 * body.findings.cardiomegaly)
    heart = _chord(np.minimum(np.hypot((position + 0.62) / heart_width, (y - body.domes[0] + 0.09) / 0.125), 1.0))
    vertebrae = _ramp(0.11 - np.abs(position - 0.02), 0.03) * (0.8 + 0.2 * np.cos(2 * np.pi / 0.052 * (y + 0.3 * x)))
    breastbone = _ramp(0.025 - np.abs(position + 1.0), 0.02) * body.by_height(
        np.interp(AT, [-0.27, -0.24, 0.08, 0.14], [0.0, 1.0, 1.0, 0.0]).astype(np.float32)
    )
    trachea = _ramp(0.05 - np.abs(position + 0.42 - 0.35 * (y + 0.2)), 0.03) * _ramp(-0.10 - y, 0.04)
    shoulder = np.float32(0.5) * _bell(np.square((x - 0.05) / 0.24) + np.square((y + 0.40) / 0.13))
    total = (1.15 * trunk + shoulder) * inside * (1.0 - 0.55 * lung) + 0.30 * heart - 0.12 * trachea
    total += body.bone_density * (0.30 * vertebrae + 0.22 * breastbone) + 0.03 * body.texture * lung
    return total.astype(np.float32)


def _lateral_dome(body: _Body, position: np.ndarray) -> np.ndarray:
    """Height of the dome by position."""
    from_top = np.clip(position + 0.55, 0.0, 0.7)
    return np.float32(body.domes[0]) + np.float32(0.16) * np.square(from_top) / np.float32(0.49)


def draw(
    anatomy: Anatomy, age: float, findings: Findings, acquisition: Acquisition, size: int, rng: np.random.Generator
) -> np.ndarray:
    """A film of the patient at ``age`` years, uint8 (size, size). ``rng`` draws grain, shading and side marker.

    The same arguments and the same state of ``rng`` give the same bytes.
    """
    body = _Body(anatomy, age, findings, acquisition, size)
    picture = expose(_lateral(body) if acquisition.lateral else _frontal(body), acquisition, rng)
    if not acquisition.lateral:
        mark_side(picture, rng)
    collimate(picture, acquisition.collimation)
    picture = np.rint(np.clip(picture, 0.0, 1.0) * np.float32(255.0)).astype(np.uint8)
    return 255 - picture if acquisition.inverted else picture


def organ_masks(
    anatomy: Anatomy, age: float, findings: Findings, acquisition: Acquisition, size: int
) -> dict[str, np.ndarray]:
    """Where `draw` draws each of `measures.ORGANS` on a frontal film, True inside; bool (size, size).

    The lungs are whole, whatever fills them, less what lies behind heart and great vessels. What the collimator hides
    belongs to no organ.
    """
    body = _Body(anatomy, age, findings, acquisition, size)
    lung = (body.across < 1.0) & (body.outline >= 1.0) & (body.above_diaphragm > 0.0)
    heart = (body.outline < 1.0) & (body.xy[1] > body.outline_height(HEART_TOP)) & (body.above_diaphragm > HEART_BELOW)
    for mask in (lung, heart):
        collimate(mask, acquisition.collimation)
    return {"lung": lung, "heart": heart}
