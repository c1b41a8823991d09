"""The phantom cohort as raw files, in the layout and with the columns of MIMIC-CXR-JPG, MIMIC-CXR and MIMIC-IV."""

import csv
import gzip
import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from biomedjourney import tables
from biomedjourney.config import PHANTOM_MARKER
from biomedjourney.errors import UserError
from biomedjourney.phantom import anatomy, draw, reports
from biomedjourney.phantom.cohort import Film, Identity, Patient, Study, identities, patient, stream
from biomedjourney.phantom.demographics import ADMISSIONS, PATIENTS, admission_rows, patient_row
from biomedjourney.phantom.findings import FINDINGS, PLACES, severities
from biomedjourney.phantom.labels import LABELS, TEST_LABELS, label_row, labelled
from biomedjourney.phantom.phrases import INCIDENTAL
from biomedjourney.progress import bar
from biomedjourney.workers import map_ordered

METADATA = (
    "dicom_id",
    "subject_id",
    "study_id",
    "PerformedProcedureStepDescription",
    "ViewPosition",
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)
VIEW_CODES = {"PA": "postero-anterior", "AP": "antero-posterior", "LATERAL": "lateral", "": ""}
MARKER_TEXT = "Drawn by `biomedjourney phantom` with the seed {seed}: no real patient. A rerun replaces this folder.\n"
JPEG_QUALITY = 95
UNLABELLED = 0.001  # share of the studies that are missing from a label file, as in MIMIC-CXR-JPG
ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the first date of the format; a fixed one, so that reruns give the same bytes
TEST_PREFIX = "p19/"
POSITIONS = ("rotation", "shift_x", "shift_y", "scale")
FILMS_PER_STUDY = 1.25  # a rough average, for the progress bar only

Row = list[Any]


@dataclass
class Rows:
    """The rows that one patient adds to the files. The rows of all patients are joined in the order of their ids."""

    metadata: list[Row] = field(default_factory=list)
    split: list[Row] = field(default_factory=list)
    chexpert: list[Row] = field(default_factory=list)
    negbio: list[Row] = field(default_factory=list)
    labelled: list[Row] = field(default_factory=list)
    studies: list[Row] = field(default_factory=list)
    records: list[Row] = field(default_factory=list)
    reports: list[tuple[str, str]] = field(default_factory=list)
    patients: list[Row] = field(default_factory=list)
    admissions: list[Row] = field(default_factory=list)
    sums: list[tuple[str, str]] = field(default_factory=list)
    truth: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: "Rows") -> None:
        for name, new_rows in vars(other).items():
            getattr(self, name).extend(new_rows)


def _folder(subject_id: int) -> str:
    return f"p{str(subject_id)[:2]}/p{subject_id}"


def _jpeg(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture, mode="L").save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _study_time(study: Study) -> float:
    """hhmmss.fff as a number, so leading zeros are lost."""
    t = study.time
    return round(t.hour * 10000 + t.minute * 100 + t.second + t.microsecond // 1000 / 1000, 3)


def _metadata(person: Patient, study: Study, film: Film, shape: tuple[int, ...]) -> Row:
    lateral = any(f.acquisition.lateral for f in study.films)
    procedure = "CHEST (PA AND LAT)" if lateral else f"CHEST ({'PORTABLE AP' if study.view == 'AP' else 'SINGLE VIEW'})"
    return [
        film.dicom_id,
        person.subject_id,
        study.study_id,
        procedure,
        film.view,
        shape[0],
        shape[1],
        study.time.strftime("%Y%m%d"),
        _study_time(study),
        procedure,
        VIEW_CODES[film.view],
        "Recumbent" if study.view == "AP" else "Erect",
    ]


def _truth(person: Patient, study: Study) -> dict[str, Any]:
    row: dict[str, Any] = {
        "study_id": study.study_id,
        "subject_id": person.subject_id,
        "race": person.race,
        "age": study.age,
        "dicom_id": study.films[0].dicom_id,
    }
    for finding in FINDINGS:
        values = severities(study.findings, finding)
        row[f"severity_{finding}"] = max(values)
        if len(values) > 1:
            row |= {
                f"severity_{finding}_{place.replace(' ', '_')}": value
                for place, value in zip(PLACES[finding], values, strict=True)
            }
    row["severity_support_devices"] = float(study.findings.device is not None)
    acquisition = study.films[0].acquisition
    return row | {f"position_{name}": float(getattr(acquisition, name)) for name in POSITIONS}


def _write_films(root: Path, seed: int, size: int, person: Patient, rows: Rows) -> None:
    body = anatomy.sample(stream(seed, person.subject_id, 1), person.sex, person.race)
    split = str(stream(seed, person.subject_id, 2).choice(["train", "validate", "test"], p=[0.97, 0.01, 0.02]))
    film_number = 0
    for study in person.studies:
        folder = f"files/{_folder(person.subject_id)}/s{study.study_id}"
        (root / folder).mkdir(parents=True)
        for film in study.films:
            rng = stream(seed, person.subject_id, 3, film_number)
            picture = draw.draw(body, study.age, study.findings, film.acquisition, size, rng)
            content = _jpeg(picture)
            path = f"{folder}/{film.dicom_id}.jpg"
            (root / path).write_bytes(content)
            rows.sums.append((hashlib.sha256(content).hexdigest(), path))
            rows.metadata.append(_metadata(person, study, film, picture.shape))
            rows.split.append([film.dicom_id, study.study_id, person.subject_id, split])
            rows.records.append([person.subject_id, study.study_id, film.dicom_id, path.replace(".jpg", ".dcm")])
            film_number += 1


def _write_texts(seed: int, person: Patient, rows: Rows) -> None:
    rng, label_rng = stream(seed, person.subject_id, 4), stream(seed, person.subject_id, 5)
    incidental = int(rng.integers(len(INCIDENTAL))) if rng.random() < 0.05 else None
    prior = None
    for study in person.studies:
        report = reports.render(
            prior,
            study.findings,
            rng,
            sex=person.sex,
            view=study.view,
            lateral=any(film.acquisition.lateral for film in study.films),
            inspiration=study.films[0].acquisition.inspiration,
            incidental=incidental,
        )
        prior = study.findings
        path = f"files/{_folder(person.subject_id)}/s{study.study_id}.txt"
        rows.reports.append((path, report.text))
        rows.studies.append([person.subject_id, study.study_id, path])
        key = [person.subject_id, study.study_id]
        for label_rows in (rows.chexpert, rows.negbio):
            values = label_row(labelled(report.mentions, label_rng), LABELS)
            if label_rng.random() >= UNLABELLED:
                label_rows.append(key + values)
        if _folder(person.subject_id).startswith(TEST_PREFIX):
            rows.labelled.append([study.study_id, *label_row(report.mentions, LABELS)])
        rows.truth.append(_truth(person, study))


def write_patient(identity: Identity, root: Path, seed: int, size: int) -> Rows:
    """Draws the films of one patient into ``root`` (the folder of MIMIC-CXR-JPG); returns the rows of all tables."""
    person = patient(seed, identity)
    rows = Rows()
    _write_films(root, seed, size, person, rows)
    _write_texts(seed, person, rows)
    rng = stream(seed, person.subject_id, 6)
    rows.patients.append(patient_row(person, rng))
    rows.admissions += admission_rows(person, rng)
    return rows


def _csv(header: Iterable[str], rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _write(root: Path, name: str, content: bytes, sums: list[tuple[str, str]]) -> None:
    if name.endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    sums.append((hashlib.sha256(content).hexdigest(), name))


def _write_sums(root: Path, sums: list[tuple[str, str]]) -> None:
    lines = [f"{digest} {name}\n" for digest, name in sorted(sums, key=lambda pair: pair[1])]
    (root / "SHA256SUMS.txt").write_text("".join(lines))


def _zip(texts: list[tuple[str, str]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in sorted(texts):
            info = zipfile.ZipInfo(path, ZIP_DATE)
            info.external_attr = 0o644 << 16
            archive.writestr(info, text, compress_type=zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _write_images_tables(root: Path, rows: Rows) -> None:
    by_image = sorted(rows.metadata, key=lambda r: (r[1], r[2], r[0]))
    by_split = sorted(rows.split, key=lambda r: (r[2], r[1], r[0]))
    sums = list(rows.sums)
    name = "mimic-cxr-2.0.0-{}.csv.gz"
    keys = ("subject_id", "study_id")
    _write(root, name.format("metadata"), _csv(METADATA, by_image), sums)
    _write(root, name.format("split"), _csv(("dicom_id", "study_id", "subject_id", "split"), by_split), sums)
    _write(root, name.format("chexpert"), _csv((*keys, *LABELS), sorted(rows.chexpert, key=lambda r: r[:2])), sums)
    _write(root, name.format("negbio"), _csv((*keys, *LABELS), sorted(rows.negbio, key=lambda r: r[:2])), sums)
    test_labels = sorted(rows.labelled, key=lambda r: r[0])
    _write(root, "mimic-cxr-2.1.0-test-set-labeled.csv", _csv(("study_id", *TEST_LABELS), test_labels), sums)
    file_names = "".join(f"{path}\n" for _, path in sorted(rows.sums, key=lambda pair: pair[1]))
    _write(root, "IMAGE_FILENAMES", file_names.encode(), sums)
    _write_sums(root, sums)


def _write_other_tables(root: Path, rows: Rows) -> None:
    sums: list[tuple[str, str]] = []
    reports_root = root / "mimic-cxr"
    studies = sorted(rows.studies, key=lambda r: r[:2])
    records = sorted(rows.records, key=lambda r: r[:3])
    _write(reports_root, "mimic-cxr-reports.zip", _zip(rows.reports), sums)
    _write(reports_root, "cxr-study-list.csv.gz", _csv(("subject_id", "study_id", "path"), studies), sums)
    record_columns = ("subject_id", "study_id", "dicom_id", "path")
    _write(reports_root, "cxr-record-list.csv.gz", _csv(record_columns, records), sums)
    _write_sums(reports_root, sums)
    sums = []
    _write(root / "mimic-iv", "hosp/patients.csv.gz", _csv(PATIENTS, rows.patients), sums)
    _write(root / "mimic-iv", "hosp/admissions.csv.gz", _csv(ADMISSIONS, rows.admissions), sums)
    _write_sums(root / "mimic-iv", sums)


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """A new folder beside ``out``, which replaces ``out`` if the block succeeds.

    Raises UserError if ``out`` holds other files than an earlier phantom, because they would be lost.
    """
    if out.exists() and not (out / PHANTOM_MARKER).is_file() and any(not path.is_dir() for path in out.rglob("*")):
        raise UserError(f"{out}: holds files that are not a phantom and would be lost: give another --out")
    with tables.atomic_folder(out) as building:
        yield building


def write(out: Path, truth: Path, seed: int, patients: int, size: int, processes: int) -> int:
    """Draws the cohort into ``out`` and writes its truth to the table ``truth``; returns the number of films.

    ``size`` is the shorter side of the films in pixels. The same seed, patients and size give the same bytes for
    any number of processes. Raises UserError if ``out`` holds other files than an earlier phantom.
    """
    ids = identities(seed, patients)
    rows = Rows()
    with _replacing(out) as building:
        images = building / "mimic-cxr-jpg"
        draw_patient = partial(write_patient, root=images, seed=seed, size=size)
        expected_films = round(FILMS_PER_STUDY * sum(len(identity.study_ids) for identity in ids))
        with bar(expected_films, "drawing films", "film") as progress_bar:
            for patient_rows in map_ordered(draw_patient, ids, processes, chunk=4):
                rows.add(patient_rows)
                progress_bar.update(len(patient_rows.metadata))
            progress_bar.total = len(rows.metadata)
        _write_images_tables(images, rows)
        _write_other_tables(building, rows)
        (building / PHANTOM_MARKER).write_text(MARKER_TEXT.format(seed=seed))
    tables.write(truth, "truth", pd.DataFrame(rows.truth))
    return len(rows.metadata)
