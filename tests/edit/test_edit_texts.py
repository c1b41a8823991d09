"""What a text is warned of."""

import re

import pytest

from biomedjourney.editing.cautions import cautions

IN_THE_LANGUAGE = (
    "new small left pleural effusion",
    "resolved pulmonary edema",
    "decreased cardiomegaly, now mild; stable left picc line",
    "no significant change",
    "enlarged cardiac silhouette",
    "improved aeration of the right lung",
    "worsening consolidation in the right lower lobe",
)


def sure(**probabilities: float) -> dict[str, float]:
    names = ("pleural_effusion", "cardiomegaly", "consolidation", "edema", "pneumothorax")
    return dict.fromkeys(names, 0.9) | probabilities


@pytest.mark.parametrize("text", IN_THE_LANGUAGE)
def test_a_text_of_the_language_is_not_warned_of(text: str) -> None:
    assert cautions(text, True, sure) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("neuer kleiner Pleuraerguss links", "hardly English .*neuer, kleiner and pleuraerguss"),
        ("neuer Pneumothorax links", "hardly English .*only the rest"),
        ("nouvel épanchement pleural gauche", "hardly English"),
        ("make it look nicer", "hardly English|no finding"),
        ("the lungs are as they are", "names no finding"),
        ("new rib fracture", "learned from the phantom, which does not show fracture"),
    ],
)
def test_a_text_outside_of_the_language_is_told_why(text: str, reason: str) -> None:
    (caution,) = cautions(text, True, sure)
    assert re.search(reason, caution)


def test_a_model_of_real_films_may_know_every_finding() -> None:
    assert cautions("new rib fracture", False, None) == []


@pytest.mark.parametrize("text", ["resolved left pneumothorax", "decreased pneumothorax", "stable right pneumothorax"])
def test_what_the_film_does_not_show_cannot_go(text: str) -> None:
    (caution,) = cautions(text, True, lambda: sure(pneumothorax=0.03))
    assert "pneumothorax was there before, but the film does not show it (the pathology judge gives 0.03)" in caution
    assert cautions(text, True, None) == []  # no judge, no opinion


def test_a_new_finding_need_not_be_there_and_asks_no_judge() -> None:
    def never() -> dict[str, float]:
        raise AssertionError("loading the judges takes seconds")

    assert cautions("new large right pneumothorax", True, never) == []
