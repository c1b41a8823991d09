"""The body of a phantom patient: what stays the same at every visit."""

from dataclasses import dataclass

import numpy as np

# Mean and standard deviation of each trait. Lengths are fractions of the film's side at magnification 1.
TRAITS: dict[str, tuple[float, float]] = {
    "width": (0.362, 0.013),  # from the mid-line to the lateral wall of the lung
    "apex": (-0.365, 0.012),  # height of the tips of the lungs
    "base": (0.238, 0.013),  # height of the right dome in full inspiration
    "dome_step": (0.018, 0.008),  # how much lower the left dome is
    "dome_height": (0.100, 0.012),  # from the costophrenic angle to the dome
    "taper": (1.0, 0.13),  # how pointed the tips of the lungs are
    "lean": (0.0, 0.02),  # slope of the mid-line
    "spine_curve": (0.0, 0.006),  # depth of the scoliosis
    "heart": (1.06, 0.055),  # factor on the width of the heart
    "heart_left": (0.0, 0.007),  # shift of the heart to the left
    "mediastinum": (1.0, 0.08),  # factor on the width of the great vessels
    "knob": (1.0, 0.16),  # relative size of the aortic arch
    "wall_tissue": (0.050, 0.010),  # thickness from the lung to the skin
    "soft_tissue": (1.0, 0.09),  # factor on the attenuation of the soft tissue
    "shoulder": (0.0, 0.020),  # how much lower the shoulders are
    "rib_spacing": (0.066, 0.0030),
    "rib_phase": (0.0, 0.012),
    "rib_slope": (0.52, 0.09),
    "rib_width": (0.0235, 0.0022),
    "rib_contrast": (1.0, 0.14),
    "clavicle": (0.026, 0.0026),  # thickness
    "clavicle_slope": (0.16, 0.055),
    "bone": (1.0, 0.05),  # factor on the density of all bones
    "vessels": (1.0, 0.14),  # prominence of the lung vessels
    "texture": (1.0, 0.22),  # strength of the fine texture of the lungs
}

# How the groups differ: shifts of these means, in standard deviations. There are many weak cues that overlap and no
# strong one. The shifts are invented for the phantom and say nothing about people.
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
AGEING_COMMON = 4.0  # years, standard deviation: how much older or younger than its age the whole body looks
AGEING_PART = 9.0  # years, standard deviation: what each part adds to that
LARGEST_SCORE = 2.3  # standard deviations: the draws of the traits are clipped here


@dataclass(frozen=True)
class Anatomy:
    """What is constant in a patient: the traits of TRAITS and three more.

    ``ageing``: years, for each part in AGEING. ``breast``: size, 0 to 1; 0 in men. ``seed``: determines the details,
    as the branches of the vessels and the texture of the lungs.
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
        """How far a part has aged: 0 at an age of 20 years, 1 at 90 years, at most 1.15."""
        return float(np.clip((age + self.ageing[AGEING.index(part)] - 20.0) / 70.0, 0.0, 1.15))


def sample(rng: np.random.Generator, sex: str, race: str) -> Anatomy:
    """Draws the anatomy of one patient. ``sex``: F or M. ``race``: one of `tables.RACES`."""
    scores = np.clip(rng.standard_normal(len(TRAITS)), -LARGEST_SCORE, LARGEST_SCORE)
    traits = {
        name: float(mean + spread * (score + RACE_SHIFTS[race].get(name, 0.0) + SEX_SHIFTS[sex].get(name, 0.0)))
        for (name, (mean, spread)), score in zip(TRAITS.items(), scores, strict=True)
    }
    ageing = AGEING_COMMON * rng.standard_normal() + AGEING_PART * rng.standard_normal(len(AGEING))
    breast_size = float(rng.uniform(0.25, 1.0))
    return Anatomy(
        **traits,
        ageing=tuple(ageing.tolist()),
        breast=breast_size if sex == "F" else 0.0,
        seed=int(rng.integers(2**31)),
    )
