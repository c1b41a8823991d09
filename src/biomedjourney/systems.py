"""Every system that the project compares, declared once: its name, what it is, and its figures in the paper.

Which of them a run compares, and which training run or stored picture each is drawn from, is configuration
(`systems`). A system of another name may be configured too; it comes after these.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class System:
    """``paper``: the figures printed in arXiv 2310.10765, as fractions, by the name of the measure."""

    name: str
    about: str
    paper: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """Pictures that exist already: the table that holds them, its key, and the column of `triples` that names it."""

    table: str
    key: str
    column: str


# What a system with ``picture: prior`` or ``picture: current`` copies.
STORED = {
    "prior": Stored("registered", "pair_id", "pair_id"),
    "current": Stored("pixels", "dicom_id", "dicom_id"),
}

MAIN = "biomedjourney"  # the system that every other one is compared with
BOUND = "real-follow-up"  # the true later pictures, which no system is expected to surpass

DECLARED = (
    System(
        MAIN,
        "two stages, registered prior, progression description",
        {"pathology_auc": 0.8054, "race_auc": 0.9722, "age_r": 0.7938, "cmig": 0.8323, "lung_dice_prior": 0.8105},
    ),
    System("biomedjourney-short", "the same, trained as long as its ablations"),
    System("text-only", "stage 1 alone: drawn from the text, without a prior (RoentGen's method with our training)"),
    System(
        "roentgen",
        "RoentGen's published weights",
        {"pathology_auc": 0.7961, "race_auc": 0.8471, "age_r": 0.2891, "cmig": 0.6608, "lung_dice_prior": 0.6738},
    ),
    System(
        "instruct-pix2pix",
        "InstructPix2Pix, published weights",
        {"pathology_auc": 0.5810, "race_auc": 0.7825, "age_r": 0.1782, "cmig": 0.4212},
    ),
    System("instruct-pix2pix-finetuned", "InstructPix2Pix, fine-tuned on the triples"),
    System(
        "stable-diffusion",
        "Stable Diffusion, published weights",
        {"pathology_auc": 0.4990, "race_auc": 0.7713, "age_r": 0.0273, "cmig": 0.1814},
    ),
    System("one-stage", "trained on the triples alone", {"cmig": 0.8283}),
    System(
        "no-registration",
        "the prior as it was taken, not registered",
        {"race_auc": 0.8858, "age_r": 0.5512, "cmig": 0.7638},
    ),
    System(
        "no-registration-one-stage",
        "neither registration nor stage 1",
        {"race_auc": 0.9476, "age_r": 0.7678, "cmig": 0.8076},
    ),
    System("impression-text", "the later report's Impression in place of the description", {"cmig": 0.8296}),
    System("rules-text", "descriptions by rules"),
    System("forward-journeys", "training pairs read forward in time alone"),
    System("backward-journeys", "training pairs also read backward in time (this project's own)"),
    System("untrained", "the model before any training"),
    System("copy-prior", "no model: the registered prior, unchanged"),
    System(BOUND, "no model: the true later picture, the upper bound", {"lung_dice_prior": 0.7404}),
)

BY_NAME = {system.name: system for system in DECLARED}


def is_stand_in(settings: dict[str, Any]) -> bool:
    """Whether the settings of a system name no weights for its pipeline: a miniature takes their place.

    It learned from drawn shapes, so nothing that the paper says of the published weights may stand beside it.
    """
    return settings.get("pipeline", "") is None


def printed(name: str, settings: dict[str, Any]) -> dict[str, float]:
    """The figures that the paper prints of a system; none for a system that it does not have, and for a stand-in."""
    return BY_NAME[name].paper if name in BY_NAME and not is_stand_in(settings) else {}


def about(name: str, settings: dict[str, Any]) -> str:
    """What a system is, for a reader; empty for one that is not declared. ``settings``: of the system."""
    if is_stand_in(settings):
        learned = "drawn shapes with captions" if settings["prior"] == "none" else "drawn edits of shapes"
        return f"stand-in that learned from {learned}, in the place of published weights"
    return BY_NAME[name].about if name in BY_NAME else ""


def in_order(names: Iterable[str]) -> list[str]:
    """The names in the order of the declaration; names that are not declared come after, sorted."""
    places = {name: place for place, name in enumerate(BY_NAME)}
    return sorted(names, key=lambda name: (places.get(name, len(places)), name))
