"""Cleaning of report text for a model."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney.pair.text import clean, is_usable, report_text


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


FINDINGS = "The heart is large. No effusion."
SAYS_NOTHING = (
    *(
        "As above.",
        "AS ABOVE",
        "See findings.",
        "Please see above.",
        "None.",
        "As described above",
        "See body of report",
    ),
    *("Findings as above", "Findings are as described above.", "Please see findings section above for details."),
    *(
        "1. As above.",
        "1. As above. 2. See findings.",
        "(See above)",
        "- as above -",
        "Per above.",
        "As noted.",
        "Above.",
    ),
    *(
        "Please refer to the body of the report.",
        "As stated in the findings.",
        "Same as above",
        "Ditto.",
        "Chest: as above.",
    ),
    *(
        "See comment.",
        "See separately dictated report.",
        "See report of CT of the same date.",
        "As above ___.",
        "N/A",
        "n/a",
    ),
    *(
        "None given.",
        "No impression.",
        "Not applicable",
        "No further comment.",
        "Nothing to add.",
        "Pending.",
        "___",
        "",
    ),
    *("SEE ABOVE/BELOW", "As above. Clinical correlation advised.", "See dictation.", "As above. Thank you."),
    *("As indicated.", "As shown above.", "As described previously.", "a. As above. b. See findings.", "Vide supra."),
    *("Multiple findings as described above.", "Please see above for interpretation.", "See wet read above."),
    *("Report to follow.", "Final report pending.", "No impression was given.", "See report of CT abdomen/pelvis."),
    "Please see the report of the CT performed the same day.",
    "As above. Findings were communicated to Dr. ___ via telephone on ___ at 3:12 p.m.",
    *("As above. Discussed with Dr. ___ by phone at 5:32 PM.", "As detailed above.\n\n Reported to ___ at 10:15 am."),
)
TELLS_NO_CHANGE = (
    *("Unchanged.", "No change.", "Stable.", "No significant interval change.", "No relevant change since ___."),
    *("Stable appearance of the chest.", "As above, unchanged.", "Unchanged compared to the prior radiograph."),
    *("In comparison with the study of ___, there is little change.", "1. Unchanged. 2. See above.", "No acute change"),
    *("No marked change.", "Minimal interval change.", "No change over the past 24 hours.", "No interval difference."),
    *("No significant change since the exam from two days prior.", "Unchanged since 5:32 a.m.", "Interval stability."),
    *("Stable chest x-ray.", "No change from yesterday's film.", "Unchanged since 2 days ago."),
)
SAYS_SOMETHING = (
    *("Normal.", "Negative.", "Clear.", "No acute findings.", "As above, no acute process.", "Stable cardiomegaly."),
    *("No acute process.", "Normal chest.", "Stable postoperative appearance.", "Stable lines and tubes.", "COPD."),
    *("Tubes as above.", "Unremarkable as above.", "Postoperative changes.", "Improved since before.", "NAD."),
    *("Unchanged position.", "Abnormal, see above.", "No new findings.", "Wet.", "Follow-up recommended.", "Multiple."),
    *("Unchanged effusion.", "See above. Edema.", "Improved.", "No pneumothorax.", "Findings as above, with edema."),
    *(
        "No new consolidation.",
        "Unchanged. Consider CT.",
        "As above; moderate effusions.",
        "Impression.",
        "No findings.",
    ),
)


@pytest.mark.parametrize("impression", [*SAYS_NOTHING, *TELLS_NO_CHANGE])
def test_an_impression_that_says_nothing_by_itself_gives_way_to_the_findings(impression: str) -> None:
    assert report_text(impression, FINDINGS) == FINDINGS
    assert report_text(FINDINGS, impression) == FINDINGS


@pytest.mark.parametrize("impression", SAYS_NOTHING)
def test_without_findings_it_is_no_text_at_all(impression: str) -> None:
    assert report_text(impression, "") == ""
    assert report_text("See impression.", impression) == ""


@pytest.mark.parametrize("impression", TELLS_NO_CHANGE)
def test_no_change_is_the_text_where_there_is_no_other(impression: str) -> None:
    assert report_text(impression, "") == clean(impression)
    assert report_text("See impression.", impression) == clean(impression)


@pytest.mark.parametrize("impression", SAYS_SOMETHING)
def test_one_word_of_content_makes_it_the_text(impression: str) -> None:
    assert report_text(impression, FINDINGS) == impression
    assert report_text("As below.", impression) == impression


@pytest.mark.parametrize(
    "findings", ["See impression.", "As below.", "Please see impression below.", "See Impression section"]
)
def test_findings_that_point_to_the_impression_give_way_to_it(findings: str) -> None:
    assert report_text(findings, "No pneumothorax.") == "No pneumothorax."
