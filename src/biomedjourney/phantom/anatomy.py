"""The body of a phantom patient: what stays the same from visit to visit."""

from dataclasses import dataclass

import numpy as np

# Mean and standard deviation of each trait; lengths are fractions of the film's side at magnification 1.
TRAITS: dict[str, tuple[float, float]] = {
    "width": (0.362, 0.013),  # mid-line to the lateral wall of the lung
    "apex": (-0.365, 0.012),  # height of the lungs' tips
    "base": (0.238, 0.013),  # height of the right dome in full inspiration
    "dome_step": (0.018, 0.008),  # by how much the left dome stands lower
    "dome_height": (0.100, 0.012),  # from the costophrenic angle up to the dome
    "taper": (1.0, 0.13),  # how pointed the lungs' tips are
    "lean": (0.0, 0.02),  # slope of the mid-line
    "spine_curve": (0.0, 0.006),  # depth of the scoliosis
    "heart": (1.06, 0.055),  # width of the heart over the commonest
    "heart_left": (0.0, 0.007),  # shift of the heart to the left
    "mediastinum": (1.0, 0.08),  # width of the great vessels over the commonest
    "knob": (1.0, 0.16),  # size of the aortic arch over the commonest
    "wall_tissue": (0.050, 0.010),  # from the lung to the skin
    "soft_tissue": (1.0, 0.09),  # attenuation of the soft tissue over the commonest
    "shoulder": (0.0, 0.020),  # by how much the shoulders stand lower
    "rib_spacing": (0.066, 0.0030),
    "rib_phase": (0.0, 0.012),
    "rib_slope": (0.52, 0.09),
    "rib_width": (0.0235, 0.0022),
    "rib_contrast": (1.0, 0.14),
    "clavicle": (0.026, 0.0026),  # thickness
    "clavicle_slope": (0.16, 0.055),
    "bone": (1.0, 0.05),  # density of all bones at twenty years over the commonest
    "vessels": (1.0, 0.14),  # prominence of the lung's vessels
    "texture": (1.0, 0.22),  # coarseness of the lung's background
}

# Shifts of these means, in standard deviations, by which the groups differ: many weak, overlapping cues and no strong
# one. They are inventions of the phantom and say nothing about people.
RACE_SHIFTS: dict[str, dict[str, float]] = {
    "Asian": {
        "width": -1.2,
        "taper": 1.0,
        "wall_tissue": -1.4,
        "rib_slope": 1.4,
        "rib_width": -0.8,
        "clavicle_slope": 1.0,
        "vessels": 0.6,
        "shoulder": 1.0,
    },
    "Black": {
        "apex": 0.6,
        "base": -1.0,
        "rib_slope": -1.4,
        "rib_contrast": 1.8,
        "rib_width": 1.4,
        "clavicle": 1.2,
        "clavicle_slope": -1.0,
        "taper": -0.6,
        "texture": 1.2,
    },
    "White": {
        "width": 1.0,
        "base": 0.6,
        "wall_tissue": 1.4,
        "rib_contrast": -1.4,
        "rib_spacing": 1.0,
        "clavicle": -0.6,
        "vessels": -0.8,
        "soft_tissue": 1.0,
        "shoulder": -1.0,
        "texture": -0.8,
    },
}
SEX_SHIFTS = {"F": {"width": -0.5, "base": -0.4, "rib_width": -0.4}, "M": {"width": 0.5, "base": 0.4, "rib_width": 0.4}}

AGEING = ("bones", "aorta", "calcium", "lungs", "spine")
AGEING_COMMON = 4.0  # years: spread of how much older than the calendar says a body looks as a whole
AGEING_OWN = 9.0  # ... and each of its parts beside that
REACH = 2.3  # standard deviations: no trait lies farther out


@dataclass(frozen=True)
class Anatomy:
    """A patient's constants: those of TRAITS, ``ageing`` (years, for each of AGEING) and two more.

    ``breast``: size, 0 to 1, 0 in men. ``seed``: fixes the branching of the vessels and the texture of the lungs.
    """

    width: float
    apex: float
    base: float
    dome_step: float
    dome_height: float
    taper: float
    lean: float
    spine_curve: float
    heart: float
    heart_left: float
    mediastinum: float
    knob: float
    wall_tissue: float
    soft_tissue: float
    shoulder: float
    rib_spacing: float
    rib_phase: float
    rib_slope: float
    rib_width: float
    rib_contrast: float
    clavicle: float
    clavicle_slope: float
    bone: float
    vessels: float
    texture: float
    ageing: tuple[float, ...]
    breast: float
    seed: int

    def aged(self, part: str, age: float) -> float:
        """How far a part has aged, 0 (twenty years) to 1 (ninety years)."""
        return float(np.clip((age + self.ageing[AGEING.index(part)] - 20.0) / 70.0, 0.0, 1.15))


def sample(rng: np.random.Generator, sex: str, race: str) -> Anatomy:
    """Draws a patient's constants. ``sex`` F or M, ``race`` one of `tables.RACES`."""
    scores = np.clip(rng.standard_normal(len(TRAITS)), -REACH, REACH)
    traits = {
        name: float(mean + spread * (score + RACE_SHIFTS[race].get(name, 0.0) + SEX_SHIFTS[sex].get(name, 0.0)))
        for (name, (mean, spread)), score in zip(TRAITS.items(), scores, strict=True)
    }
    ageing = AGEING_COMMON * rng.standard_normal() + AGEING_OWN * rng.standard_normal(len(AGEING))
    size = float(rng.uniform(0.25, 1.0))
    return Anatomy(
        **traits, ageing=tuple(ageing.tolist()), breast=size if sex == "F" else 0.0, seed=int(rng.integers(2**31))
    )
