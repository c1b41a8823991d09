"""The true state of a phantom study: what is in the chest, and how the film was taken."""

from dataclasses import dataclass

SIDES = ("right", "left")  # of the patient; the patient's right is on the left of the picture
ZONES = ("upper", "lower")
DEVICES = ("right internal jugular line", "left picc", "endotracheal tube", "pacemaker")


@dataclass(frozen=True)
class Findings:
    """Severities from 0 (absent) to 1; two values are the patient's right and left."""

    pleural_effusion: tuple[float, float] = (0.0, 0.0)
    cardiomegaly: float = 0.0
    consolidation: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))  # side, then zone
    edema: float = 0.0
    pneumothorax: tuple[float, float] = (0.0, 0.0)
    device: str | None = None  # one of DEVICES


@dataclass(frozen=True)
class Acquisition:
    """How a film was taken. The side of the film has length 1, and its centre is the origin."""

    rotation: float = 0.0  # degrees, counter-clockwise in the picture
    shift_x: float = 0.0  # fraction of the side, positive to the right of the picture
    shift_y: float = 0.0  # fraction of the side, positive downwards
    scale: float = 1.0  # magnification
    exposure: float = 1.0  # factor on the output of the tube; 1 is correct
    inspiration: float = 1.0  # depth of the breath: below 1 the diaphragm is higher
    noise: float = 0.01  # standard deviation of the grain on the final grey scale of [0, 1]
    collimation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # left, top, right, bottom; fractions
    inverted: bool = False  # bones are dark
    lateral: bool = False
