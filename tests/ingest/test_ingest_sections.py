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


LINE = " " + "_" * 78 + "\n"
FINAL = "                                 FINAL REPORT\n"
SIGNED = "ABCd SUN 5:32 PM"
EARLY = {
    "provisional findings above": f" PROVISIONAL FINDINGS IMPRESSION (PFI): {SIGNED}\n  1. Edema.\n{LINE}{FINAL}@",
    "provisional findings below": f"@\n PROVISIONAL FINDINGS IMPRESSION (PFI):  {SIGNED}\n  1. Edema.\n  2. No PTX.\n",
    "provisional findings before the sections": f"{FINAL} PFI: {SIGNED}\n  Edema.\n\n@",
    "an audit of provisional findings": f" PFI AUDIT # 1 {SIGNED}\n Edema.\n@",
    "a wet read above": f" WET READ: {SIGNED}\n  edema\n{LINE}{FINAL}@",
    "a wet read before the sections": f" WET READ: {SIGNED}\n  edema\n\n INDICATION: Cough.\n\n@",
    "versions of a wet read above": f" WET READ: ___ 8:22 PM\n PTX\n WET READ VERSION #___ ___ 9:34 PM\n PTX\n{LINE}@",
    "versions of a wet read below": f"@\n WET READ VERSION #1 {SIGNED}\n PTX\n WET READ VERSION #2 EFGh 6:02 AM\n PTX",
    "a wet read with sections above": f" WET READ: {SIGNED}\n FINDINGS: Edema.\n IMPRESSION: Edema.\n{LINE}{FINAL}@",
    "a wet read with sections below": f"@\n WET READ: {SIGNED}\n FINDINGS: Edema.\n IMPRESSION: Edema.\n",
    "a wet read in the last line": f"@ WET READ: {SIGNED} edema",
    "a version in the last line": f"@ WET READ VERSION #1 {SIGNED} edema",
    "initials before the colon": f"@\n WET READ ({SIGNED}): edema",
    "who read it": "@\n WET READ BY DR. ___ AT 5:32 PM\n edema",
    "a wet read in lower case": f"@\n Wet read: {SIGNED} edema",
    "a wet read with a hyphen": f"@\n WET-READ: {SIGNED} edema",
    "a wet read of the emergency department": f"@\n ED WET READ: {SIGNED} edema",
    "a wet read alone on its line": f"@\n WET READ\n {SIGNED}\n edema",
    "a preliminary report above": f"            PRELIMINARY REPORT\n FINDINGS: Edema.\n IMPRESSION: Edema.\n\n{FINAL}@",
    "a preliminary report below": f"{FINAL}@\n          Preliminary Report\n FINDINGS: Edema.\n IMPRESSION: Edema.\n",
    "a preliminary report with a colon": f" PRELIMINARY REPORT: {SIGNED}\n Edema.\n\n@",
    "a preliminary read": "@\n PRELIMINARY READ BY DR ___ 5:32 PM: Edema.",
    "preliminary alone": f"@\n PRELIMINARY: {SIGNED}\n Edema.\n",
    "an overnight reading": f"@\n OVERNIGHT READ: {SIGNED}\n Edema.\n",
    "preliminary findings and impression": f" PRELIMINARY FINDINGS AND IMPRESSION: {SIGNED}\n Edema.\n{LINE}{FINAL}@",
    "a version in lower case": f"@\n Wet Read Version #1 {SIGNED}\n edema\n",
    "an initial impression": f"@\n INITIAL IMPRESSION: {SIGNED}\n Edema.\n",
    "an interpretation of the night": "@\n NIGHTHAWK INTERPRETATION: Edema.\n",
    "provisional findings with an impression, undivided": f" PFI: {SIGNED}\n IMPRESSION: Edema.\n\n@",
    "a wet read with sections, undivided": f" WET READ: {SIGNED}\n FINDINGS: Edema.\n IMPRESSION: Edema.\n\n\n@",
    "preliminary findings": " PRELIMINARY FINDINGS:  Edema.\n\n@",
    "a preliminary impression": "@\n Preliminary impression:  Edema.\n",
}


@pytest.mark.parametrize("case", EARLY)
def test_what_was_read_before_the_final_report_is_left_out(case: str) -> None:
    for report, findings, impression in (
        (" FINDINGS:  Clear lungs.\n\n IMPRESSION:  Normal.", "Clear lungs.", "Normal."),
        (
            " FINDINGS:  Clear lungs.\n IMPRESSION:\n\n Normal heart.\n Normal.",
            "Clear lungs.",
            "Normal heart.\n Normal.",
        ),
    ):
        sections = split_report(EARLY[case].replace("@", report))
        assert (sections.findings, sections.impression) == (findings, impression)


@pytest.mark.parametrize(
    ("text", "findings"),
    [
        (f" PROVISIONAL FINDINGS IMPRESSION (PFI): {SIGNED}\n  Edema.\n", ""),
        (f" PROVISIONAL FINDINGS IMPRESSION (PFI): {SIGNED}\n  Edema.\n{LINE}{FINAL} EXAMINATION:  CHEST\n", ""),
        (f" WET READ: {SIGNED}\n IMPRESSION: Edema.\n{LINE}{FINAL}", ""),
        (" PRELIMINARY REPORT\n FINDINGS: Edema.\n IMPRESSION: Edema.\n", ""),
        (f" WET READ: {SIGNED}\n IMPRESSION: Edema.\n{LINE}{FINAL} COMPARISON: None.\n\n The lungs are clear.\n", "*"),
        (f" PFI: {SIGNED}\n IMPRESSION: Edema.\n{LINE}{FINAL} CHEST RADIOGRAPH\n\n The lungs are clear.\n", "*"),
        (f" INDICATION: Cough.\n\n The lungs are clear.\n\n WET READ: {SIGNED}\n edema\n", "*"),
    ],
)
def test_a_preliminary_reading_never_stands_in_for_the_report(text: str, findings: str) -> None:
    sections = split_report(text)
    assert (sections.findings, sections.impression) == (findings.replace("*", "The lungs are clear."), "")


def test_to_mention_a_preliminary_reading_does_not_begin_one() -> None:
    impression = (
        "Normal. This agrees with the\n WET READ that was given at 5:32 PM, and with the\n preliminary report."
        " No change since the\n PFI. The preliminary findings were telephoned."
    )
    assert split_report(f" IMPRESSION: {impression}").impression == impression


LAYOUTS = {
    "dashes": " FINDINGS - Clear lungs.\n IMPRESSION -- Normal.",
    "dashes of two kinds": " FINDINGS – Clear lungs.\n IMPRESSION - Normal.",
    "full stops and semicolons": " COMPARISON.  None.\n FINDINGS.  Clear lungs.\n IMPRESSION;  Normal.",
    "gaps": " FINDINGS   Clear lungs.\n IMPRESSION   Normal.",
    "colons in the next line": " FINDINGS\n :  Clear lungs.\n IMPRESSION\n : Normal.",
    "bold": " **FINDINGS:** Clear lungs.\n **IMPRESSION**: Normal.",
    "asterisks": " ***FINDINGS***\n Clear lungs.\n ***IMPRESSION***\n Normal.",
    "headings of Markdown": "# FINDINGS\n Clear lungs.\n\n## IMPRESSION:\n Normal.",
    "numbered": " 1. FINDINGS:  Clear lungs.\n 2. IMPRESSION:  Normal.",
    "underlined": " FINDINGS\n --------\n Clear lungs.\n\n IMPRESSION:\n ==========\n Normal.",
    "one line": " INDICATION: Cough  COMPARISON: None.  FINDINGS: Clear lungs.  IMPRESSION: Normal.",
    "one line without full stops": " TECHNIQUE:  PA and lateral   FINDINGS:  Clear lungs.   IMPRESSION:  Normal.",
    "one paragraph in lower case": " Findings: Clear lungs. Impression: Normal.",
    "a notification in the line": " FINDINGS: Clear lungs.\n IMPRESSION:  Normal.  NOTIFICATION:  Dr. ___ at 3:12 PM.",
    "a recommendation in the line": " FINDINGS: Clear lungs.\n IMPRESSION:  Normal. RECOMMENDATION(S):  CT.",
    "qualified": " FINDINGS (2 VIEWS):  Clear lungs.\n Impression (final):  Normal.",
    "continued": " FINDINGS:  Clear\n FINDINGS (CONT):  lungs.\n IMPRESSION:  Normal.",
    "signed": " FINDINGS: Clear lungs.\n IMPRESSION:  Normal.\n\n Electronically signed by: Dr. ___ 3:12 PM\n",
    "signed without a colon": " FINDINGS: Clear lungs.\n IMPRESSION:  Normal.\n\n Electronically signed by ___ on ___",
    "dictated": " FINDINGS: Clear lungs.\n IMPRESSION:  Normal.\n DICTATED BY: ___\n ATTENDING RADIOLOGIST: ___\n",
    "end of the impression": " FINDINGS: Clear lungs.\n IMPRESSION:  Normal.\n END OF IMPRESSION:\n SUMMARY CODE: 1.\n",
    "critical results": " FINDINGS: Clear lungs.\n IMPRESSION: Normal.\n\n CRITICAL RESULTS: told to ___.\n",
    "a technologist's note": " TECHNOLOGIST'S NOTE: Best effort.\n\n FINDINGS: Clear lungs.\n IMPRESSION: Normal.\n",
    "an addendum between asterisks": f" **********ADDENDUM***********\n IMPRESSION: Left.\n{LINE}{FINAL}"
    " FINDINGS: Clear lungs.\n IMPRESSION:  Normal.\n",
    "a final addendum between asterisks": " FINDINGS: Clear lungs.\n IMPRESSION:  Normal.\n\n        FINAL ADDENDUM\n"
    " **********ADDENDUM***********\n IMPRESSION: Left.\n",
    "impression and recommendations": " FINDINGS: Clear lungs.\n IMPRESSION AND RECOMMENDATION(S):  Normal.",
    "an addendum without a colon below": " FINDINGS: Clear lungs.\n IMPRESSION:  Normal.\n\n ADDENDUM\n A fracture.\n",
    "a numbered addendum below": " FINDINGS: Clear lungs.\n IMPRESSION:  Normal.\n\n ADDENDUM #1: A fracture.\n",
    "an addendum between asterisks below": " FINDINGS: Clear lungs.\n IMPRESSION: Normal.\n *** ADDENDUM ***\n A rib.",
    "an addendum beside its name": " FINDINGS: Clear lungs.\n IMPRESSION: Normal.\n ADDENDUM A fracture is seen.",
    "brackets": " [FINDINGS]\n Clear lungs.\n [IMPRESSION]: Normal.",
    "round brackets": " (FINDINGS): Clear lungs.\n (IMPRESSION)\n Normal.",
    "underscores": " _FINDINGS:_ Clear lungs.\n __IMPRESSION__: Normal.",
    "marks of a list": " - FINDINGS: Clear lungs.\n > IMPRESSION: Normal.",
    "two colons": " FINDINGS::  Clear lungs.\n IMPRESSION:: Normal.",
    "nothing but a space": " FINDINGS Clear lungs.\n IMPRESSION Normal.",
    "misspelt without a colon": " FINDIGNS\n Clear lungs.\n\n IMPRESSSION\n Normal.",
    "a final impression": " FINDINGS: Clear lungs.\n Final impression: Normal.",
    "an abbreviation": " FINDINGS: Clear lungs.\n IMP: Normal.",
    "wide colons": " FINDINGS：Clear lungs.\n IMPRESSION：Normal.",
    "titles without colons": " Findings\n Clear lungs.\n\n Impression\n Normal.",
    "impression first": " IMPRESSION: Normal.\n\n FINDINGS: Clear lungs.\n",
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts(case: str) -> None:
    sections = split_report(LAYOUTS[case])
    assert (normal(sections.findings), sections.impression) == ("Clear lungs.", "Normal.")


@pytest.mark.parametrize(
    "text",
    [
        "The\n IMPRESSION is that of edema.\n FINDINGS consistent with edema.",
        "1. Edema.\n 2. Comparison: larger than before.\n 3. Recommendation: diuretics.",
        "Edema, see\n comparison above.\n Technique limits the\n findings - no more.",
        "Chest: clear. Heart: large.\n Lungs:\n clear.",
        "Edema.\n (Comparison: larger than before.)\n - Technique: poor.\n > findings: large.\n [conclusion: none]",
        "EDEMA\n COMPRESSION\n ATELECTASIS\n PNEUMOTHORAX",
        "As stated in the\n ADDENDUM, and the\n ADDENDUM was short.",
        "Worse.\n Findings discussed with Dr. ___ at 3:12 PM.\n FINDINGS discussed.",
    ],
)
def test_what_only_resembles_a_header_is_text(text: str) -> None:
    assert split_report(f" IMPRESSION: {text}").impression == text


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
