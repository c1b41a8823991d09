"""From raw rows to pairs: the counts of any cohort add up, and nobody is lost without a reason."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ingest"))
from raw_files import LABELS, METADATA, RawFiles, label_row, report_name

from biomedjourney import tables
from biomedjourney.ingest.ingest import ingest
from biomedjourney.pair.pair import pair

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


def raw_cohort(folder: Path, drawn: list[Any], strangers: int, unlisted: int, unknown: bool) -> tuple[RawFiles, Any]:
    """Raw files of the drawn studies, some reports of no study, some images in no split; the state of each image."""
    raw = RawFiles(folder)
    problems = {}
    for i, (subject, day, views, report, problem) in enumerate(drawn):
        study = 59000000 - i
        for j, view in enumerate(views):
            row = dict.fromkeys(METADATA, "") | {"dicom_id": f"{i}-{j}", "subject_id": subject, "study_id": study}
            row |= {"ViewPosition": view, "Rows": 100 + j, "Columns": 90, "StudyDate": f"2180011{day}"}
            raw.metadata.append(row | {"StudyTime": "120000.0"})
            problems[row["dicom_id"]] = problem if j == 0 else ""
            side = {10000001: "train", 12000002: "validate"}.get(subject, "test")
            if len(raw.metadata) > unlisted:
                names = {"dicom_id": row["dicom_id"], "study_id": study, "subject_id": subject}
                raw.split.append(names | {"split": side})
        if i % 3:
            raw.chexpert.append(label_row(subject, study, **{LABELS[i % 14].replace(" ", "_"): "1.0"}))
        if report is not None:
            raw.reports[report_name(subject, study)] = report.encode()
    raw.split.append({"dicom_id": "elsewhere", "study_id": 1, "subject_id": 1, "split": "train"})
    raw.chexpert.append(label_row(1, 1))
    for i in range(strangers):
        raw.reports[report_name(18000000, 51000000 + i)] = b" IMPRESSION:  Nobody's."
    people = sorted({study[0] for study in drawn})[int(unknown) :] or [99]
    raw.patients = [{"subject_id": s, "gender": "F", "anchor_age": 60, "anchor_year": 2180} for s in people]
    raw.admissions = [{"subject_id": s, "race": "WHITE"} for s in people]
    raw.write()
    return raw, problems


@settings(deadline=None, max_examples=25)
@given(
    drawn=st.lists(drawn_study, min_size=8, max_size=20).map(lambda drawn: drawn + TWO_GOOD_ONES),
    strangers=st.integers(0, 3),
    unlisted=st.integers(0, 8),
    unknown=st.booleans(),
    views=st.sampled_from([["PA"], ["PA", "AP"]]),
    sections=st.sampled_from([["impression"], ["impression", "findings"]]),
    priors=st.sampled_from(["last", "all"]),
    gap=st.sampled_from([None, 3]),
    split=st.sampled_from(["paper", "official"]),
)
def test_the_counts_add_up_from_raw_rows_to_pairs(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[Any],
    strangers: int,
    unlisted: int,
    unknown: bool,
    views: list[str],
    sections: list[str],
    priors: str,
    gap: int | None,
    split: str,
) -> None:
    raw, problems = raw_cohort(tmp_path_factory.mktemp("raw"), drawn, strangers, unlisted, unknown)
    chosen = {"views": views, "same_view": True, "priors": priors, "largest_gap_days": gap, "text": sections}
    chosen |= {"split": split, "validation_share": 0.4}
    first = ingest(raw.settings())
    files = pd.DataFrame({"dicom_id": list(problems), "bytes": 1, "problem": list(problems.values())})
    second = pair(first["studies"], first["images"], files, {"seed": 0, "pair": chosen})
    both = {name: pd.concat([first[name], second[name]]) for name in ("cohort", "exclusions")}
    cohort, exclusions = (tables.conform(name, data).to_pandas() for name, data in both.items())
    ends = {"images": len(second["singles"]), "studies": len(second["singles"]), "pairs": len(second["pairs"])}
    starts = {"images": len(raw.metadata), "studies": len(drawn)}
    starts["pairs"] = len(second["singles"]) if priors == "last" else None
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
            told = reasons[reasons["dropped"] > 0].set_index("reason")["dropped"].to_dict()
            told = {reason: n for reason, n in told.items() if not reason.startswith("first study")}
            assert counted.value_counts().to_dict() == told
        assert kept == end
    assert cohort.loc[cohort["step"].str.startswith("pairs in "), "kept"].sum() == ends["pairs"]
    reports = cohort[cohort["step"].str.startswith("reports:")]
    assert reports["kept"].iloc[0] + reports["dropped"].sum() == len(raw.reports)
    everything = {("image", row["dicom_id"]) for row in raw.metadata} | {
        ("study", str(row["study_id"])) for row in raw.metadata
    }
    everything |= {("study", str(51000000 + i)) for i in range(strangers)}
    used = {("image", name) for name in second["singles"]["dicom_id"]}
    used |= {("study", str(name)) for name in second["singles"]["study_id"]}
    left_out = set(exclusions.loc[exclusions["kind"] != "pair", ["kind", "id"]].itertuples(index=False, name=None))
    assert used | left_out == everything
    assert not used & left_out
    people = first["patients"]
    races = cohort[cohort["step"] == "races: known"]
    assert races["kept"].iloc[0] == people["race"].notna().sum()
    assert races["kept"].iloc[0] + races["dropped"].sum() == len(people)
