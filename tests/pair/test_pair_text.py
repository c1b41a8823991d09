"""Cleaning of report text for a model."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney.pair.text import clean, is_usable


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Compared to ___, no\n  change.", "Compared to, no change."),
        ("Seen on ___.", "Seen on."),
        ("___ year old", "year old"),
        ("___-year-old with cough", "year-old with cough"),
        ("Told Dr. ___ (___, ___) at ___.", "Told Dr. at."),
        ("No change [___].  Normal.", "No change. Normal."),
        ("On ___, ___, and ___.", "On, and."),
        ("___. Normal chest.", "Normal chest."),
        ("PICC (right, ___) ends high.", "PICC (right) ends high."),
        ("Dated ___/___/___ and ___-___.", "Dated and."),
        ("___", ""),
        ("___, ___. (___)", ""),
        ("Nothing removed , as it stands ...", "Nothing removed , as it stands ..."),
        ("", ""),
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@settings(deadline=None)
@given(st.lists(st.sampled_from(["___", "__", "_____", "no", "effusion", ".", ",", "(", ")", "-", " ", "\n", ":"])))
def test_nothing_removed_is_left_and_no_word_is_lost(pieces: list[str]) -> None:
    cleaned = clean(" ".join(pieces))
    assert "__" not in cleaned
    assert cleaned == " ".join(cleaned.split())
    assert clean(cleaned) == cleaned
    for word in ("no", "effusion"):
        assert cleaned.count(word) == pieces.count(word)


@settings(deadline=None)
@given(st.text(string.ascii_letters + string.punctuation.replace("_", "") + " \n"))
def test_text_with_nothing_removed_keeps_all_but_white_space(text: str) -> None:
    assert clean(text) == " ".join(text.split())


@pytest.mark.parametrize(("text", "usable"), [("Normal.", True), ("", False), (".", False), ("a 1", False)])
def test_usable(text: str, usable: bool) -> None:
    assert is_usable(text) is usable
