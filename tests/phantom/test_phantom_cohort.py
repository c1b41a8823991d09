import gzip
import hashlib
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from biomedjourney import tables
from biomedjourney.errors import UserError
from biomedjourney.phantom import cohort, files
from biomedjourney.phantom.command import command
from biomedjourney.phantom.demographics import ADMISSIONS, admission_rows, patient_row
from biomedjourney.phantom.findings import FINDINGS, VISIBLE, severities
from biomedjourney.phantom.labels import LABELS, TEST_LABELS

PATIENTS, SIZE, SEED = 20, 96, 3


@pytest.fixture(scope="module")
def people() -> list[cohort.Patient]:
    return [cohort.patient(0, identity) for identity in cohort.identities(0, 900)]


@pytest.fixture(scope="module")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    files.write(folder / "raw", folder / "truth.parquet", SEED, PATIENTS, SIZE, 2)
    return folder


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "raw" / name, dtype=str, keep_default_na=False)


def auc_of_presence(before: np.ndarray, after: np.ndarray) -> float:
    """AUC of a yes-or-no predictor."""
    return 0.5 * (1.0 + before[after].mean() - before[~after].mean())


@pytest.mark.parametrize("finding", FINDINGS)
def test_findings_change_and_their_past_tells_little(people: list[cohort.Patient], finding: str) -> None:
    courses = [np.array([severities(s.findings, finding) for s in p.studies]) for p in people]
    present = np.concatenate([c.any(axis=1) for c in courses])
    assert 0.3 < present.mean() < 0.45
    before = np.concatenate([c[:-1] for c in courses])
    after = np.concatenate([c[1:] for c in courses])
    changed = (((before > 0) != (after > 0)) | (abs(after - before) >= VISIBLE)).any(axis=1)
    assert 0.4 < changed.mean() < 0.5
    assert 0.62 < auc_of_presence(before.any(axis=1), after.any(axis=1)) < 0.75
    severity = np.concatenate([c[c > 0] for c in courses])
    assert (severity >= 0.35).mean() > 0.9
    assert severity.max() <= 1.0


def test_patients_and_visits(people: list[cohort.Patient]) -> None:
    folders = pd.Series([str(p.subject_id)[:2] for p in people]).value_counts(normalize=True)
    assert set(folders.index) == {str(folder) for folder in range(10, 20)}
    assert folders["19"] == pytest.approx(cohort.TEST_SHARE, abs=0.001)
    counts = np.array([len(p.studies) for p in people])
    assert counts.mean() == pytest.approx(3.0, abs=0.15)
    assert set(counts) == {1, 2, 3, 4, 5}
    races = pd.Series([p.race for p in people]).value_counts(normalize=True)
    assert set(races.index) == set(tables.RACES)
    assert races.min() > 0.28
    studies = [s for p in people for s in p.studies]
    ages = np.array([s.age for s in studies])
    assert ages.min() >= 20
    assert np.histogram(ages, bins=[20, 40, 60, 80])[0].min() > 0.2 * len(ages)
    assert all(a.time < b.time for p in people for a, b in zip(p.studies, p.studies[1:], strict=False))
    ordered = [a.study_id < b.study_id for p in people for a, b in zip(p.studies, p.studies[1:], strict=False)]
    assert 0.4 < np.mean(ordered) < 0.6
    assert len({s.study_id for s in studies}) == len(studies)
    films = [f for s in studies for f in s.films]
    assert len({f.dicom_id for f in films}) == len(films)
    assert np.mean([f.acquisition.inverted for f in films]) == pytest.approx(0.02, abs=0.012)
    assert np.mean([any(f.view == "LATERAL" for f in s.films) for s in studies]) == pytest.approx(0.2, abs=0.03)
    assert np.mean([s.view == "AP" for s in studies]) == pytest.approx(cohort.AP_SHARE, abs=0.02)


def test_two_visits_differ_in_position_as_the_real_films_do(people: list[cohort.Patient]) -> None:
    acquisitions = [
        (a.films[0].acquisition, b.films[0].acquisition)
        for p in people
        for a, b in zip(p.studies, p.studies[1:], strict=False)
    ]
    rotation = np.std([b.rotation - a.rotation for a, b in acquisitions])
    scale = np.std([np.log(b.scale / a.scale) for a, b in acquisitions])
    shift = np.std([b.shift_x - a.shift_x for a, b in acquisitions])
    assert rotation == pytest.approx(cohort.PAIR_ROTATION, rel=0.1)
    assert scale == pytest.approx(cohort.PAIR_LOG_SCALE, rel=0.1)
    assert shift == pytest.approx(cohort.PAIR_SHIFT[0], rel=0.1)


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_processes(phantom_folder: Path, tmp_path: Path) -> None:
    files.write(tmp_path / "raw", tmp_path / "truth.parquet", SEED, PATIENTS, SIZE, 1)
    for name in ("mimic-cxr-jpg", "mimic-cxr", "mimic-iv"):
        sums = f"raw/{name}/SHA256SUMS.txt"
        assert (tmp_path / sums).read_bytes() == (phantom_folder / sums).read_bytes()
    assert (tmp_path / "truth.parquet").read_bytes() == (phantom_folder / "truth.parquet").read_bytes()
    files.write(tmp_path / "raw", tmp_path / "truth.parquet", SEED + 1, PATIENTS, SIZE, 1)
    assert (tmp_path / sums).read_bytes() != (phantom_folder / sums).read_bytes()


@pytest.mark.parametrize("name", ["mimic-cxr-jpg", "mimic-cxr", "mimic-iv"])
def test_checksums_cover_every_file(phantom_folder: Path, name: str) -> None:
    root = phantom_folder / "raw" / name
    listed = dict(reversed(line.split(" ", 1)) for line in (root / "SHA256SUMS.txt").read_text().splitlines())
    present = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()} - {"SHA256SUMS.txt"}
    assert set(listed) == present
    for path, digest in listed.items():
        assert hashlib.sha256((root / path).read_bytes()).hexdigest() == digest


def test_metadata_and_films(phantom_folder: Path) -> None:
    rows = read(phantom_folder, "mimic-cxr-jpg/mimic-cxr-2.0.0-metadata.csv.gz")
    assert list(rows.columns) == list(files.METADATA)
    assert rows["dicom_id"].is_unique
    assert rows["dicom_id"].str.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}").all()
    assert rows["ViewPosition"].isin(["PA", "AP", "LATERAL", ""]).all()
    assert rows["StudyDate"].str.fullmatch(r"2[12]\d{6}").all()
    padded = rows["StudyTime"].str.split(".").str[0].str.zfill(6)
    pd.to_datetime(padded, format="%H%M%S")
    assert (rows["StudyTime"].astype(float) < 100000).any()
    for row in rows.head(12).itertuples():
        folder = f"files/p{row.subject_id[:2]}/p{row.subject_id}/s{row.study_id}"
        path = phantom_folder / "raw" / "mimic-cxr-jpg" / folder / f"{row.dicom_id}.jpg"
        with Image.open(path) as image:
            assert image.format == "JPEG"
            assert image.mode == "L"
            assert image.size == (int(row.Columns), int(row.Rows))
            assert min(image.size) == SIZE
            assert not image.getexif()
    assert len(list((phantom_folder / "raw" / "mimic-cxr-jpg" / "files").rglob("*.jpg"))) == len(rows)


def test_split_and_label_files(phantom_folder: Path) -> None:
    meta = read(phantom_folder, "mimic-cxr-jpg/mimic-cxr-2.0.0-metadata.csv.gz")
    split = read(phantom_folder, "mimic-cxr-jpg/mimic-cxr-2.0.0-split.csv.gz")
    assert list(split.columns) == ["dicom_id", "study_id", "subject_id", "split"]
    assert set(split["dicom_id"]) == set(meta["dicom_id"])
    assert set(split["split"]) <= {"train", "validate", "test"}
    assert (split.groupby("subject_id")["split"].nunique() == 1).all()
    for name in ("chexpert", "negbio"):
        labels = read(phantom_folder, f"mimic-cxr-jpg/mimic-cxr-2.0.0-{name}.csv.gz")
        assert list(labels.columns) == ["subject_id", "study_id", *LABELS]
        assert set(labels[list(LABELS)].to_numpy().ravel()) <= {"1.0", "0.0", "-1.0", ""}
        assert set(labels["study_id"]) <= set(meta["study_id"])
        clear = labels[labels["No Finding"] == "1.0"]
        assert (
            not clear[[label for label in LABELS if label not in ("No Finding", "Support Devices")]]
            .eq("1.0")
            .any(axis=None)
        )
    labelled = read(phantom_folder, "mimic-cxr-jpg/mimic-cxr-2.1.0-test-set-labeled.csv")
    assert list(labelled.columns) == ["study_id", *TEST_LABELS]
    assert "Airspace Opacity" in labelled
    in_test = meta.loc[meta["subject_id"].str.startswith("19"), "study_id"]
    assert set(labelled["study_id"]) == set(in_test)


def test_reports_and_lists(phantom_folder: Path) -> None:
    studies = read(phantom_folder, "mimic-cxr/cxr-study-list.csv.gz")
    records = read(phantom_folder, "mimic-cxr/cxr-record-list.csv.gz")
    assert list(studies.columns) == ["subject_id", "study_id", "path"]
    assert list(records.columns) == ["subject_id", "study_id", "dicom_id", "path"]
    assert records["path"].str.fullmatch(r"files/p1\d/p1\d{7}/s5\d{7}/[0-9a-f-]{44}\.dcm").all()
    with zipfile.ZipFile(phantom_folder / "raw" / "mimic-cxr" / "mimic-cxr-reports.zip") as archive:
        assert sorted(archive.namelist()) == sorted(studies["path"])
        texts = [archive.read(name).decode("ascii") for name in archive.namelist()]
    assert sum("FINAL REPORT" in text for text in texts) > 0.9 * len(texts)


def test_demographics(people: list[cohort.Patient]) -> None:
    rows = [patient_row(p, cohort.stream(0, p.subject_id, 6)) for p in people]
    for person, row in zip(people, rows, strict=True):
        _, _, age, year, _, _ = row
        for study in person.studies:
            expected = study.age if age != 91 else max(study.age, 90)
            assert age == 91 or abs(age + study.time.year - year - expected) <= 1.01
    stays = [admission_rows(p, cohort.stream(0, p.subject_id, 7)) for p in people]
    assert all(len(row) == len(ADMISSIONS) for stay in stays for row in stay)
    ids = [row[1] for stay in stays for row in stay]
    assert len(set(ids)) == len(ids)
    assert np.mean([not stay for stay in stays]) == pytest.approx(0.04, abs=0.02)
    column = ADMISSIONS.index("race")
    groups = [{re.split(r"[ /]", row[column])[0] for row in stay} for stay in stays]
    as_stated = [group == {p.race.upper()} for group, p in zip(groups, people, strict=True)]
    assert np.mean(as_stated) == pytest.approx(0.89, abs=0.03)


def test_demographics_files(phantom_folder: Path) -> None:
    patients = read(phantom_folder, "mimic-iv/hosp/patients.csv.gz")
    admissions = read(phantom_folder, "mimic-iv/hosp/admissions.csv.gz")
    assert list(patients.columns) == ["subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"]
    assert len(admissions.columns) == 16
    assert len(patients) == PATIENTS
    assert set(admissions["subject_id"]) <= set(patients["subject_id"])


def test_truth(phantom_folder: Path) -> None:
    truth = tables.read(phantom_folder / "truth.parquet", "truth")
    studies = read(phantom_folder, "mimic-cxr/cxr-study-list.csv.gz")
    assert set(truth["study_id"].astype(str)) == set(studies["study_id"])
    for finding in FINDINGS:
        places = [c for c in truth.columns if c.startswith(f"severity_{finding}_")]
        if places:
            assert (truth[places].max(axis=1) == truth[f"severity_{finding}"]).all()
    labels = read(phantom_folder, "mimic-cxr-jpg/mimic-cxr-2.0.0-chexpert.csv.gz")
    both = truth.assign(study_id=truth["study_id"].astype(str)).merge(labels, on="study_id")
    for finding, label in (("pleural_effusion", "Pleural Effusion"), ("edema", "Edema")):
        agree = (both[f"severity_{finding}"] > 0) == (both[label] == "1.0")
        assert agree[both[label] != "-1.0"].mean() > 0.9


def test_a_rerun_leaves_nothing_of_the_old_cohort_and_spares_other_files(tmp_path: Path) -> None:
    out, truth = tmp_path / "raw", tmp_path / "truth.parquet"
    files.write(out, truth, 0, 10, 64, 1)
    before = set(out.rglob("*.jpg"))
    files.write(out, truth, 1, 10, 64, 1)
    assert before.isdisjoint(out.rglob("*.jpg"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "truth.parquet"]
    other_folder = tmp_path / "own"
    other_folder.mkdir()
    (other_folder / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="give another --out"):
        files.write(other_folder, truth, 0, 10, 64, 1)
    assert (other_folder / "thesis.txt").exists()


def test_the_files_carry_no_time_of_writing(phantom_folder: Path) -> None:
    for path in (phantom_folder / "raw").rglob("*.gz"):
        assert path.read_bytes()[4:8] == b"\0\0\0\0"
        gzip.decompress(path.read_bytes())
    content = io.BytesIO((phantom_folder / "raw" / "mimic-cxr" / "mimic-cxr-reports.zip").read_bytes())
    assert {info.date_time for info in zipfile.ZipFile(content).infolist()} == {files.ZIP_DATE}


def test_command(tmp_path: Path) -> None:
    out, truth = tmp_path / "raw", tmp_path / "truth.parquet"
    settings = "{seed: 0, phantom: {patients: 10, image_size: 64, organ_masks: 5}}"
    words = ["--config", settings, "--out", str(out), "--truth", str(truth), "--organs", str(tmp_path / "o.parquet")]
    result = CliRunner().invoke(command, [*words, "--processes", "1"])
    assert result.exit_code == 0, result.output
    assert (out / "mimic-cxr-jpg" / "SHA256SUMS.txt").is_file()
    assert len(tables.read(truth, "truth")) > 10
    none = CliRunner().invoke(command, ["--config", "{seed: 0, phantom: null}", "--out", str(out)])
    assert isinstance(none.exception, UserError)
