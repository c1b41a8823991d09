"""A handful of patients as raw files in the layout of MIMIC-CXR-JPG, MIMIC-CXR and MIMIC-IV."""

import csv
import gzip
import io
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LABELS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture"),
    *("Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia"),
    *("Pneumothorax", "Support Devices"),
)
METADATA = (
    *("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns"),
    *("StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning"),
    "PatientOrientationCodeSequence_CodeMeaning",
)
REPORT = "                 FINAL REPORT\n FINDINGS:  Lungs of {study} are clear.\n\n IMPRESSION:  Normal {study}.\n"

# the pixels of every image file, 12 bits
RAMP = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)

# subject, study, date, time, views
STUDIES = (
    (10000032, 50000009, "21800506", "213014.531", ("PA", "LATERAL")),
    (10000032, 50000003, "21800626", "91234.5", ("PA", "PA")),
    (10000032, 50000005, "21800626", "5", ("AP",)),
    (11000011, 51000001, "21510101", "000001", ("PA",)),
    (11000011, 51000002, "21530101", "120000", ("", "PA")),
    (19000019, 59000002, "21400101", "120000.0", ("PA",)),
    (19000019, 59000001, "21400301", "120000.0", ("PA",)),
)


@dataclass
class RawFiles:
    """Rows that a test may change before `write` puts them into files below ``folder``."""

    folder: Path
    metadata: list[dict[str, Any]] = field(default_factory=list)
    split: list[dict[str, Any]] = field(default_factory=list)
    chexpert: list[dict[str, Any]] = field(default_factory=list)
    patients: list[dict[str, Any]] = field(default_factory=list)
    admissions: list[dict[str, Any]] = field(default_factory=list)
    reports: dict[str, bytes] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        data = {"images": self.jpg, "reports": self.reports_path, "demographics": self.folder / "hosp"}
        chosen = {"labels": "chexpert", "test_set_labels": False, "image_format": "jpg"}
        chosen |= {"largest_refused_share": 0.001, "checksums": False}
        return {"data": {key: str(path) for key, path in data.items()} | {"tables": None}, "ingest": chosen}

    @property
    def jpg(self) -> Path:
        return self.folder / "mimic-cxr-jpg"

    @property
    def reports_path(self) -> Path:
        return self.folder / "mimic-cxr" / "mimic-cxr-reports.zip"

    def write(self) -> None:
        for name in ("metadata", "split", "chexpert"):
            write_csv(self.jpg / f"mimic-cxr-2.0.0-{name}.csv.gz", getattr(self, name))
        write_csv(self.folder / "hosp" / "patients.csv.gz", self.patients)
        write_csv(self.folder / "hosp" / "admissions.csv.gz", self.admissions)
        write_zip(self.reports_path, self.reports)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_zip(path: Path, reports: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("files/", b"")
        for name, content in reports.items():
            archive.writestr(name, content)


def write_tar(path: Path, reports: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in reports.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def write_folder(path: Path, reports: dict[str, bytes]) -> None:
    for name, content in reports.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


def report_name(subject: int, study: int) -> str:
    return f"files/p{str(subject)[:2]}/p{subject}/s{study}.txt"


def label_row(subject: int, study: int, **labels: str) -> dict[str, Any]:
    named = {name.replace("_", " "): value for name, value in labels.items()}
    return {"subject_id": subject, "study_id": study} | dict.fromkeys(LABELS, "") | named


def raw_files(folder: Path) -> RawFiles:
    """Three patients, seven studies, ten images, all in order."""
    raw = RawFiles(folder)
    for subject, study, date, time, views in STUDIES:
        for i, view in enumerate(views):
            dicom = f"{study}-{i}"
            row = dict.fromkeys(METADATA, "") | {"dicom_id": dicom, "subject_id": subject, "study_id": study}
            row |= {"ViewPosition": view, "Rows": 3056 + i, "Columns": 2544, "StudyDate": date, "StudyTime": time}
            row["ProcedureCodeSequence_CodeMeaning"] = "CHEST (PA AND LAT), 2 VIEWS"
            raw.metadata.append(row)
            raw.split.append({"dicom_id": dicom, "study_id": study, "subject_id": subject, "split": "train"})
        raw.chexpert.append(label_row(subject, study, Edema="1.0", Pneumonia="-1.0", Fracture="0.0"))
        raw.reports[report_name(subject, study)] = REPORT.format(study=study).encode()
    for subject in dict.fromkeys(study[0] for study in STUDIES):
        anchors = {"anchor_age": 52, "anchor_year": 2150, "anchor_year_group": "2014 - 2016", "dod": ""}
        raw.patients.append({"subject_id": subject, "gender": "F"} | anchors)
        raw.admissions.append({"subject_id": subject, "hadm_id": subject + 1, "race": "WHITE - RUSSIAN"})
    return raw


def write_jpeg(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((RAMP % 251).astype(np.uint8)).save(path, quality=95)


def write_dicom(path: Path, implicit: bool = False) -> None:
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    film = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    film.Rows, film.Columns = RAMP.shape
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME1"
    film.PixelData = RAMP.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    film.save_as(path, enforce_file_format=True)
