"""From raw files to tables: joins, labels, demographics, what is left out."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney import tables
from biomedjourney.cli import commands
from biomedjourney.ingest.demographics import group_of, most_frequent
from biomedjourney.ingest.ingest import ingest
from tests.helpers.raw_files import (
    LABELS,
    RawFiles,
    label_row,
    raw_files,
    report_name,
    write_csv,
    write_folder,
    write_tar,
)


@pytest.fixture
def raw(tmp_path: Path) -> RawFiles:
    return raw_files(tmp_path)


def run(raw: RawFiles) -> dict[str, pd.DataFrame]:
    raw.write()
    results = ingest(raw.settings())
    return {name: tables.conform(name, data).to_pandas() for name, data in results.items()}


def test_every_raw_row_arrives(raw: RawFiles) -> None:
    results = run(raw)
    assert {name: len(data) for name, data in results.items() if name != "cohort"} == {
        "patients": 3,
        "studies": 7,
        "images": 10,
        "exclusions": 0,
    }
    image = results["images"].set_index("dicom_id").loc["50000003-1"]
    assert image["path"] == "files/p10/p10000032/s50000003/50000003-1.jpg"
    assert (image["rows"], image["columns"], image["view"], image["official_split"]) == (3057, 2544, "PA", "train")
    assert results["images"].set_index("dicom_id")["view"].isna()["51000002-0"]


def test_studies_are_in_the_order_of_date_and_padded_time(raw: RawFiles) -> None:
    studies = run(raw)["studies"]
    first = studies[studies["subject_id"] == 10000032]
    assert first["study_id"].tolist() == [50000009, 50000005, 50000003]
    assert first["study_time"].astype(str).tolist() == [
        "2180-05-06 21:30:14.531",
        "2180-06-26 00:00:05.000",
        "2180-06-26 09:12:34.500",
    ]


def test_sections_stand_as_found(raw: RawFiles) -> None:
    raw.reports[report_name(11000011, 51000001)] = b" FINDINGS:  Seen by Dr. ___\n at  ___.\n IMPRESSION:  ___ clear."
    study = run(raw)["studies"].set_index("study_id").loc[51000001]
    assert study["findings"] == "Seen by Dr. ___\n at  ___."
    assert study["impression"] == "___ clear."


def test_labels(raw: RawFiles) -> None:
    raw.chexpert[0] = label_row(10000032, 50000009, No_Finding="1.0", Support_Devices="1.0", Fracture="-1.0")
    del raw.chexpert[1]
    studies = tables.conform("studies", (raw.write(), ingest(raw.settings()))[1]["studies"]).to_pandas()
    labels = studies.set_index("study_id")[list(tables.CHEXPERT_LABELS)]
    normal = labels.loc[50000009]
    assert (normal["no_finding"], normal["support_devices"], normal["fracture"]) == (1, 1, -1)
    assert (normal.drop(["no_finding", "support_devices", "fracture"]) == 0).all()
    assert labels.loc[50000003].isna().all()
    other = labels.loc[50000005]
    assert (other["edema"], other["pneumonia"], other["fracture"]) == (1, -1, 0)
    assert other.isna().sum() == 11


def with_test_set(raw: RawFiles, name: str = "mimic-cxr-2.1.0-test-set-labeled.csv") -> dict[str, Any]:
    """Writes radiologists' labels of one study; returns the settings that use them."""
    labels = dict.fromkeys(LABELS, "") | {"Pneumonia": "0.0", "Edema": "-1.0"}
    labels["Airspace Opacity"] = labels.pop("Lung Opacity") or "1.0"
    raw.write()
    write_csv(raw.jpg / name, [{"study_id": 59000001} | labels])
    settings = raw.settings()
    settings["ingest"]["test_set_labels"] = True
    return settings


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_radiologists_labels_take_the_place_of_the_labellers(raw: RawFiles, suffix: str) -> None:
    settings = with_test_set(raw, f"mimic-cxr-2.1.0-test-set-labeled.{suffix}")
    labels = tables.conform("studies", ingest(settings)["studies"]).to_pandas().set_index("study_id")
    assert labels.loc[59000001, "lung_opacity"] == 1
    assert (labels.loc[59000001, "edema"], labels.loc[59000001, "pneumonia"]) == (-1, 0)
    assert np.isnan(labels.loc[59000001, "fracture"])
    assert (labels.loc[59000002, "edema"], labels.loc[59000002, "pneumonia"]) == (1, -1)


def test_negbio_labels(raw: RawFiles) -> None:
    raw.write()
    write_csv(raw.jpg / "mimic-cxr-2.0.0-negbio.csv.gz", [label_row(19000019, 59000001, Edema="0.0")])
    settings = raw.settings()
    settings["ingest"]["labels"] = "negbio"
    results = ingest(settings)
    assert results["studies"].set_index("study_id")["edema"].dropna().to_dict() == {59000001: 0}
    assert results["cohort"].set_index("step")["dropped"]["labels: known"] == 6


def test_images_not_in_the_published_split_are_counted(raw: RawFiles) -> None:
    raw.split[1]["split"] = "validate"
    del raw.split[0]
    results = run(raw)
    split = results["images"].set_index("dicom_id")["official_split"]
    assert split.isna()["50000009-0"]
    assert split["50000009-1"] == "validation"
    row = results["cohort"].set_index("step").loc["published split: known"]
    assert (row["kept"], row["dropped"], row["reason"]) == (9, 1, "not in the split file")


def test_age_at_the_study_and_patients_unknown_to_mimic_iv(raw: RawFiles) -> None:
    raw.patients[0]["anchor_age"], raw.patients[0]["anchor_year"] = 91, 2179
    del raw.patients[2]
    results = run(raw)
    ages = results["studies"].groupby("subject_id")["age"].first()
    assert ages[10000032] == 92
    assert ages[11000011] == 53
    assert np.isnan(ages[19000019])
    assert results["patients"].set_index("subject_id")["sex"].isna()[19000019]
    row = results["cohort"].set_index("step").loc["ages: known"]
    assert (row["kept"], row["dropped"], row["reason"]) == (2, 1, "patient not in MIMIC-IV")


def test_race_by_the_most_frequent_group(raw: RawFiles) -> None:
    raw.admissions = [
        *({"subject_id": 10000032, "race": race} for race in ("WHITE", "WHITE - BRAZILIAN", "BLACK/AFRICAN")),
        *({"subject_id": 11000011, "race": race} for race in ("ASIAN - CHINESE", "BLACK/AFRICAN AMERICAN")),
        {"subject_id": 99999999, "race": "WHITE"},
    ]
    results = run(raw)
    races = results["patients"].set_index("subject_id")["race"]
    assert races[10000032] == "White"
    assert races[[11000011, 19000019]].isna().all()
    rows = results["cohort"][results["cohort"]["step"] == "races: known"]
    assert rows["kept"].tolist() == [1, 1]
    assert sorted(rows["dropped"]) == [1, 1]


def test_ethnicity_is_the_race_of_old_versions(raw: RawFiles) -> None:
    for row in raw.admissions:
        row["ethnicity"] = row.pop("race")
    assert (run(raw)["patients"]["race"] == "White").all()


@pytest.mark.parametrize(
    ("stated", "group"),
    [
        ("ASIAN", "Asian"),
        ("ASIAN - SOUTH EAST ASIAN", "Asian"),
        ("BLACK/CAPE VERDEAN", "Black"),
        ("BLACK/CARIBBEAN ISLAND", "Black"),
        ("WHITE - OTHER EUROPEAN", "White"),
        ("HISPANIC/LATINO - DOMINICAN", None),
        ("NATIVE HAWAIIAN OR OTHER PACIFIC ISLANDER", None),
        ("PATIENT DECLINED TO ANSWER", None),
        ("UNABLE TO OBTAIN", None),
        ("MULTIPLE RACE/ETHNICITY", None),
    ],
)
def test_groups_of_the_strings_of_mimic_iv(stated: str, group: str | None) -> None:
    assert group_of(stated) == group


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["Asian", "Black", "White", None])), min_size=1))
def test_most_frequent_is_the_only_mode(rows: list[tuple[int, str | None]]) -> None:
    groups = most_frequent(np.array([s for s, _ in rows]), np.array([g for _, g in rows], dtype=object))
    assert sorted(groups.index) == sorted({subject for subject, _ in rows})
    for subject, group in groups.items():
        subject_groups = [g for s, g in rows if s == subject]
        most = max(subject_groups.count(g) for g in subject_groups)
        modes = {g for g in subject_groups if subject_groups.count(g) == most}
        assert (None if pd.isna(group) else group) == (modes.pop() if len(modes) == 1 else None)


def test_studies_without_report_and_reports_without_study_are_accounted_for(raw: RawFiles) -> None:
    del raw.reports[report_name(10000032, 50000003)]
    raw.reports[report_name(12000012, 52000001)] = b" IMPRESSION:  Lost."
    results = run(raw)
    assert 50000003 not in set(results["studies"]["study_id"]) | set(results["images"]["study_id"])
    left_out = results["exclusions"].set_index(["kind", "id"])["reason"].to_dict()
    assert left_out == {
        ("study", "50000003"): "no report",
        ("study", "52000001"): "no image in the metadata",
        ("image", "50000003-0"): "the study has no report",
        ("image", "50000003-1"): "the study has no report",
    }
    assert_counts_add_up(results["cohort"])


def assert_counts_add_up(cohort: pd.DataFrame) -> None:
    """A step keeps what the step before it with the same unit kept, less what it dropped."""
    before: dict[str, int] = {}
    for step, rows in cohort.groupby("step", sort=False):
        unit = str(step).partition(":")[0]
        kept = rows["kept"].iloc[0]
        if unit in before:
            assert kept == before[unit] - rows["dropped"].sum(), step
        before[unit] = kept


@pytest.mark.parametrize("shape", ["tar", "folder", "folder of folders", "zip"])
def test_reports_are_read_in_place(raw: RawFiles, shape: str) -> None:
    expected = run(raw)["studies"]
    settings = raw.settings()
    place = raw.folder / "größere Ablage" / "reports of mine"
    place.parent.mkdir()
    if shape == "tar":
        place = place.with_suffix(".tar.gz")
        write_tar(place, raw.reports | {"files/LICENSE.txt": b"\xff"})
    elif shape == "zip":
        place = place.with_suffix(".zip")
        raw.reports_path.rename(place)
    else:
        write_folder(place, raw.reports)
    settings["data"]["reports"] = str(place / "files" if shape == "folder" else place)
    pd.testing.assert_frame_equal(
        tables.conform("studies", ingest(settings)["studies"]).to_pandas(), expected, check_like=True
    )


def test_plain_csv_files_serve_as_well(raw: RawFiles) -> None:
    expected = run(raw)
    for path in [*raw.jpg.glob("*.gz"), *(raw.folder / "hosp").glob("*.gz")]:
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    results = {name: tables.conform(name, data).to_pandas() for name, data in ingest(raw.settings()).items()}
    for name, data in results.items():
        pd.testing.assert_frame_equal(data, expected[name])


def test_a_path_with_spaces_and_letters_of_all_kinds(tmp_path: Path) -> None:
    expected = run(raw_files(tmp_path / "plain"))
    results = run(raw_files(tmp_path / "größere Ablage, 胸部 X線 (neu)"))
    for name, data in results.items():
        pd.testing.assert_frame_equal(data, expected[name])


def test_line_ends_of_windows_a_byte_order_mark_and_columns_in_another_order(raw: RawFiles) -> None:
    expected = run(raw)
    raw.metadata = [dict(reversed(row.items())) for row in raw.metadata]
    raw.write()
    for path in raw.jpg.glob("*.gz"):
        path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + gzip.decompress(path.read_bytes())))
    for name, data in ingest(raw.settings()).items():
        pd.testing.assert_frame_equal(tables.conform(name, data).to_pandas(), expected[name])


def test_the_order_of_raw_rows_does_not_matter(raw: RawFiles) -> None:
    first = run(raw)
    for rows in (raw.metadata, raw.split, raw.chexpert, raw.patients, raw.admissions):
        rows.reverse()
    raw.reports = dict(reversed(raw.reports.items()))
    for name, data in run(raw).items():
        pd.testing.assert_frame_equal(data, first[name])


def test_the_command_writes_all_tables(raw: RawFiles) -> None:
    raw.write()
    config = raw.folder / "config.yaml"
    config.write_text(json.dumps(raw.settings()))
    out = raw.folder / "out"
    names = ("patients", "studies", "images", "cohort", "exclusions")
    flags = [word for name in names for word in (f"--{name}", str(out / f"{name}.parquet"))]
    result = CliRunner().invoke(commands, ["ingest", "tables", "--config", str(config), *flags], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "studies: in the metadata: 7" in result.output
    for name in names:
        assert tables.read(out / f"{name}.parquet", name).shape[1] == len(tables.table(name).columns)
