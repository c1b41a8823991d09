"""The section splitter: traps, properties, and real reports."""

import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney.ingest.sections import ReportSections, split_report
from tests.helpers.report_layout import TRAPS, openi_reports, wrap

LEAST_RECOVERED = 0.995


def normal(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "findings", "impression"),
    [
        (" FINDINGS:  Clear.\n\n IMPRESSION:  Normal.\n", "Clear.", "Normal."),
        ("findings: clear.\nimpression: normal.", "clear.", "normal."),
        ("FINDINGS: Clear.", "Clear.", ""),
        ("IMPRESSION:Normal.", "", "Normal."),
        (" FINDINGS:\n \n IMPRESSION:  Normal.", "", "Normal."),
        (" FINDINGS:\n IMPRESSION:\n Normal.", "", "Normal."),
        (" IMPRESSION: \n\n RECOMMENDATION(S):  CT.\n", "", ""),
        (" FINDINGS AND IMPRESSION:  Clear.", "Clear.", "Clear."),
        (" FINDINGS/IMPRESSION:\n Clear.", "Clear.", "Clear."),
        (" CONCLUSION:  Normal.", "", "Normal."),
        (" PORTABLE AP CHEST:  Clear.\n IMPRESSION: Normal.", "Clear.", "Normal."),
        (" AP CHEST, ___, 8:15 A.M.:\n Clear.", "Clear.", ""),
        (" CHEST, TWO VIEWS:\n\n HISTORY:  Cough.\n\n FINDINGS:  Clear.", "Clear.", ""),
        (" FINDINGS:  Clear.\n\n IMPRESSSION:  Normal.", "Clear.", "Normal."),
        (" FINIDNGS:  Clear.\n IMPRESION:  Normal.", "Clear.", "Normal."),
        (" FINDINGS:  One.\n IMPRESSION:  Normal.\n FINDINGS:  Two.", "One.\nTwo.", "Normal."),
        (" FINDINGS\n Clear.\n\n IMPRESSION\n Normal.", "Clear.", "Normal."),
        (" FINDINGS: Lungs clear.  IMPRESSION: Normal.", "Lungs clear.", "Normal."),
        (" FINDINGS: Lungs\n are clear.  IMPRESSION: Normal.", "Lungs\n are clear.", "Normal."),
        (" FINDINGS: Film of 8:15 a.m.\n and 9:30: clear.", "Film of 8:15 a.m.\n and 9:30: clear.", ""),
        (" FINDINGS: \r\n Clear.\r\n \r\n IMPRESSION: Normal.\r\n", "Clear.", "Normal."),
        (" FINDINGS:\n LUNGS: Clear.\n HEART: Large.", "LUNGS: Clear.\n HEART: Large.", ""),
        (" IMPRESSION:\n Chest: Normal.\n Left knee: Broken.", "", "Chest: Normal.\n Left knee: Broken."),
        (" IMPRESSION:  Normal.\n\n NOTIFICATION:  Dr. ___ was told at 8:15.\n", "", "Normal."),
        (" TECHNIQUE AND FINDINGS:  Clear.", "Clear.", ""),
        ("The lungs are clear.\n The heart is normal.", "The lungs are clear.\n The heart is normal.", ""),
        ("  FINAL REPORT\n CHEST RADIOGRAPH, ___\n \n The lungs are clear.", "The lungs are clear.", ""),
        (" COMPARISON:  None.\n \n The lungs are clear.\n", "The lungs are clear.", ""),
        (" COMPARISON:  None.\n\n The lungs are clear.\n\n IMPRESSION:  Normal.", "The lungs are clear.", "Normal."),
        ("", "", ""),
        (" \n:\n::\n ___:", "", ""),
    ],
)
def test_traps(text: str, findings: str, impression: str) -> None:
    sections = split_report(text)
    assert (sections.findings, sections.impression) == (findings, impression)


def test_a_misspelt_indication_is_no_impression() -> None:
    sections = split_report(" NDICATION:  Cough.\n\n TECHNIQUE:  PA.\n COMPARISION:  None.\n IMPRESSION:  Normal.")
    assert sections == ReportSections("", "Normal.", "None.", "Cough.", "PA.")


def test_text_above_the_line_of_underscores_is_left_out() -> None:
    line = "_" * 78
    report = "     FINAL REPORT\n FINDINGS:  Clear.\n\n IMPRESSION:  Normal.\n"
    for above in ("ADDENDUM  Told Dr. ___.", "ADDENDUM:\n IMPRESSION:  Corrected.", "WET READ: ___\n no pneumonia"):
        assert split_report(f" {above}\n {line}\n{report}") == split_report(report)


def test_an_addendum_below_is_left_out_too() -> None:
    text = " IMPRESSION:  Normal.\n\n     FINAL ADDENDUM\n IMPRESSION:  Corrected.\n"
    assert split_report(text).impression == "Normal."


def test_an_addendum_stands_in_for_a_report_without_sections() -> None:
    text = f" ADDENDUM:  \n IMPRESSION:  Corrected.\n {'_' * 78}\n     FINAL REPORT\n EXAMINATION:  CHEST\n"
    assert split_report(text).impression == "Corrected."


words = st.lists(st.text(string.ascii_lowercase, min_size=2, max_size=9), min_size=1, max_size=60)
bodies = words.map(lambda word_list: " ".join(word_list) + ".")
cases = st.sampled_from([str.upper, str.lower, str.title])


@settings(deadline=None)
@given(
    findings=bodies,
    impression=bodies,
    comparison=bodies,
    case=cases,
    beside=st.booleans(),
    order=st.permutations("abc"),
)
def test_any_text_under_headers_of_any_case_comes_back(
    findings: str, impression: str, comparison: str, case: object, beside: bool, order: list[str]
) -> None:
    sections_by_letter = {"a": ("findings", findings), "b": ("impression", impression), "c": ("comparison", comparison)}
    text = ""
    for letter in order:
        name, body = sections_by_letter[letter]
        header = case(name)  # type: ignore[operator]
        text += wrap(f"{header}: {body}") + "\n \n" if beside else f" {header}: \n \n{wrap(body)}\n \n"
    sections = split_report(text)
    assert (normal(sections.findings), normal(sections.impression), normal(sections.comparison)) == (
        findings,
        impression,
        comparison,
    )


@settings(deadline=None)
@given(st.text())
def test_never_raises_and_invents_no_words(text: str) -> None:
    sections = split_report(text)
    for body in (sections.findings, sections.impression, sections.comparison, sections.indication, sections.technique):
        assert body == body.strip()
        assert set(body.split()) <= set(text.replace("\xa0", " ").replace("\ufeff", "").split())


@pytest.mark.parametrize("trap", TRAPS)
def test_real_reports_come_back(trap: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All reports of Open-i, each written with the trap."""
    write, truth = TRAPS[trap]
    reports = openi_reports()
    not_recovered = []
    for i, report in enumerate(reports):
        text = write(report, random.Random(f"{trap} {i}"))
        sections = split_report(text)
        if (normal(sections.findings), normal(sections.impression)) != tuple(normal(part) for part in truth(report)):
            not_recovered.append(i)
    with capsys.disabled():
        recovered = len(reports) - len(not_recovered)
        print(f"\n{trap}: {recovered} of {len(reports)} recovered, not {not_recovered[:9]}", end="")
    assert len(not_recovered) <= (1 - LEAST_RECOVERED) * len(reports)
