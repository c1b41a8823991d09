"""Right descriptions with one word made wrong: what the checks must refuse."""

import re
from collections.abc import Iterator

from biomedjourney.rewrite.rules import told
from biomedjourney.rewrite.study import Study

SWAPS = {
    "side": [("left", "right"), ("right", "left")],
    "direction": [
        ("increased", "decreased"), ("worsening", "improved"), ("larger", "smaller"), ("decreased", "increased"),
        ("improved", "worsening"), ("smaller", "larger"), ("new", "resolved"), ("resolved", "new"),
        ("stable", "worsening"), ("unchanged", "improved"), ("new", "worsening"), ("resolved", "improved"),
        ("improved", "resolved"), ("worsening", "stable"),
    ],
    "size": [
        ("small", "large"), ("moderate", "small"), ("large", "moderate"), ("mild", "severe"), ("severe", "mild"),
        ("moderate", "severe"),
    ],
    "finding": [
        ("pleural effusion", "pneumothorax"), ("pneumothorax", "consolidation"), ("consolidation", "nodule"),
        ("pulmonary edema", "pneumonia"), ("cardiomegaly", "pulmonary edema"), ("picc line", "chest tube"),
        ("endotracheal tube", "pacemaker"), ("opacity", "fracture"), ("atelectasis", "pneumothorax"),
    ],
}  # fmt: skip
ADDED = {
    "pneumothorax": "new left pneumothorax",
    "fracture": "new right rib fracture",
    "edema": "worsening pulmonary edema",
    "pleural_effusion": "small right pleural effusion",
    "chest_tube": "resolved left chest tube",
}


def spoiled(description: str, prior: Study, current: Study) -> Iterator[tuple[str, str]]:
    """(kind, description): one word swapped at its first place, or a finding added that no report has as present.

    A swap that ends in what the description says already ("new edema; new edema") is no fault and is left out.
    """
    for kind, swaps in SWAPS.items():
        for old, new in swaps:
            wrong = re.sub(rf"\b{old}\b", new, description, count=1)
            phrases = wrong.split("; ")
            if wrong != description and len({*phrases}) == len(phrases):
                yield kind, wrong
    present = {change.finding for change in told(prior, current)}
    for finding, phrase in ADDED.items():
        if finding not in present:
            yield "added", f"{description}; {phrase}"
