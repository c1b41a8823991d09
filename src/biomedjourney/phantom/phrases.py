"""The words of the phantom's reports.

About a quarter of the phrases of each slot are held out: the authors of rules do not see them. So rules can be tested
on words that they were not written for.

In the templates, {np} stands for "small right pleural effusion", {a} for the same with its article, {anew} with article
and "new", {bare} without the degree, {the} without the degree and with the definite article, {side} for right or left,
{degree} for small, {degreely} for mildly. {is}, {has}, {was} and {s} agree with the number of the noun.
"""

from typing import NamedTuple

import numpy as np

WHICH = ("all", "seen", "held-out")


class Phrases(NamedTuple):
    seen: tuple[str, ...]
    held_out: tuple[str, ...] = ()

    def of(self, which: str) -> tuple[str, ...]:
        """All phrases, the seen ones, or the held-out ones (the seen ones if the slot has no others)."""
        if which == "all":
            return self.seen + self.held_out
        return self.held_out or self.seen if which == "held-out" else self.seen


def pick(rng: np.random.Generator, phrases: Phrases, which: str) -> str:
    options = phrases.of(which)
    return options[rng.integers(len(options))]


# The nouns of each finding. Cardiomegaly and edema have no article. A bilateral finding is in the plural.
NOUNS: dict[str, dict[str, Phrases]] = {
    "pleural_effusion": {
        "one": Phrases(
            ("{side} pleural effusion", "{side}-sided pleural effusion", "{side} effusion"),
            ("pleural effusion on the {side}",),
        ),
        "both": Phrases(("bilateral pleural effusions", "bilateral effusions"), ("pleural effusions on both sides",)),
    },
    "cardiomegaly": {
        "one": Phrases(("cardiomegaly", "enlargement of the cardiac silhouette"), ("cardiac enlargement",)),
    },
    "edema": {
        "one": Phrases(("pulmonary edema", "interstitial edema", "interstitial pulmonary edema"), ("lung edema",)),
    },
    "pneumothorax": {
        "one": Phrases(
            ("{side} pneumothorax", "{side}-sided pneumothorax", "{side} apical pneumothorax"),
            ("pneumothorax on the {side}",),
        ),
    },
    "consolidation": {
        "upper": Phrases(
            (
                "{side} upper lobe consolidation",
                "consolidation in the {side} upper lobe",
                "consolidative opacity in the {side} upper lobe",
            ),
            ("airspace consolidation in the {side} upper lung",),
        ),
        "lower": Phrases(
            (
                "{side} lower lobe consolidation",
                "consolidation in the {side} lower lobe",
                "{side} basilar consolidation",
                "consolidation at the {side} lung base",
                "consolidative opacity in the {side} lower lobe",
            ),
            ("parenchymal consolidation at the {side} base", "basal consolidation on the {side}"),
        ),
        "both": Phrases(
            ("bibasilar consolidations", "consolidations at both lung bases"), ("bilateral lower lobe consolidations",)
        ),
    },
}
MASS_NOUNS = ("cardiomegaly", "edema")

DEGREES: dict[str, dict[str, Phrases]] = {
    "pleural_effusion": {
        "small": Phrases(("small", "mild"), ("small-to-moderate",)),
        "moderate": Phrases(("moderate", "moderate-sized"), ("medium-sized",)),
        "large": Phrases(("large", "substantial"), ("extensive",)),
    },
    "cardiomegaly": {
        "small": Phrases(("mild",), ("borderline to mild",)),
        "moderate": Phrases(("moderate",)),
        "large": Phrases(("severe", "marked"), ("massive",)),
    },
    "edema": {
        "small": Phrases(("mild",), ("minor",)),
        "moderate": Phrases(("moderate",)),
        "large": Phrases(("severe", "marked"), ("florid",)),
    },
    "pneumothorax": {
        "small": Phrases(("small", "tiny"), ("minor",)),
        "moderate": Phrases(("moderate", "moderate-sized"), ("medium-sized",)),
        "large": Phrases(("large",), ("extensive",)),
    },
    "consolidation": {
        "small": Phrases(("patchy", "small"), ("faint",)),
        "moderate": Phrases(("moderate", "confluent")),
        "large": Phrases(("dense", "extensive", "large"), ("widespread",)),
    },
}
ADVERBS = {"small": "mildly", "moderate": "moderately", "large": "severely"}

# Phrases for any finding, by status.
GENERAL: dict[str, Phrases] = {
    "present": Phrases(
        ("there {is} {a}", "{np} {is} noted", "{a} {is} seen", "{a} {is} present", "{np}", "{np} {is} identified"),
        ("{a} {is} demonstrated", "findings include {a}"),
    ),
    "new": Phrases(
        (
            "new {np}",
            "there {is} {anew}",
            "interval development of {a}",
            "{a} {has} developed",
            "{np}, new since the prior study",
            "{anew} {is} seen",
            "{np} {is} new",
            "there has been development of {a}",
        ),
        (
            "{a} {has} appeared in the interval",
            "{np} {is} new from ___",
            "{a} {is} now present, not seen on the prior radiograph",
        ),
    ),
    "larger": Phrases(
        (
            "interval increase in {the}, now {degree}",
            "interval increase in {the}",
            "{the} {has} increased",
            "{the} {has} increased in the interval and {is} now {degree}",
            "increased {bare}",
            "worsening {bare}",
            "worsened {bare}, now {degree}",
            "there has been interval worsening of {the}",
        ),
        (
            "{the} {has} progressed since the prior examination",
            "{bare} {is} more extensive than on ___",
            "progression of {the}",
        ),
    ),
    "unchanged": Phrases(
        (
            "unchanged {np}",
            "{np} {is} unchanged",
            "stable {np}",
            "{the} {is} stable",
            "persistent {np}",
            "no significant change in {the}",
            "{a} {is} again seen, unchanged",
            "{a} persist{s}",
        ),
        (
            "{the} {is} similar to prior",
            "again demonstrated {is} {a}",
            "{the} {has} not substantially changed",
        ),
    ),
    "smaller": Phrases(
        (
            "interval decrease in {the}",
            "interval decrease in {the}, now {degree}",
            "{the} {has} decreased",
            "decreased {bare}",
            "interval improvement in {the}",
            "improved {bare}, now {degree}",
            "{the} {has} improved but persist{s}",
            "improving {bare}",
        ),
        (
            "{the} {has} partially cleared",
            "{bare} {is} less extensive than on the prior study",
            "residual {np}, decreased from ___",
        ),
    ),
    "resolved": Phrases(
        (
            "{the} {has} resolved",
            "resolution of {the}",
            "interval resolution of {the}",
            "previously seen {bare} {is} no longer present",
            "{the} {has} cleared",
            "resolved {bare}",
        ),
        ("{the} {is} no longer visualized", "complete clearing of {the}"),
    ),
    "uncertain": Phrases(
        (
            "possible {np}",
            "{a} cannot be excluded",
            "{a} may be present",
            "question of {a}",
            "subtle findings may represent {a}",
            "cannot exclude {a}",
        ),
        ("{a} {is} difficult to exclude", "equivocal {np}"),
    ),
}

# Phrases for one finding only, by status, in addition to the general ones.
SPECIAL: dict[tuple[str, str], Phrases] = {
    ("pleural_effusion", "present"): Phrases(
        ("blunting of the {side} costophrenic angle is compatible with {a}", "{np} with adjacent compressive change"),
        ("there is layering of {a}",),
    ),
    ("pleural_effusion", "new"): Phrases(
        ("new blunting of the {side} costophrenic angle reflects {a}",), ("interval accumulation of {a}",)
    ),
    ("pleural_effusion", "larger"): Phrases(
        ("enlarging {bare}", "{the} {is} larger", "increase in size of {the}"), ("further accumulation of {bare}",)
    ),
    ("pleural_effusion", "unchanged"): Phrases(
        ("{np} {is} stable in size",), ("{np}, not appreciably changed in size",)
    ),
    ("pleural_effusion", "smaller"): Phrases(
        ("{the} {is} smaller", "decrease in size of {the}"), ("partial drainage of {the}, now {degree}",)
    ),
    ("pleural_effusion", "resolved"): Phrases(
        ("the {side} costophrenic angle is now clear with resolution of the effusion",),
        ("{the} {has} been completely drained",),
    ),
    ("cardiomegaly", "present"): Phrases(
        (
            "the heart is {degreely} enlarged",
            "the cardiac silhouette is {degreely} enlarged",
            "heart size is {degreely} enlarged",
            "the cardiomediastinal silhouette is {degreely} enlarged",
        ),
        ("the cardiac shadow is {degreely} enlarged",),
    ),
    ("cardiomegaly", "new"): Phrases(
        (
            "the heart is now {degreely} enlarged",
            "the cardiac silhouette has become {degreely} enlarged",
            "new enlargement of the cardiac silhouette",
        ),
        ("the heart, previously normal, is {degreely} enlarged",),
    ),
    ("cardiomegaly", "larger"): Phrases(
        (
            "the heart has increased in size",
            "the cardiac silhouette has increased in size",
            "the cardiac silhouette is larger than on the prior study",
            "enlarged cardiac silhouette, increased in the interval",
        ),
        ("further enlargement of the heart",),
    ),
    ("cardiomegaly", "unchanged"): Phrases(
        (
            "the cardiac silhouette remains {degreely} enlarged",
            "the heart remains enlarged",
            "stable enlargement of the cardiac silhouette",
        ),
        ("heart size is {degreely} enlarged, as before",),
    ),
    ("cardiomegaly", "smaller"): Phrases(
        (
            "the heart is smaller than on the prior study but remains enlarged",
            "the cardiac silhouette has decreased in size, still {degreely} enlarged",
            "decreased heart size with persistent {np}",
        ),
        ("the heart is less enlarged than before",),
    ),
    ("cardiomegaly", "resolved"): Phrases(
        (
            "heart size is now normal",
            "the cardiac silhouette has returned to normal size",
            "the heart is no longer enlarged",
        ),
        ("normalization of the heart size",),
    ),
    ("edema", "present"): Phrases(
        ("there is vascular congestion with {np}", "increased interstitial markings are consistent with {np}"),
        ("perihilar haziness compatible with {np}",),
    ),
    ("edema", "new"): Phrases(("new interstitial markings consistent with {np}",), ("interval onset of {np}",)),
    ("edema", "larger"): Phrases(
        ("{the} {has} worsened", "worsening of {the}, now {degree}"), ("increasingly severe edema",)
    ),
    ("edema", "unchanged"): Phrases(("vascular congestion and {np} are unchanged",), ("{np}, as on the prior film",)),
    ("edema", "smaller"): Phrases(("{the} {is} improved", "improvement of {the}"), ("partial regression of {the}",)),
    ("edema", "resolved"): Phrases(
        ("vascular congestion and edema have resolved",), ("the lungs have cleared of edema",)
    ),
    ("pneumothorax", "present"): Phrases(
        ("a visceral pleural line is seen, consistent with {a}", "{np} without evidence of tension"),
        ("there is partial collapse of the {side} lung due to {a}",),
    ),
    ("pneumothorax", "new"): Phrases(("{anew} without mediastinal shift",), ("interval appearance of {a}",)),
    ("pneumothorax", "larger"): Phrases(
        ("enlarging {bare}", "{the} {is} larger", "increase in size of {the}"),
        ("further collapse of the {side} lung with larger pneumothorax",),
    ),
    ("pneumothorax", "unchanged"): Phrases(("{np} {is} stable in size",), ("{np} of unchanged extent",)),
    ("pneumothorax", "smaller"): Phrases(
        ("{the} {is} smaller", "decrease in size of {the}"),
        ("partial re-expansion of the {side} lung with residual pneumothorax",),
    ),
    ("pneumothorax", "resolved"): Phrases(
        ("no residual {side} pneumothorax",), ("the {side} lung has re-expanded without residual pneumothorax",)
    ),
    ("consolidation", "present"): Phrases(("{np} with air bronchograms",), ("the lungs show {a}",)),
    ("consolidation", "new"): Phrases(("{anew} with air bronchograms",), ("newly apparent {np}",)),
    ("consolidation", "larger"): Phrases(("{the} {is} more confluent",), ("{the} {has} become denser",)),
    ("consolidation", "unchanged"): Phrases(("{np}, stable in extent",), ("{np} {is} as extensive as before",)),
    ("consolidation", "smaller"): Phrases(("{the} {is} clearing",), ("partial clearing of {the}",)),
    ("consolidation", "resolved"): Phrases(
        ("{the} {has} cleared completely",), ("full re-aeration with no residual {bare}",)
    ),
}

# Denials of one or several findings in one list, and denials of one finding only.
DENIED_NOUNS: dict[str, Phrases] = {
    "pleural_effusion": Phrases(("pleural effusion", "effusion"), ("pleural fluid",)),
    "cardiomegaly": Phrases(("cardiomegaly",)),
    "edema": Phrases(("pulmonary edema", "edema", "overt pulmonary edema"), ("frank edema",)),
    "pneumothorax": Phrases(("pneumothorax",)),
    "consolidation": Phrases(("focal consolidation", "consolidation"), ("lobar consolidation",)),
}
DENIALS = Phrases(
    (
        "no {list}",
        "there is no {list}",
        "no evidence of {list}",
        "no {list} is seen",
        "the lungs are without evidence of {list}",
    ),
    ("{list} is not identified", "negative for {list}"),
)
SPECIAL_DENIALS: dict[str, Phrases] = {
    "cardiomegaly": Phrases(
        (
            "heart size is normal",
            "the cardiac silhouette is normal in size",
            "the cardiomediastinal silhouette is within normal limits",
            "the heart is not enlarged",
            "heart size is within normal limits",
        ),
        ("the cardiomediastinal silhouette is unremarkable", "the heart is of normal size"),
    ),
    "pleural_effusion": Phrases(("no pleural effusion on either side",), ("no effusions",)),
}

DEVICE_NOUNS: dict[str, Phrases] = {
    "right internal jugular line": Phrases(
        ("right internal jugular central venous catheter", "right internal jugular line", "right IJ catheter"),
        ("right IJ central line",),
    ),
    "left picc": Phrases(("left PICC", "left-sided PICC line", "left PICC line"), ("left upper extremity PICC",)),
    "endotracheal tube": Phrases(("endotracheal tube", "ET tube"), ("endotracheal airway tube",)),
    "pacemaker": Phrases(
        ("left-sided pacemaker", "dual-lead pacemaker", "left pectoral pacemaker"), ("cardiac pacing device",)
    ),
}
DEVICE_PLACES: dict[str, Phrases] = {
    "right internal jugular line": Phrases(
        ("with its tip in the mid SVC", "terminating in the lower SVC"), ("ending at the cavoatrial junction",)
    ),
    "left picc": Phrases(
        ("with its tip in the mid SVC", "terminating in the low SVC"), ("ending in the superior vena cava",)
    ),
    "endotracheal tube": Phrases(
        ("terminating 4 cm above the carina", "in standard position"), ("ending well above the carina",)
    ),
    "pacemaker": Phrases(("with leads in standard position", "with intact leads"), ("with leads as expected",)),
}
DEVICES: dict[str, Phrases] = {
    "present": Phrases(("{a} {where}", "{a} is present {where}", "there is {a} {where}"), ("{a} is noted {where}",)),
    "new": Phrases(
        ("interval placement of {a} {where}", "{a} has been placed, {where}", "new {bare} {where}"),
        ("{a} has been inserted in the interval, {where}",),
    ),
    "unchanged": Phrases(
        ("the {bare} is in unchanged position", "unchanged position of the {bare}", "{a} is again seen, unchanged"),
        ("the {bare} remains in place",),
    ),
    "resolved": Phrases(
        ("the {bare} has been removed", "interval removal of the {bare}"), ("the {bare} has been taken out",)
    ),
}

PNEUMONIA: dict[int, Phrases] = {
    1: Phrases(("consistent with pneumonia", "compatible with pneumonia"), ("in keeping with pneumonia",)),
    -1: Phrases(("concerning for pneumonia", "which may represent pneumonia"), ("suspicious for pneumonia",)),
}

COMPARISONS = Phrases(
    (
        "in comparison with the study of ___, ",
        "compared to ___, ",
        "as compared to the previous radiograph, ",
        "in comparison to the prior study, ",
    ),
    ("since the examination of ___, ", "in the interval from ___, "),
)
NO_CHANGE = Phrases(
    (
        "no significant interval change",
        "no relevant change since the previous examination",
        "unchanged examination",
        "no interval change",
        "stable appearance of the chest",
    ),
    ("overall appearance similar to prior", "little change since ___"),
)
NO_ACUTE = Phrases(
    (
        "no acute cardiopulmonary process",
        "no acute cardiopulmonary abnormality",
        "no acute intrathoracic process",
    ),
    ("no evidence of acute disease",),
)
NORMAL = Phrases((*NO_ACUTE.seen, "normal chest radiograph"), (*NO_ACUTE.held_out, "unremarkable chest radiograph"))
FILLERS = Phrases(
    (
        "no acute osseous abnormalities",
        "the mediastinal and hilar contours are normal",
        "imaged upper abdomen is unremarkable",
        "no free air below the right hemidiaphragm is seen",
        "the aorta is mildly tortuous",
        "bony structures are intact",
        "mediastinal contours are unremarkable",
    ),
    ("degenerative changes are seen along the thoracic spine", "the hila are unremarkable"),
)
LOW_VOLUMES = Phrases(("low lung volumes", "lung volumes are low", "lower lung volumes"), ("shallow inspiration",))
ATELECTASIS = Phrases(
    ("mild bibasilar atelectasis", "low lung volumes with bibasilar atelectasis"),
    ("minimal atelectatic change at the bases",),
)
# Lasting findings of a patient that are not drawn: the sentence and its label.
INCIDENTAL: tuple[tuple[str, str], ...] = (
    ("old healed rib fractures are again noted", "fracture"),
    ("stable biapical pleural thickening", "pleural_other"),
    ("calcified nodule in the right mid lung, likely a granuloma", "lung_lesion"),
)
INDICATIONS = Phrases(
    (
        "___ year old {man} with shortness of breath // evaluate for pneumonia",
        "___{F} with cough and fever  // eval for infiltrate",
        "___-year-old {man} with chest pain.",
        "History: ___{F} with dyspnea  // acute process?",
        "___ year old {man} with CHF, please evaluate for interval change",
        "___-year-old {man} status post thoracic surgery, assess for change.",
        "___ year old {man} with hypoxia // interval change",
        "___{F} with weakness, rule out pneumonia.",
    ),
    ("Follow-up of known disease in a ___-year-old {man}.", "Preoperative evaluation, Dr. ___."),
)
RECOMMENDATIONS = Phrases(
    (
        "Findings were discussed with Dr. ___ by telephone at the time of discovery.",
        "Recommend followup radiographs after treatment to ensure resolution.",
    ),
    ("Dr. ___ was paged with these results.",),
)
ADDENDA = Phrases(
    (
        "The above findings were communicated to Dr. ___ by telephone on ___ at ___.",
        "Compared to a study of ___ from an outside hospital made available later; the interpretation stands.",
    ),
    ("The referring service was notified by ___ on ___.",),
)
