"""The rules writer and its language, on the phantom's reports, on real ones, and on sentences that mislead."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney.rewrite import checks
from biomedjourney.rewrite.language import mentions
from biomedjourney.rewrite.rules import Study, describe
from tests.helpers import phantom_pairs
from tests.helpers.coded_reports import coded_reports, labels_named_present, with_implied_opacity


@pytest.mark.parametrize("phrases", ["seen", "held-out"])
def test_the_phantoms_changes_are_told_and_told_right(phrases: str) -> None:
    score = phantom_pairs.Score()
    for pair in phantom_pairs.pairs(5, 150, phrases):
        phantom_pairs.judge(pair, describe(pair.prior, pair.current), score)
    assert score.counts["direction"] > 500
    assert score.share("direction") >= 0.97
    assert score.share("mentioned") >= 0.95
    assert score.share("not invented") == 1


def test_what_stays_is_often_left_out() -> None:
    stayed, named = 0, 0
    for pair in phantom_pairs.pairs(6, 200, "all"):
        read_changes = phantom_pairs.read(describe(pair.prior, pair.current))
        stayed += sum(seen.status == "unchanged" for seen in {s.finding: s for s in pair.stated}.values())
        named += sum(change.direction == "stable" for change in read_changes)
    assert stayed > 200
    assert 0.15 <= named / stayed <= 0.4


def test_real_reports_agree_with_the_codes_of_experts() -> None:
    reports = sorted(coded_reports(), key=lambda report: report.name)
    named, named_right, coded, coded_found = 0, 0, 0, 0
    for i in np.random.default_rng(1).choice(len(reports), 500, replace=False):
        labels = labels_named_present(Study(), reports[i].study)
        named, named_right = named + len(labels), named_right + len(labels & reports[i].labels)
        coded += len(reports[i].labels)
        coded_found += len(with_implied_opacity(labels) & reports[i].labels)
    assert named > 200
    assert named_right / named >= 0.9
    assert coded_found / coded >= 0.85


@pytest.mark.parametrize(
    ("sentence", "finding", "present", "change"),
    [
        ("There is no focal air space opacity to suggest a pneumonia.", "pneumonia", False, ""),
        ("No pneumothorax, effusion, or consolidation is seen.", "consolidation", False, ""),
        ("Effusion, pneumothorax and consolidation are not identified.", "pleural_effusion", False, ""),
        ("Pleural effusions or pneumothorax.", "pleural_effusion", None, ""),
        ("A small left effusion cannot be excluded.", "pleural_effusion", None, ""),
        ("Opacity which may represent pneumonia.", "pneumonia", None, ""),
        ("Opacity which may represent pneumonia.", "lung_opacity", True, ""),
        ("Pericardial effusion is present.", "pleural_effusion", "unnamed", ""),
        ("The heart is not enlarged.", "cardiomegaly", False, ""),
        ("The heart is no longer enlarged.", "cardiomegaly", False, "resolved"),
        ("The heart is smaller than on the prior study but remains enlarged.", "cardiomegaly", True, "improved"),
        ("No significant change in the left effusion.", "pleural_effusion", True, "stable"),
        ("No residual right pneumothorax.", "pneumothorax", False, "resolved"),
        ("The effusion has partially resolved.", "pleural_effusion", True, "improved"),
        ("The effusion has resolved.", "pleural_effusion", False, "resolved"),
        ("There is a new effusion and the edema has improved.", "edema", True, "improved"),
        ("There is a new effusion and the edema has improved.", "pleural_effusion", True, "new"),
        ("Interval increase in the pneumothorax.", "pneumothorax", True, "worse"),
        ("The central pulmonary vasculature is not engorged.", "edema", "unnamed", ""),
        ("Soft tissue edema.", "edema", "unnamed", ""),
    ],
)
def test_sentences_that_mislead(sentence: str, finding: str, present: bool | str | None, change: str) -> None:
    of_finding = [m for m in mentions(sentence) if m.finding == finding]
    first = (of_finding[0].present, of_finding[0].change) if of_finding else ("unnamed", "")
    assert first == (present, change)


def test_sides_and_severity_belong_to_their_own_finding() -> None:
    by_finding = {
        m.finding: m for m in mentions("Large left effusion with mild right basilar consolidation and edema.")
    }
    assert by_finding["pleural_effusion"].sides == {"left"}
    assert by_finding["pleural_effusion"].severity == 3
    assert by_finding["consolidation"].sides == {"right"}
    assert by_finding["consolidation"].severity == 1


WORDS = ["no", "new", "left", "right", "effusion", "edema", "heart", "enlarged", ".", ",", "and", "is", "___", "1."]
TEXT = st.text(max_size=200) | st.lists(st.sampled_from(WORDS)).map(" ".join)
LABELS = st.dictionaries(
    st.sampled_from(["edema", "cardiomegaly", "pleural_effusion"]), st.sampled_from([0, 1, -1, None])
)
STUDIES = st.builds(Study, LABELS, TEXT, TEXT)


@settings(max_examples=60, deadline=None)
@given(STUDIES, STUDIES)
def test_any_two_studies_have_a_short_description_that_passes_the_checks_of_form(prior: Study, current: Study) -> None:
    description = describe(prior, current)
    assert description == describe(prior, current)
    passed = checks.run(description, prior, current)
    assert passed["check_removed_text"]
    assert passed["check_identifiers"]
    assert passed["check_comparison"]


def test_labels_speak_where_a_report_is_silent() -> None:
    assert describe(Study({"edema": 0}), Study({"edema": 1})) == "new pulmonary edema"
    assert describe(Study({"edema": 1}), Study({"edema": 0})) == "resolved pulmonary edema"


@pytest.mark.parametrize(
    ("check", "description"),
    [
        ("check_length", ""),
        ("check_length", "edema " * 100),
        ("check_removed_text", "new edema since ___"),
        ("check_identifiers", "new edema on 3/14"),
        ("check_identifiers", "new edema in 2115"),
        ("check_identifiers", "new edema at 8:15"),
        ("check_identifiers", "new edema, Dr. miller informed"),
        ("check_identifiers", "new edema as told by Miller"),
        ("check_comparison", "new edema compared to before"),
        ("check_comparison", "new edema since the previous radiograph"),
        ("check_findings", "new fracture"),
        ("check_sides", "new left pleural effusion"),
        ("check_direction", "resolved edema"),
        ("check_direction", "stable edema"),
    ],
)
def test_each_check_catches_its_fault_and_nothing_else(check: str, description: str) -> None:
    prior = Study({"edema": 0}, "No edema. Small right effusion.")
    current = Study({"edema": 1}, "New edema. Small right effusion.")
    assert all(checks.run("new edema; unchanged small right pleural effusion, 4.5 cm", prior, current).values())
    assert [name for name, passed in checks.run(description, prior, current).items() if not passed] == [check]
