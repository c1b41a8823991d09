"""Reads the tables of MIMIC-CXR-JPG: metadata, official split, labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from biomedjourney.ingest import csvs
from biomedjourney.tables import CHEXPERT_LABELS

KEY = "data.images (or data.tables)"
PREFIX = "mimic-cxr-2.0.0"  # version 2.1.0 uses these names too
TEST_SET = "mimic-cxr-2.1.0-test-set-labeled"
TITLES = {label: label.replace("_", " ").title() for label in CHEXPERT_LABELS}


def names(labeller: str, test_set: bool) -> list[str]:
    """The names of the CSV files that are read."""
    return [*(f"{PREFIX}-{name}" for name in ("metadata", "split", labeller)), *([TEST_SET] if test_set else [])]


def metadata(folder: Path) -> pd.DataFrame:
    """One row per image: dicom_id, subject_id, study_id, view (None where blank), rows, columns, study_time.

    Raises UserError as `csvs` does, and for an image that is listed twice or a study of two patients.
    """
    path = csvs.find(folder, f"{PREFIX}-metadata", KEY)
    columns = ["dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns", "StudyDate", "StudyTime"]
    data = csvs.read(path, columns)
    csvs.require(path, data, "dicom_id", pc.is_valid(data["dicom_id"]), "the name of an image")
    csvs.distinct(path, data, "dicom_id")
    result = pd.DataFrame(
        {
            "dicom_id": data["dicom_id"].to_pandas(),
            "subject_id": csvs.whole(path, data, "subject_id"),
            "study_id": csvs.whole(path, data, "study_id"),
            "view": data["ViewPosition"].to_pandas().str.strip().replace("", None),
            "rows": csvs.whole(path, data, "Rows"),
            "columns": csvs.whole(path, data, "Columns"),
            "study_time": times(path, data),
        }
    )
    patients = result.groupby("study_id")["subject_id"].transform("min").to_numpy()
    csvs.require(path, data, "subject_id", result["subject_id"].to_numpy() == patients, "one patient for each study")
    in_folders = result["subject_id"].between(10_000_000, 19_999_999).to_numpy()
    csvs.require(path, data, "subject_id", in_folders, "a number from 10000000 to 19999999 (folders p10 to p19)")
    return result


def times(path: Path, data: pa.Table) -> np.ndarray:
    """StudyDate (yyyymmdd) and StudyTime (hhmmss.fff without leading zeros) as datetime64[ms]."""
    eight_digits = pc.match_substring_regex(data["StudyDate"], r"^[0-9]{8}$")
    csvs.require(path, data, "StudyDate", eight_digits, "a date as yyyymmdd")
    dates = pd.to_datetime(data["StudyDate"].to_pandas(), format="%Y%m%d", errors="coerce")
    csvs.require(path, data, "StudyDate", dates.notna().to_numpy(), "a date as yyyymmdd")
    like_a_time = pc.match_substring_regex(data["StudyTime"], r"^[0-9]{1,6}(\.[0-9]*)?$")
    csvs.require(path, data, "StudyTime", like_a_time, "a time as hhmmss.fff")
    number = pc.cast(data["StudyTime"], pa.float64()).to_numpy()
    whole = number.astype(np.int64)
    hours, minutes, seconds = whole // 10_000, whole // 100 % 100, whole % 100
    valid = (hours < 24) & (minutes < 60) & (seconds < 60)
    csvs.require(path, data, "StudyTime", valid, "a time as hhmmss.fff")
    milliseconds = np.floor((number - whole) * 1000 + 1e-6).astype(np.int64)  # 1e-6: .531 may be .53099999
    of_day = ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds
    return dates.to_numpy().astype("datetime64[ms]") + of_day.astype("timedelta64[ms]")


def official_split(folder: Path) -> pd.Series:
    """train, validation or test by dicom_id, as MIMIC-CXR-JPG publishes it."""
    path = csvs.find(folder, f"{PREFIX}-split", KEY)
    data = csvs.read(path, ["dicom_id", "split"])
    csvs.distinct(path, data, "dicom_id")
    splits: dict[str | None, str] = {"train": "train", "validate": "validation", "test": "test"}
    return pd.Series(csvs.translated(path, data, "split", splits), index=pd.Index(data["dicom_id"].to_pandas()))


def labels(folder: Path, labeller: str, test_set: bool) -> pd.DataFrame:
    """The 14 labels by study_id, Int8: 1, 0, -1 (uncertain), null (not mentioned).

    With ``test_set`` the radiologists' labels of version 2.1.0 replace the labeller's in the studies that have them.
    Where "No Finding" is 1, blank labels become 0.
    """
    result = _read_labels(csvs.find(folder, f"{PREFIX}-{labeller}", KEY), TITLES)
    if test_set:
        titles = TITLES | {"lung_opacity": "Airspace Opacity"}
        path = csvs.find(folder, TEST_SET, f"{KEY}, or set ingest.test_set_labels to false")
        test_labels = _read_labels(path, titles)
        result = pd.concat([result[~result.index.isin(test_labels.index)], test_labels])
    normal = (result["no_finding"] == 1).fillna(False).to_numpy(dtype=bool)
    result.loc[normal] = result.loc[normal].fillna(0)
    return result


def _read_labels(path: Path, titles: dict[str, str]) -> pd.DataFrame:
    data = csvs.read(path, ["study_id", *titles.values()])
    csvs.distinct(path, data, "study_id")
    values = {"1.0": 1, "0.0": 0, "-1.0": -1, "1": 1, "0": 0, "-1": -1, None: None}
    columns = {
        label: pd.array(csvs.translated(path, data, title, values), dtype="Int8") for label, title in titles.items()
    }
    return pd.DataFrame(columns, index=pd.Index(csvs.whole(path, data, "study_id"), name="study_id"))


def paths(images: pd.DataFrame, suffix: str) -> pd.Series:
    """Paths below the folder of the image files: files/p10/p10000032/s50414267/<dicom_id>.jpg (or .dcm)."""
    subject, study = images["subject_id"].astype(str), images["study_id"].astype(str)
    return "files/p" + subject.str[:2] + "/p" + subject + "/s" + study + "/" + images["dicom_id"] + f".{suffix}"
