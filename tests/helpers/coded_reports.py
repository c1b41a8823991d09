"""The reports of Open-i (Demner-Fushman et al., 2016) with the labels that experts' MeSH codes stand for.

The reports ship with torchxrayvision. Codes in ``major`` were given by people who read the report; reports that nobody
coded are left out. ``XXXX`` stands for removed words.
"""

import re
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass

from biomedjourney.rewrite.rules import Study, changes
from tests.helpers.report_layout import openi_archive

# For each label: the heading that a code begins with, and what else the code must name. Heart failure and congestion
# count as edema, as in the CheXpert labeller (Irvin et al., 2019); a granuloma counts as a lesion.
CODES = {
    "pleural_effusion": r"pleural effusion|hydropneumothorax|hemopneumothorax|hemothorax",
    "cardiomegaly": r"cardiomegaly|cardiac shadow/.*enlarged|heart/enlarged",
    "consolidation": r"consolidation",
    "edema": r"pulmonary edema|pulmonary congestion|heart failure",
    "pneumothorax": r"pneumothorax|hydropneumothorax|hemopneumothorax",
    "atelectasis": r"pulmonary atelectasis|volume loss",
    "pneumonia": r"pneumonia",
    "lung_opacity": r"opacity(?!.*nodul)|airspace disease|infiltrate|density(?=.*/lung)",
    "pleural_other": r"(?:thickening|cicatrix)(?=.*pleura)",
    "enlarged_cardiomediastinum": r"mediastinum/.*(?:enlarged|prominent|wid)",
    "lung_lesion": r"nodule|mass(?!.*mediastin)|granuloma|calcified granuloma|granulomatous disease|opacity.*nodul",
    "fracture": r"fractures, bone",
    "support_devices": r"catheters, indwelling|implanted medical device(?!/humerus|/shoulder|/.*vertebra|/clavicle|"
    r"/neck)|medical device|tube, inserted",
}
IMPLIES_OPACITY = ("consolidation", "edema", "atelectasis", "pneumonia")
DEVICES = ("picc", "central_line", "endotracheal_tube", "enteric_tube", "chest_tube", "pacemaker", "tracheostomy")


@dataclass(frozen=True)
class CodedReport:
    """One report with the labels that its codes stand for."""

    name: str
    study: Study
    labels: frozenset[str]
    codes: tuple[str, ...]


def coded_reports() -> Iterator[CodedReport]:
    """Every report that has text and codes."""
    with tarfile.open(openi_archive()) as files:
        for entry in files:
            file = files.extractfile(entry) if entry.name.endswith(".xml") else None
            if file is None:
                continue
            root = ElementTree.fromstring(file.read())
            text = {part.get("Label"): part.text or "" for part in root.iter("AbstractText")}
            codes = tuple((code.text or "").strip() for code in root.iter("major"))
            if not codes or "No Indexing" in codes or not (text.get("FINDINGS") or text.get("IMPRESSION")):
                continue
            study = Study({}, text.get("FINDINGS", ""), text.get("IMPRESSION", ""))
            labels = {n for n, p in CODES.items() for code in codes if re.match(rf"(?:{p})\b", code.lower())}
            yield CodedReport(entry.name, study, frozenset(labels), codes)


def labels_named_present(prior: Study, current: Study) -> set[str]:
    """The labels that the rules writer's changes name as present in the current study, new or unchanged."""
    present = {change.finding for change in changes(prior, current) if change.direction != "resolved"}
    return {"support_devices" if finding in DEVICES else finding for finding in present}


def with_implied_opacity(labels: set[str]) -> set[str]:
    """The labels and, where one of them is a kind of opacity, lung opacity: used to count what was found (recall)."""
    return labels | ({"lung_opacity"} if labels & set(IMPLIES_OPACITY) else set())
