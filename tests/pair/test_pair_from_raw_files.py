"""From raw rows to pairs: the counts of any cohort add up, and nothing is left out without a reason."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney import tables
from biomedjourney.ingest.ingest import ingest
from biomedjourney.pair.pair import pair
from biomedjourney.rewrite.study import Study
from biomedjourney.rewrite.writers import impression
from tests.helpers.raw_files import LABELS, METADATA, RawFiles, label_row, raw_files, report_name

REPORTS = (
    " FINDINGS:  Clear lungs.\n\n IMPRESSION:  Normal ___.\n",
    " FINDINGS:  Effusion on the left.\n",
    " IMPRESSION:  ___\n",
    "",
    None,
)
TWO_GOOD_ONES = [(10000001, day, ["PA"], REPORTS[0], "") for day in (0, 2)]  # so that there is always a pair
drawn_study = st.tuples(
    st.sampled_from([10000001, 12000002, 15000003, 19000004]),
    st.integers(0, 9),
    st.lists(st.sampled_from(["PA", "PA", "AP", "LATERAL", ""]), min_size=1, max_size=3),
    st.sampled_from(REPORTS + REPORTS[:2] * 2),
    st.sampled_from(["", "", "", "missing", "truncated"]),
)


def raw_cohort(
    folder: Path,
    drawn_studies: list[Any],
    stray_reports: int,
    unlisted_images: int,
    unknown_patient: bool,
    odd_cells: list[tuple[str, str]],
) -> tuple[RawFiles, Any]:
    """Raw files of the studies, with some reports without study and images without split; the problem of each image.

    The first rows of the metadata have one odd cell each.
    """
    raw = RawFiles(folder)
    problems = {}
    for i, (subject, day, views, report, problem) in enumerate(drawn_studies):
        study = 59000000 - i
        for j, view in enumerate(views):
            row = dict.fromkeys(METADATA, "") | {"dicom_id": f"{i}-{j}", "subject_id": subject, "study_id": study}
            row |= {"ViewPosition": view, "Rows": 100 + j, "Columns": 90, "StudyDate": f"2180011{day}"}
            raw.metadata.append(row | {"StudyTime": "120000.0"})
            problems[row["dicom_id"]] = problem if j == 0 else ""
            side = {10000001: "train", 12000002: "validate"}.get(subject, "test")
            if len(raw.metadata) > unlisted_images:
                names = {"dicom_id": row["dicom_id"], "study_id": study, "subject_id": subject}
                raw.split.append(names | {"split": side})
        if i % 3:
            raw.chexpert.append(label_row(subject, study, **{LABELS[i % 14].replace(" ", "_"): "1.0"}))
        if report is not None:
            raw.reports[report_name(subject, study)] = report.encode()
    raw.split.append({"dicom_id": "elsewhere", "study_id": 1, "subject_id": 1, "split": "train"})
    raw.chexpert.append(label_row(1, 1))
    for i in range(stray_reports):
        raw.reports[report_name(18000000, 51000000 + i)] = b" IMPRESSION:  Nobody's."
    for row, (column, cell) in zip(raw.metadata, odd_cells, strict=False):
        row[column] = cell
    people = sorted({study[0] for study in drawn_studies})[int(unknown_patient) :] or [99]
    raw.patients = [{"subject_id": s, "gender": "F", "anchor_age": 60, "anchor_year": 2180} for s in people]
    raw.admissions = [{"subject_id": s, "race": "WHITE"} for s in people]
    raw.write()
    return raw, problems


@settings(deadline=None, max_examples=25)
@given(
    drawn_studies=st.lists(drawn_study, min_size=8, max_size=20).map(lambda drawn: drawn + TWO_GOOD_ONES),
    stray_reports=st.integers(0, 3),
    unlisted_images=st.integers(0, 8),
    unknown_patient=st.booleans(),
    odd_cells=st.lists(st.sampled_from([("StudyTime", "256000"), ("StudyDate", ""), ("subject_id", "x")]), max_size=7),
    views=st.sampled_from([["PA"], ["PA", "AP"]]),
    sections=st.sampled_from([["impression"], ["impression", "findings"]]),
    priors=st.sampled_from(["last", "all"]),
    gap=st.sampled_from([None, 3]),
    split=st.sampled_from(["paper", "official"]),
)
def test_the_counts_add_up_from_raw_rows_to_pairs(
    tmp_path_factory: pytest.TempPathFactory,
    drawn_studies: list[Any],
    stray_reports: int,
    unlisted_images: int,
    unknown_patient: bool,
    odd_cells: list[tuple[str, str]],
    views: list[str],
    sections: list[str],
    priors: str,
    gap: int | None,
    split: str,
) -> None:
    raw, problems = raw_cohort(
        tmp_path_factory.mktemp("raw"), drawn_studies, stray_reports, unlisted_images, unknown_patient, odd_cells
    )
    pair_settings = {"views": views, "same_view": True, "priors": priors, "largest_gap_days": gap, "text": sections}
    pair_settings |= {"split": split, "validation_share": 0.4}
    ingested = ingest(raw.settings())
    files = pd.DataFrame({"dicom_id": list(problems), "bytes": 1, "problem": list(problems.values())})
    paired = pair(ingested["studies"], ingested["images"], files, {"seed": 0, "pair": pair_settings})
    both = {name: pd.concat([ingested[name], paired[name]]) for name in ("cohort", "exclusions")}
    cohort, exclusions = (tables.conform(name, data).to_pandas() for name, data in both.items())
    ends = {"images": len(paired["singles"]), "studies": len(paired["singles"]), "pairs": len(paired["pairs"])}
    starts = {"images": len(raw.metadata), "studies": len(drawn_studies)}
    starts["pairs"] = len(paired["singles"]) if priors == "last" else None
    kinds = {"images": "image", "studies": "study", "pairs": "pair"}
    for unit, end in ends.items():
        rows = cohort[cohort["step"].str.startswith(f"{unit}:")]
        kept = starts[unit]
        for step, reasons in rows.groupby("step", sort=False):
            assert reasons["kept"].nunique() == 1
            if kept is not None:
                assert reasons["kept"].iloc[0] == kept - reasons["dropped"].sum(), step
            kept = reasons["kept"].iloc[0]
            counted = exclusions[(exclusions["kind"] == kinds[unit]) & (exclusions["step"] == step)]["reason"]
            reason_counts = reasons[reasons["dropped"] > 0].set_index("reason")["dropped"].to_dict()
            reason_counts = {reason: n for reason, n in reason_counts.items() if not reason.startswith("first study")}
            assert counted.value_counts().to_dict() == reason_counts
        assert kept == end
    assert cohort.loc[cohort["step"].str.startswith("pairs in "), "kept"].sum() == ends["pairs"]
    reports = cohort[cohort["step"].str.startswith("reports:")]
    assert reports["kept"].iloc[0] + reports["dropped"].sum() == len(raw.reports)
    everything = {("image", row["dicom_id"]) for row in raw.metadata} | {
        ("study", str(row["study_id"])) for row in raw.metadata
    }
    everything |= {("study", str(51000000 + i)) for i in range(stray_reports)}
    used = {("image", name) for name in paired["singles"]["dicom_id"]}
    used |= {("study", str(name)) for name in paired["singles"]["study_id"]}
    left_out = set(exclusions.loc[exclusions["kind"] != "pair", ["kind", "id"]].itertuples(index=False, name=None))
    assert used | left_out == everything
    assert not used & left_out
    people = ingested["patients"]
    races = cohort[cohort["step"] == "races: known"]
    assert races["kept"].iloc[0] == people["race"].notna().sum()
    assert races["kept"].iloc[0] + races["dropped"].sum() == len(people)


EARLY = "WET READ: ABCd MON 3:12 PM\n  Left effusion."
PROVISIONAL = "PROVISIONAL FINDINGS IMPRESSION (PFI): ABCd SUN 5:32 PM\n  Left effusion."


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (" FINDINGS:  Large heart.\n\n IMPRESSION:  As above.\n", "Large heart."),
        (" FINDINGS:  See impression.\n\n IMPRESSION:  Large heart.\n", "Large heart."),
        (" FINDINGS:  Large heart.\n\n IMPRESSION:  Unchanged.\n", "Large heart."),
        (" IMPRESSION:  Unchanged.\n", "Unchanged."),
        (f" FINDINGS:  Large heart.\n\n IMPRESSION:  See above.\n\n {PROVISIONAL}\n", "Large heart."),
        (f" {EARLY}\n {'_' * 78}\n   FINAL REPORT\n IMPRESSION:  Large heart.\n", "Large heart."),
        (f" {PROVISIONAL}\n", None),
        (" FINDINGS:  As below.\n\n IMPRESSION:  As above.\n", None),
    ],
)
def test_the_text_of_a_report_is_the_same_for_singles_and_for_the_impression_as_a_description(
    tmp_path: Path, report: str, text: str | None
) -> None:
    raw = raw_files(tmp_path)
    raw.reports[report_name(19000019, 59000002)] = report.encode()
    raw.write()
    ingested = ingest(raw.settings())
    files = pd.DataFrame({"dicom_id": ingested["images"]["dicom_id"], "bytes": 1, "problem": ""})
    pair_settings = {"views": ["PA"], "same_view": True, "priors": "last", "largest_gap_days": None, "split": "paper"}
    pair_settings |= {"validation_share": 0.1, "text": ["impression", "findings"]}
    paired = pair(ingested["studies"], ingested["images"], files, {"seed": 0, "pair": pair_settings})
    singles = paired["singles"].set_index("study_id")["text"]
    assert singles.get(59000002) == text
    row = ingested["studies"].set_index("study_id").loc[59000002]
    study = Study(findings=row["findings"], impression=row["impression"])
    assert impression(Study(), study) == (text or "no significant change")
    assert "ABCd" not in row["findings"] + row["impression"]
