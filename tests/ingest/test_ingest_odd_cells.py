"""One odd cell leaves its image or study out, or is null, and is counted; many of them end the step."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biomedjourney import tables
from biomedjourney.errors import UserError
from biomedjourney.ingest.ingest import ingest
from tests.helpers.raw_files import RawFiles, label_row, raw_files, report_name, write_csv, write_folder, write_tar
from tests.ingest.test_ingest_tables import assert_counts_add_up

METADATA, SPLIT, CHEXPERT = (f"mimic-cxr-2.0.0-{name}.csv.gz" for name in ("metadata", "split", "chexpert"))
NOT_A_TIME, NOT_A_DATE = "StudyTime is not a time as hhmmss.fff", "StudyDate is not a date as yyyymmdd"
Tables = dict[str, pd.DataFrame]


@pytest.fixture
def raw(tmp_path: Path) -> RawFiles:
    return raw_files(tmp_path)


def run(raw: RawFiles) -> Tables:
    raw.write()
    results = {name: tables.conform(name, data).to_pandas() for name, data in ingest(raw.settings()).items()}
    assert_counts_add_up(results["cohort"])
    return results


def with_more_studies(raw: RawFiles, count: int) -> None:
    """Studies of further patients, one image each, all in order."""
    for i in range(count):
        subject, study = 12000000 + i, 52000000 + i
        names = {"dicom_id": f"{study}-0", "subject_id": subject, "study_id": study}
        raw.metadata.append(raw.metadata[0] | names)
        raw.split.append(names | {"split": "train"})
        raw.chexpert.append(label_row(subject, study))
        raw.patients.append(raw.patients[0] | {"subject_id": subject})
        raw.admissions.append(raw.admissions[0] | {"subject_id": subject})
        raw.reports[report_name(subject, study)] = b" IMPRESSION:  Normal."


def exclusions(results: Tables) -> dict[tuple[str, str], str]:
    return results["exclusions"].set_index(["kind", "id"])["reason"].to_dict()


def counted(results: Tables, step: str) -> dict[str, int]:
    """How many a step of the cohort dropped, by reason."""
    rows = results["cohort"][results["cohort"]["step"] == step]
    assert len(rows), step
    return {reason: dropped for reason, dropped in zip(rows["reason"], rows["dropped"], strict=True) if dropped}


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        *(("StudyTime", cell, "StudyTime is blank") for cell in ("", "  ", "nan", "NaN", "NULL", "N/A")),
        *(("StudyTime", cell, NOT_A_TIME) for cell in ("256000", "250000", "246000", "126100", "125961", "240000")),
        *(
            ("StudyTime", cell, NOT_A_TIME)
            for cell in ("-1", "-130000.5", "noon", "12:00:00", "1e5", "1234567", "1.2.3")
        ),
        *(("StudyDate", cell, "StudyDate is blank") for cell in ("", "nan")),
        *(("StudyDate", cell, NOT_A_DATE) for cell in ("20200230", "21801301", "00000000", "2180-05-06", "218005")),
        *(("StudyDate", cell, NOT_A_DATE) for cell in ("-21800506", "today", "218005061", "21800506.5")),
    ],
)
def test_a_blank_or_impossible_date_or_time_leaves_its_study_out(
    raw: RawFiles, column: str, cell: str, reason: str
) -> None:
    raw.metadata[1][column] = cell  # the second image of study 50000009
    results = run(raw)
    assert 50000009 not in set(results["studies"]["study_id"]) | set(results["images"]["study_id"])
    assert len(results["studies"]) == 6
    assert exclusions(results) == {
        ("study", "50000009"): reason,
        ("image", "50000009-0"): f"the study's {reason}",
        ("image", "50000009-1"): f"the study's {reason}",
    }
    assert counted(results, "studies: readable") == {reason: 1}
    assert counted(results, "images: readable") == {f"the study's {reason}": 2}
    assert counted(results, "reports: of studies in the metadata") == {"the study is left out": 1}


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("21800506", "235960", "2180-05-07 00:00:00"),
        ("21800506", "235960.5", "2180-05-07 00:00:00.500"),
        ("21800506", "120060", "2180-05-06 12:01:00"),
        ("21800506", "60", "2180-05-06 00:01:00"),
        ("21800506", " 91234.5 ", "2180-05-06 09:12:34.500"),
        ("21800506", "0", "2180-05-06"),
        ("21800506.0", "120000.", "2180-05-06 12:00:00"),
        (" 21800229", "000000.000", "2180-02-29"),
    ],
)
def test_second_60_and_other_forms_of_a_time_are_read(raw: RawFiles, date: str, time: str, expected: str) -> None:
    for row in raw.metadata[:2]:
        row["StudyDate"], row["StudyTime"] = date, time
    results = run(raw)
    assert exclusions(results) == {}
    assert results["studies"].set_index("study_id").loc[50000009, "study_time"] == pd.Timestamp(expected)


@pytest.mark.parametrize(
    ("column", "cell", "image", "reason"),
    [
        ("dicom_id", "", "line 2 of " + METADATA, "dicom_id is blank"),
        ("dicom_id", "../../etc/x", "line 2 of " + METADATA, "dicom_id is not the name of an image"),
        ("study_id", "", "50000009-0", "study_id is blank"),
        ("study_id", "s5", "50000009-0", "study_id is not a whole number of at least 1"),
        ("subject_id", "", "50000009-0", "subject_id is blank"),
        ("subject_id", "32", "50000009-0", "subject_id is not a whole number from 10000000 to 19999999"),
        ("subject_id", "p10000032", "50000009-0", "subject_id is not a whole number from 10000000 to 19999999"),
    ],
)
def test_an_image_without_name_study_or_patient_is_left_out_alone(
    raw: RawFiles, column: str, cell: str, image: str, reason: str
) -> None:
    raw.metadata[0][column] = cell
    results = run(raw)
    assert exclusions(results) == {("image", image): reason}
    assert counted(results, "images: readable") == {reason: 1}
    assert results["images"].loc[results["images"]["study_id"] == 50000009, "dicom_id"].tolist() == ["50000009-1"]
    assert len(results["studies"]) == 7


def test_a_study_goes_with_its_only_image(raw: RawFiles) -> None:
    raw.metadata[5]["subject_id"] = ""  # study 51000001
    results = run(raw)
    assert exclusions(results) == {
        ("study", "51000001"): "subject_id is blank",
        ("image", "51000001-0"): "subject_id is blank",
    }


@pytest.mark.parametrize("cell", ["10000032.0", " 10000032", "10000032 ", "10000032."])
def test_spaces_around_a_number_and_a_point_after_it_do_not_matter(raw: RawFiles, cell: str) -> None:
    expected = run(raw)
    for rows in (raw.metadata, raw.patients, raw.admissions):
        rows[0]["subject_id"] = cell
    raw.metadata[1]["study_id"] = " 50000009.0"
    raw.metadata[1]["Rows"] = "3057.0"
    raw.chexpert[0]["study_id"] = "50000009.00"
    raw.patients[0]["anchor_age"] = "52.0"
    for name, data in run(raw).items():
        pd.testing.assert_frame_equal(data, expected[name])


@pytest.mark.parametrize("cell", ["", "nan", "0", "-5", "tall", "1e4", "3056.5", "999999999999"])
@pytest.mark.parametrize(("column", "name"), [("Rows", "rows"), ("Columns", "columns")])
def test_an_odd_size_is_null(raw: RawFiles, column: str, name: str, cell: str) -> None:
    raw.metadata[0][column] = cell
    results = run(raw)
    assert results["images"].set_index("dicom_id")[name].isna().to_dict()["50000009-0"]
    assert results["images"][name].isna().sum() == 1
    assert counted(results, "image sizes: known") == {"Rows or Columns is blank, or no number from 1 to 100000": 1}
    assert exclusions(results) == {}


def test_an_odd_view_stands_as_it_is(raw: RawFiles) -> None:
    for row, view in zip(raw.metadata, (" pa ", "PA?", "nan", "Lateral"), strict=False):
        row["ViewPosition"] = view
    views = run(raw)["images"].set_index("dicom_id")["view"]
    assert [views[row["dicom_id"]] for row in raw.metadata[:2]] == ["PA", "PA?"]
    assert views.isna()[raw.metadata[2]["dicom_id"]]
    assert views[raw.metadata[3]["dicom_id"]] == "LATERAL"


def test_of_a_row_that_is_there_twice_one_stays(raw: RawFiles) -> None:
    expected = run(raw)
    for rows in (raw.metadata, raw.split, raw.chexpert, raw.patients):
        rows.append(dict(rows[1]))
    results = run(raw)
    for name in ("patients", "studies", "images"):
        pd.testing.assert_frame_equal(results[name], expected[name])
    assert exclusions(results) == {("image", f"line 12 of {METADATA}"): "dicom_id is in an earlier row too"}


def test_an_image_in_rows_that_differ_is_left_out(raw: RawFiles) -> None:
    raw.metadata.append(raw.metadata[2] | {"ViewPosition": "AP"})
    results = run(raw)
    assert exclusions(results) == {
        ("image", "50000003-0"): "dicom_id is in rows that differ",
        ("image", f"line 12 of {METADATA}"): "dicom_id is in rows that differ",
    }
    assert results["images"].loc[results["images"]["study_id"] == 50000003, "dicom_id"].tolist() == ["50000003-1"]


def test_a_study_of_two_patients_is_left_out(raw: RawFiles) -> None:
    raw.metadata[1]["subject_id"] = 19000019
    reason = "subject_id is not the same in all rows of the study"
    results = run(raw)
    assert exclusions(results) == {
        ("study", "50000009"): reason,
        ("image", "50000009-0"): f"the study's {reason}",
        ("image", "50000009-1"): f"the study's {reason}",
    }


@pytest.mark.parametrize("cell", ["2.0", "0.5", "yes", "-2", "1.0.0"])
def test_an_odd_label_leaves_its_study_out(raw: RawFiles, cell: str) -> None:
    """A null would count as a negative label."""
    raw.chexpert[1]["Edema"] = cell
    results = run(raw)
    reason = "Edema is not one of 1, 0, -1, blank (labels)"
    assert counted(results, "studies: readable") == {reason: 1}
    assert exclusions(results)["study", "50000003"] == reason
    assert 50000003 not in set(results["studies"]["study_id"])


@pytest.mark.parametrize(
    ("cell", "label"), [("1", 1), ("-1", -1), (" 0.0", 0), ("1.", 1), ("nan", None), ("", None), ("nan ", None)]
)
def test_other_forms_of_a_label_are_read(raw: RawFiles, cell: str, label: int | None) -> None:
    raw.chexpert[1]["Edema"] = cell
    results = run(raw)
    edema = results["studies"].set_index("study_id").loc[50000003, "edema"]
    assert np.isnan(edema) if label is None else edema == label
    assert exclusions(results) == {}


def test_labels_in_rows_that_differ_leave_their_study_out(raw: RawFiles) -> None:
    raw.chexpert.append(raw.chexpert[1] | {"Edema": "0.0"})
    assert exclusions(run(raw))["study", "50000003"] == "study_id is in rows that differ (labels)"


def test_labels_of_no_study_are_not_used(raw: RawFiles) -> None:
    raw.chexpert[1]["study_id"] = "fifty"
    results = run(raw)
    assert counted(results, "labels: known") == {"not in the chexpert file": 1}
    assert exclusions(results) == {}


def test_odd_labels_of_radiologists(raw: RawFiles) -> None:
    first = {**raw.chexpert[0], "study_id": 59000001, "Edema": "3.0"}
    first["Airspace Opacity"] = first.pop("Lung Opacity")
    write_csv(raw.jpg / "mimic-cxr-2.1.0-test-set-labeled.csv", [first, first | {"study_id": 59000002, "Edema": "0.0"}])
    raw.chexpert[-2]["Edema"] = "9"  # of study 59000002, whose radiologists' label is in order
    raw.write()
    settings = raw.settings()
    settings["ingest"]["test_set_labels"] = True
    results = {name: tables.conform(name, data).to_pandas() for name, data in ingest(settings).items()}
    assert exclusions(results)["study", "59000001"] == "Edema is not one of 1, 0, -1, blank (labels)"
    assert results["studies"].set_index("study_id").loc[59000002, "edema"] == 0


def test_a_split_that_is_none_is_null(raw: RawFiles) -> None:
    raw.split[0]["split"] = "dev"
    raw.split[1]["split"] = " Validate"
    raw.split.append(raw.split[2] | {"split": "test"})
    raw.split[3]["dicom_id"] = ""
    results = run(raw)
    splits = results["images"].set_index("dicom_id")["official_split"]
    assert splits["50000009-1"] == "validation"
    assert splits.index[splits.isna()].tolist() == ["50000009-0", "50000003-0", "50000003-1"]
    assert counted(results, "published split: known") == {
        "split is not one of train, validate, test": 1,
        "dicom_id is in rows that differ": 1,
        "not in the split file": 1,
    }
    assert exclusions(results) == {}


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        *(("anchor_age", cell) for cell in ("", "old", "-1", "52.5", "999", "70000")),
        *(("anchor_year", cell) for cell in ("", "2150 - 2152", "21500", "0", "nan")),
    ],
)
def test_an_odd_age_is_null(raw: RawFiles, column: str, cell: str) -> None:
    raw.patients[0][column] = cell
    results = run(raw)
    assert results["studies"].groupby("subject_id")["age"].count().to_dict() == {10000032: 0, 11000011: 2, 19000019: 2}
    assert counted(results, "ages: known") == {"anchor_age or anchor_year is blank or odd": 1}
    assert exclusions(results) == {}


def test_odd_demographics_are_null(raw: RawFiles) -> None:
    raw.patients[0]["gender"] = "female"
    raw.patients[1]["gender"] = " m"
    raw.patients.append(raw.patients[2] | {"anchor_age": 40})
    raw.admissions[0]["subject_id"] = ""
    results = run(raw)
    patients = results["patients"].set_index("subject_id")
    assert patients["sex"].isna().to_dict() == {10000032: True, 11000011: False, 19000019: True}
    assert patients.loc[11000011, "sex"] == "M"
    assert patients["anchor_age"].isna().to_dict() == {10000032: False, 11000011: False, 19000019: True}
    assert counted(results, "sexes: known") == {"gender is not F or M": 1, "patient not in MIMIC-IV": 1}
    assert counted(results, "races: known") == {"no admission in MIMIC-IV": 1}


def test_a_row_of_unequal_length_is_left_out(raw: RawFiles) -> None:
    raw.write()
    path = raw.jpg / SPLIT
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    lines[2] = b"50000009-1,50000009,10000032\r\n"
    lines[4] = lines[4].replace(b"train", b"dev")
    path.write_bytes(gzip.compress(b"".join(lines)))
    results = {name: tables.conform(name, data).to_pandas() for name, data in ingest(raw.settings()).items()}
    assert results["images"]["official_split"].isna().sum() == 2


def test_a_row_of_unequal_length_in_the_metadata_is_counted(raw: RawFiles) -> None:
    raw.write()
    path = raw.jpg / METADATA
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    lines[2] = lines[2].replace(b"\r\n", b",x\r\n")
    path.write_bytes(gzip.compress(b"".join(lines)))
    results = {name: tables.conform(name, data).to_pandas() for name, data in ingest(raw.settings()).items()}
    assert_counts_add_up(results["cohort"])
    reason = "the number of values is not that of the columns"
    assert exclusions(results) == {("image", f"line 3 of {METADATA}"): reason}
    assert counted(results, "images: readable") == {reason: 1}
    assert len(results["images"]) == 9


@pytest.mark.parametrize(
    ("column", "cell", "left_out"),
    [
        ("PerformedProcedureStepDescription", "CHEST (PA,\n LAT, OBL), 3 VIEWS", False),
        ("PatientOrientationCodeSequence_CodeMeaning", "Erect\r\n", False),
        ("StudyTime", "120000\n", False),
        ("StudyTime", "12\n0000", True),
        ("StudyDate", "2180\n0506", True),
    ],
)
def test_a_line_break_in_a_cell_concerns_its_row_alone(raw: RawFiles, column: str, cell: str, left_out: bool) -> None:
    raw.metadata[2][column] = cell  # the first image of study 50000003
    results = run(raw)
    assert len(results["studies"]) == 7 - left_out
    assert (50000003 in set(results["studies"]["study_id"])) is not left_out


def test_spaces_around_column_names_do_not_matter(raw: RawFiles) -> None:
    expected = run(raw)
    path = raw.jpg / METADATA
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b",StudyTime,", b", StudyTime ,", 1)))
    results = {name: tables.conform(name, data).to_pandas() for name, data in ingest(raw.settings()).items()}
    pd.testing.assert_frame_equal(results["studies"], expected["studies"])


@pytest.mark.parametrize("cell", [b"\xe9", "é".encode(), b"\xe9 and \xc3\xa9"])
def test_a_cell_that_is_not_utf_8_is_an_odd_cell(raw: RawFiles, cell: bytes) -> None:
    raw.admissions[0]["race"] = "WHITE@"
    raw.split[0]["split"] = "tr@in"
    raw.write()
    for path in (raw.jpg / SPLIT, raw.folder / "hosp/admissions.csv.gz"):
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"@", cell)))
    results = {name: tables.conform(name, data).to_pandas() for name, data in ingest(raw.settings()).items()}
    assert counted(results, "published split: known") == {"split is not one of train, validate, test": 1}
    assert (results["patients"]["race"] == "White").all()


TEXT = " IMPRESSION:  Größe 3°C – “stable” café."


def written_as(raw: RawFiles, shape: str) -> dict[str, Any]:
    """Settings that find the raw files, the reports in a zip, a tar or a folder."""
    raw.write()
    settings = raw.settings()
    if shape == "tar":
        settings["data"]["reports"] = str(raw.folder / "reports.tar.gz")
        write_tar(raw.folder / "reports.tar.gz", raw.reports)
    elif shape == "folder":
        settings["data"]["reports"] = str(raw.folder / "reports")
        write_folder(raw.folder / "reports", raw.reports)
    return settings


@pytest.mark.parametrize(
    ("content", "impression"),
    [
        (b" IMPRESSION:  Caf\xe9, 37\xb0C.", "Café, 37°C."),
        (b" IMPRESSION:  \x93Stable\x94 \x96 no change.", "“Stable” – no change."),
        (b" IMPRESSION:  Line\x81break.", "Line\x81break."),
        (b"\xef\xbb\xbf IMPRESSION:  " + "Größe.".encode(), "Größe."),
        (b"\xef\xbb\xbfIMPRESSION:  Normal.", "Normal."),
        (b" IMPRESSION:  \xe9 beside " + "é.".encode(), "é beside é."),
        (TEXT.encode("cp1252"), "Größe 3°C – “stable” café."),
        (TEXT.encode("utf-16"), "Größe 3°C – “stable” café."),
    ],
)
@pytest.mark.parametrize("shape", ["zip", "tar", "folder"])
def test_reports_in_other_encodings_are_read(raw: RawFiles, content: bytes, impression: str, shape: str) -> None:
    raw.reports[report_name(10000032, 50000009)] = content
    settings = written_as(raw, shape)
    results = ingest(settings)
    assert results["studies"].set_index("study_id").loc[50000009, "impression"] == impression
    assert len(results["exclusions"]) == 0


def other_report(raw: RawFiles) -> None:
    raw.reports["more/p10/p10000032/s50000009.txt"] = b" IMPRESSION:  Another."


def in_another_folder(raw: RawFiles) -> None:
    raw.reports[report_name(19000019, 50000009)] = raw.reports.pop(report_name(10000032, 50000009))


def too_large(raw: RawFiles) -> None:
    raw.reports[report_name(10000032, 50000009)] = b" " * 50_000_000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other_report, "the study has two reports that differ"),
        (in_another_folder, "the report is in the folder of another patient than the metadata give"),
        (too_large, "the report is larger than 1 MB"),
    ],
)
@pytest.mark.parametrize("shape", ["zip", "tar", "folder"])
def test_a_report_that_cannot_be_used_leaves_its_study_out(
    raw: RawFiles, change: Callable[[RawFiles], None], reason: str, shape: str
) -> None:
    change(raw)
    settings = written_as(raw, shape)
    results = {name: tables.conform(name, data).to_pandas() for name, data in ingest(settings).items()}
    assert_counts_add_up(results["cohort"])
    assert exclusions(results) == {
        ("study", "50000009"): reason,
        ("image", "50000009-0"): reason,
        ("image", "50000009-1"): reason,
    }
    assert counted(results, "studies: with a report") == {reason: 1}
    assert counted(results, "reports: of studies in the metadata") == {reason: 1}


def test_the_same_report_twice_is_one(raw: RawFiles) -> None:
    raw.reports["more/p10/p10000032/s50000009.txt"] = raw.reports[report_name(10000032, 50000009)]
    results = run(raw)
    assert exclusions(results) == {}
    assert len(results["studies"]) == 7


def refuse(raw: RawFiles, message: str, largest_share: float = 0.001) -> None:
    raw.write()
    settings = raw.settings()
    settings["ingest"]["largest_refused_share"] = largest_share
    with pytest.raises(UserError) as caught:
        ingest(settings)
    assert message in str(caught.value)
    assert str(caught.value).endswith("remove the cause, or raise ingest.largest_refused_share")
    assert "\n" not in str(caught.value)


def test_ten_odd_rows_are_no_reason_to_stop_and_eleven_are(raw: RawFiles) -> None:
    with_more_studies(raw, 20)
    for row in raw.metadata[10:20]:
        row["StudyTime"] = "256000"
    assert counted(run(raw), "studies: readable") == {NOT_A_TIME: 10}
    raw.metadata[20]["StudyDate"] = ""
    refuse(
        raw,
        f"ingest: more than 0.1% of 30 rows of {METADATA} were refused (10 x {NOT_A_TIME}; 1 x StudyDate is blank; "
        f"11 in all, 36.7%; the first: {raw.jpg / METADATA}, line 12: {NOT_A_TIME}: '256000'): ",
    )
    refuse(raw, "more than 36.0% of 30 rows", largest_share=0.36)
    settings = raw.settings()
    settings["ingest"]["largest_refused_share"] = 0.37
    assert len(ingest(settings)["studies"]) == 16


def test_a_row_with_two_odd_cells_counts_once(raw: RawFiles) -> None:
    with_more_studies(raw, 20)
    for row in raw.metadata[10:20]:
        row["StudyTime"] = row["StudyDate"] = row["Rows"] = "x"
    assert counted(run(raw), "studies: readable") == {NOT_A_DATE: 10}


WRONG_COLUMNS: dict[str, tuple[str, str, Any]] = {
    "dates with dashes": ("metadata", "StudyDate", "2180-05-06"),
    "no time": ("metadata", "StudyTime", ""),
    "no size": ("metadata", "Rows", ""),
    "patients outside of the folders": ("metadata", "subject_id", 32),
    "no study": ("metadata", "study_id", "abc"),
    "labels of words": ("chexpert", "Edema", "positive"),
    "other splits": ("split", "split", "fold 1"),
    "genders in words": ("patients", "gender", "female"),
    "ages in words": ("patients", "anchor_age", "52 years"),
    "no patients": ("admissions", "subject_id", ""),
}


@pytest.mark.parametrize("case", WRONG_COLUMNS)
def test_a_column_that_is_wrong_throughout_stops_even_a_small_file(raw: RawFiles, case: str) -> None:
    table, column, cell = WRONG_COLUMNS[case]
    rows = getattr(raw, table)
    for row in rows:
        row[column] = cell
    refuse(raw, f"({len(rows)} x {column} is ")


def test_other_peoples_reports_stop(raw: RawFiles) -> None:
    raw.reports = {name.replace("p1", "p2"): text for name, text in raw.reports.items()}
    refuse(raw, "of 7 reports were refused (7 x the report is in the folder of another patient")


def test_if_odd_cells_leave_no_image_the_step_ends(raw: RawFiles) -> None:
    for row in raw.metadata[1:2] + raw.metadata[3:]:  # one row of each study, eight of ten
        row["StudyTime"] = ""
    raw.write()
    with pytest.raises(UserError, match=r"no image of the metadata is left.*StudyTime is blank"):
        ingest(raw.settings())
