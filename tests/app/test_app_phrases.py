"""The words that the page writes are those that the reader of reports reads."""

import pytest

from biomedjourney.app import phrases
from biomedjourney.editing.cautions import cautions
from biomedjourney.rewrite.language import mentions
from biomedjourney.rewrite.lexicon import DEVICES

SIDES = {"": set(), "left": {"left"}, "right": {"right"}, "bilateral": {"left", "right"}}
ALL = [name for _, name in phrases.findings(phantom=False)]


@pytest.mark.parametrize("finding", ALL)
def test_every_choice_is_read_back_as_it_was_chosen(finding: str) -> None:
    for _, direction in phrases.directions(finding):
        for _, side in phrases.sides(finding):
            for _, severity in phrases.sizes(finding, direction):
                text = phrases.extended("", finding, side, direction, severity)
                (read,) = mentions(text)
                assert (read.finding, set(read.sides), read.change) == (finding, SIDES[side], direction), text
                assert severity in (read.severity, 0), text
                assert cautions(text, False, None) == [], text


def test_changes_are_joined_as_in_a_description() -> None:
    text = phrases.extended("new picc line; ", "pleural_effusion", "left", "new", 1)
    assert text == "new picc line; new small left pleural effusion"
    assert [mention.finding for mention in mentions(text)] == ["picc", "pleural_effusion"]


def test_only_what_fits_can_be_chosen() -> None:
    for finding in DEVICES:
        if finding in ALL:
            assert [move for _, move in phrases.directions(finding)] == ["new", "resolved", "stable"]
            assert phrases.sizes(finding, "new") == [("not said", 0)]
    assert phrases.sizes("edema", "resolved") == [("not said", 0)]
    assert [word for word, _ in phrases.sizes("edema", "new")] == ["not said", "mild", "moderate", "severe"]
    assert phrases.sides("cardiomegaly") == [("not said", "")]


def test_of_a_model_of_the_phantom_only_what_the_phantom_shows() -> None:
    for _, finding in phrases.findings(phantom=True):
        assert cautions(phrases.extended("", finding, "", "new", 0), True, None) == []
    assert "fracture" not in dict(map(reversed, phrases.findings(phantom=True)))
