"""Thin structures of the phantom as strokes in body coordinates: bones, vessels, devices."""

import math
from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator

from biomedjourney.phantom.acquisition import Stroke
from biomedjourney.phantom.anatomy import Anatomy

SIGNS = np.array([-1.0, 1.0])  # the sign of x on the patient's right and left
RIBS = 10
HILA = np.array([[0.078, -0.015], [0.082, -0.035]])  # right, left; the left hilum is higher

# The half-width of the lung as a fraction of its largest, by height from the tip (0) to the costophrenic angle (1).
WALL_HEIGHTS = np.array([0.0, 0.012, 0.04, 0.09, 0.17, 0.28, 0.42, 0.60, 0.80, 1.0])
WALL_WIDTHS = np.array([0.0, 0.20, 0.36, 0.50, 0.64, 0.77, 0.88, 0.96, 1.0, 0.985])
_FINE = np.linspace(0.0, 1.0, 500)
_SHAPE = PchipInterpolator(WALL_HEIGHTS, WALL_WIDTHS)(_FINE)


def angle_height(anatomy: Anatomy) -> float:
    """Height of the costophrenic angles in full inspiration."""
    return anatomy.base + anatomy.dome_height


def wall(anatomy: Anatomy, y: np.ndarray) -> np.ndarray:
    """The half-width of the lung at heights ``y``, from the mid-line to the chest wall; 0 above the tip."""
    down = (y - anatomy.apex) / (angle_height(anatomy) - anatomy.apex)
    shape = np.interp(down, _FINE, _SHAPE)
    return anatomy.width * shape ** (0.75 + 0.25 * anatomy.taper)


def midline(anatomy: Anatomy, y: np.ndarray) -> np.ndarray:
    """The x of the mid-line at heights ``y``."""
    return anatomy.lean * y + anatomy.spine_curve * np.sin(7.0 * y)


def _band(points: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """The outline (2n, 2) of a band of this width along ``points`` (n, 2)."""
    along = np.gradient(points, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.linalg.norm(along, axis=1, keepdims=True)
    half = 0.5 * np.broadcast_to(width, len(points))[:, None] * across
    return np.concatenate([points + half, (points - half)[::-1]])


def _mirrored(strokes: list[Stroke], sign: float) -> list[Stroke]:
    return [Stroke(s.points * (sign, 1.0), s.width, s.density) for s in strokes]


def _rib(anatomy: Anatomy, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The centre lines (n, 2) of a left rib.

    The posterior part goes from the spine to the chest wall, the anterior part from the chest wall inwards.
    """
    start = anatomy.apex + 0.018 + anatomy.rib_phase + number * anatomy.rib_spacing
    drop = anatomy.rib_slope * (0.10 + 0.016 * number)
    end = start + drop
    reach = 1.035 * float(wall(anatomy, np.array(end)))
    t = np.linspace(0.0, 1.0, 11)
    x = 0.028 + (reach - 0.028) * np.sin(0.5 * np.pi * t) ** 1.1
    posterior = np.stack([x, start - 0.028 * np.sin(np.pi * t**0.8) + drop * t**1.7], axis=1)
    t = np.linspace(0.0, 1.0, 8)[:, None]
    inner = np.array([0.30 * reach + 0.035 + 0.006 * number, end + 0.05 + 0.36 * drop + 0.006 * number])
    corner = np.array([reach * 1.03, end + 0.045 + 0.25 * drop])
    anterior = (1 - t) ** 2 * np.array([reach, end]) + 2 * t * (1 - t) * corner + t**2 * inner
    return posterior, anterior


@lru_cache(maxsize=8)
def cage(anatomy: Anatomy) -> tuple[list[Stroke], list[Stroke]]:
    """The posterior and the anterior parts of the ribs, at density 1."""
    posterior: list[Stroke] = []
    anterior: list[Stroke] = []
    width = anatomy.rib_width
    for number in range(RIBS):
        posterior_line, anterior_line = _rib(anatomy, number)
        taper = width * np.linspace(0.8, 1.0, len(posterior_line))
        outline = _band(posterior_line, taper)
        left_rib = [Stroke(outline, 0.0, 0.52)]
        left_rib += [
            Stroke(outline[: len(posterior_line)], 0.0045, 0.78),
            Stroke(outline[len(posterior_line) :], 0.0035, 0.66),
        ]
        if number:
            posterior += _mirrored(left_rib, -1.0) + left_rib
        outline = _band(anterior_line, width * np.linspace(1.0, 1.15, len(anterior_line)))
        left_ends = [Stroke(outline, 0.0, 0.5), Stroke(outline[: len(anterior_line)], 0.0035, 0.66)]
        left_ends.append(Stroke(outline[len(anterior_line) :], 0.0035, 0.66))
        if number < 8:
            anterior += _mirrored(left_ends, -1.0) + left_ends
    return posterior, anterior


@lru_cache(maxsize=8)
def spine(anatomy: Anatomy) -> list[Stroke]:
    """Vertebral bodies, spinous processes and pedicles, at density 1."""
    strokes = []
    for y in np.arange(-0.60, 0.60, 0.052):
        x = float(midline(anatomy, np.array(y)))
        half = 0.030 + 0.010 * (y + 0.4)
        body = np.array([[x - half, y], [x + half, y], [x + 0.9 * half, y + 0.021], [x + half, y + 0.042]])
        body = np.concatenate([body, [[x - half, y + 0.042], [x - 0.9 * half, y + 0.021]]])
        strokes.append(Stroke(body, 0.0, 0.75))
        strokes.append(Stroke(np.array([[x, y + 0.018], [x, y + 0.040]]), 0.010, 1.0))
        for sign in SIGNS:
            beside = x + sign * half * 0.62
            strokes.append(Stroke(np.array([[beside, y + 0.010], [beside, y + 0.020]]), 0.010, 0.95))
    return strokes


@lru_cache(maxsize=8)
def girdle(anatomy: Anatomy) -> list[Stroke]:
    """Clavicles, scapulae and heads of the humeri, at density 1."""
    strokes: list[Stroke] = []
    t = np.linspace(0.0, 1.0, 14)
    low = anatomy.apex + 0.085 + 0.3 * anatomy.shoulder
    x = 0.030 + 0.33 * t
    y = low - anatomy.clavicle_slope * 0.33 * t + 0.020 * np.sin(2 * np.pi * t)
    outline = _band(np.stack([x, y], axis=1), anatomy.clavicle * (0.85 + 0.45 * (2 * t - 1) ** 2))
    shaft = [Stroke(outline, 0.0, 0.55), Stroke(outline[:14], 0.0036, 0.9), Stroke(outline[14:], 0.0036, 0.9)]
    tip = anatomy.apex + anatomy.shoulder
    rise = ((0.40, 0.02), (0.352, 0.075), (0.345, 0.14), (0.352, 0.20), (0.378, 0.265))
    edge = _curve(*((x, tip + y) for x, y in rise))
    rim = _curve((0.378, tip + 0.265), (0.405, tip + 0.20), (0.425, tip + 0.13), (0.455, tip + 0.07))
    crest = _curve((0.36, tip + 0.095), (0.42, tip + 0.045), (0.47, tip + 0.0))
    angles = np.linspace(0.0, 2 * np.pi, 24)
    head = np.stack([0.492 + 0.045 * np.cos(angles), tip + 0.055 + 0.045 * np.sin(angles)], axis=1)
    left = [Stroke(np.concatenate([edge, rim]), 0.0, 0.16), Stroke(edge, 0.006, 0.34), Stroke(rim, 0.007, 0.36)]
    left += [Stroke(crest, 0.008, 0.30), Stroke(head, 0.0, 0.45), Stroke(head, 0.004, 0.6), *shaft]
    for sign in SIGNS:
        strokes += _mirrored(left, sign)
    return strokes


@lru_cache(maxsize=8)
def vessels(anatomy: Anatomy) -> list[Stroke]:
    """Vessels that branch from both hila, the thinnest first, with the prominence of this patient."""
    rng = np.random.default_rng(anatomy.seed)
    levels: list[list[Stroke]] = [[], [], [], []]
    for side, sign in enumerate(SIGNS):
        for angle in np.array([-1.45, -1.1, -0.75, -0.35, 0.1, 0.5, 0.85, 1.15, 1.42]):
            heading = float(angle + rng.normal(0, 0.10))
            start = (HILA[side] + rng.normal(0, 0.008, 2)).tolist()
            tips = [(start, heading, 0.0125 * rng.uniform(0.8, 1.2))]
            length = 0.062 * rng.uniform(0.85, 1.2) * (1.0 + 0.3 * (angle > 0.3))
            for level in range(4):
                next_tips = []
                for (x, y), direction, width in tips:
                    bend = direction + rng.normal(0, 0.10)
                    half = 0.5 * length
                    middle = (x + half * math.cos(bend), y + half * math.sin(bend))
                    bend += rng.normal(0, 0.22)
                    end = (middle[0] + half * math.cos(bend), middle[1] + half * math.sin(bend))
                    line = np.array([(sign * x, y), (sign * middle[0], middle[1]), (sign * end[0], end[1])])
                    levels[level].append(Stroke(line, width, (0.62, 0.50, 0.38, 0.26)[level] * anatomy.vessels))
                    fork = rng.uniform(0.18, 0.5)
                    next_tips.append((end, bend - fork, width * 0.62))
                    if level < 1 or rng.random() < (1.0, 0.7, 0.4, 0.0)[level]:
                        next_tips.append((end, bend + rng.uniform(0.18, 0.5), width * 0.62))
                tips = next_tips
                length *= 0.82
    return [stroke for level in reversed(levels) for stroke in level]


def septal_lines(anatomy: Anatomy, severity: float) -> list[Stroke]:
    """Kerley B lines: short and horizontal, at the lower chest wall."""
    rng = np.random.default_rng([anatomy.seed, 1])
    strokes = []
    for sign in SIGNS:
        for y in rng.uniform(0.07, angle_height(anatomy) - 0.05, 8):
            outer = float(wall(anatomy, y)) - rng.uniform(0.004, 0.012)
            line = np.array([[outer, y], [outer - rng.uniform(0.03, 0.055), y + rng.normal(0, 0.004)]])
            strokes.append(Stroke(line * (sign, 1.0), 0.0045, 0.30 * severity))
    return strokes


def _curve(*points: tuple[float, float]) -> np.ndarray:
    """A smooth line (n, 2) near the points."""
    corners = np.array(points)
    distances = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    fine = np.linspace(0.0, distances[-1], 40)
    raw = np.stack([np.interp(fine, distances, corners[:, i]) for i in (0, 1)], axis=1)
    kernel = np.ones(7) / 7
    padded = np.concatenate([2 * raw[:1] - raw[3:0:-1], raw, 2 * raw[-1:] - raw[-2:-5:-1]])
    return np.stack([np.convolve(padded[:, i], kernel, mode="valid") for i in (0, 1)], axis=1)


def device(name: str) -> list[Stroke]:
    """One of `state.DEVICES`. Raises KeyError for another name."""
    vein, atrium = (-0.052, -0.12), (-0.055, 0.04)
    if name == "right internal jugular line":
        return [Stroke(_curve((-0.10, -0.56), (-0.085, -0.42), (-0.06, -0.28), vein, atrium), 0.0068, 0.62)]
    if name == "left picc":
        arm = ((0.56, -0.02), (0.47, -0.20), (0.36, -0.285), (0.20, -0.275), (0.07, -0.24), (-0.035, -0.19))
        return [Stroke(_curve(*arm, vein, atrium), 0.0064, 0.62)]
    if name == "endotracheal tube":
        tube = _curve((0.006, -0.60), (0.002, -0.42), (0.0, -0.20))
        beside = {shift: tube + np.array([shift, 0.0]) for shift in (-0.0095, 0.0095, 0.005)}
        walls = [Stroke(beside[shift], 0.0045, 0.60) for shift in (-0.0095, 0.0095)]
        return [Stroke(tube, 0.019, 0.20), *walls, Stroke(beside[0.005], 0.004, 0.9)]
    if name != "pacemaker":
        raise KeyError(name)
    t = np.linspace(0.0, 2 * np.pi, 24)
    box = np.stack([0.255 + 0.052 * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** 0.5, -0.20 + 0.045 * np.sin(t)], axis=1)
    leads = [
        Stroke(_curve((0.235, -0.235), (0.16, -0.285), (0.06, -0.245), (-0.035, -0.19), vein, end, tip), 0.0070, 0.75)
        for end, tip in (((-0.05, 0.06), (-0.075, 0.10)), ((-0.03, 0.15), (0.10, 0.225)))
    ]
    socket = box[8:14] * (0.6, 1) + (0.10, 0)
    return [*leads, Stroke(box, 0.0, 0.80), Stroke(box, 0.004, 1.0), Stroke(socket, 0.010, 1.0)]


@lru_cache(maxsize=8)
def cartilage(anatomy: Anatomy) -> list[Stroke]:
    """Calcium in the anterior ends of the ribs, at its density in the oldest patients."""
    rng = np.random.default_rng([anatomy.seed, 3])
    strokes = []
    for number in range(8):
        _, anterior = _rib(anatomy, number)
        for sign in SIGNS:
            for _ in range(3):
                spot = anterior[-1] + rng.normal(0.0, (0.010, 0.006)) - (0.008, -0.004)
                line = np.stack([spot, spot + rng.normal(0.0, 0.008, 2) - (0.008, -0.004)])
                strokes.append(Stroke(line * (sign, 1.0), 0.009, rng.uniform(0.2, 0.75)))
    return strokes
