"""CheXpert's 14 labels of a phantom report, with a few errors, as an automatic labeller makes them."""

import numpy as np

from biomedjourney.phantom.findings import FINDINGS

LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
TEST_LABELS = tuple("Airspace Opacity" if label == "Lung Opacity" else label for label in LABELS)
FLIPPED = 0.02  # probability that the label of one finding is wrong
NOISY = (*FINDINGS, "support_devices")


def complete(mentions: dict[str, int]) -> dict[str, int]:
    """Adds the labels that follow from other labels.

    Lung Opacity is 1 if consolidation or edema is 1; else -1 if one of them is -1; else 0 if both are 0; else blank.
    No Finding is 1 if no label but Support Devices is 1 or -1, and blank otherwise.
    """
    result = {label: value for label, value in mentions.items() if label not in ("lung_opacity", "no_finding")}
    opaque = [result[label] for label in ("consolidation", "edema") if label in result]
    if opaque and (any(opaque) or len(opaque) == 2):
        result["lung_opacity"] = 1 if 1 in opaque else min(opaque)
    if not any(value for label, value in result.items() if label != "support_devices"):
        result["no_finding"] = 1
    return result


def labelled(mentions: dict[str, int], rng: np.random.Generator) -> dict[str, int]:
    """The mentions as an automatic labeller gives them: each finding is wrong with the probability FLIPPED."""
    flipped = rng.random(len(NOISY)) < FLIPPED
    result = dict(mentions)
    for label, wrong in zip(NOISY, flipped, strict=True):
        if wrong:
            result[label] = 0 if mentions.get(label) == 1 else 1
    return complete(result)


def label_row(mentions: dict[str, int], labels: tuple[str, ...]) -> list[str]:
    """One cell per label: 1.0, 0.0, -1.0 or empty."""
    values = (mentions.get(label.lower().replace(" ", "_")) for label in labels)
    return ["" if value is None else f"{value:.1f}" for value in values]
