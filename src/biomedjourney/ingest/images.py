"""Reads the tables of MIMIC-CXR-JPG: metadata, official split, labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from biomedjourney.ingest import csvs
from biomedjourney.tables import CHEXPERT_LABELS

KEY = "data.images (or data.tables)"
PREFIX = "mimic-cxr-2.0.0"  # version 2.1.0 uses these names too
TEST_SET = "mimic-cxr-2.1.0-test-set-labeled"
LARGEST_SIDE = 100_000  # pixels
TITLES = {label: label.replace("_", " ").title() for label in CHEXPERT_LABELS}


def names(labeller: str, test_set: bool) -> list[str]:
    """The names of the CSV files that are read."""
    return [*(f"{PREFIX}-{name}" for name in ("metadata", "split", labeller)), *([TEST_SET] if test_set else [])]


def metadata(folder: Path, largest_share: float) -> pd.DataFrame:
    """One row per image: dicom_id, subject_id, study_id, view (None where blank), rows, columns, study_time.

    An odd cell leaves an image or a study out, and the columns ``reason`` and ``study_reason`` say why; they are empty
    for the others. An image is left out without a name, study or patient of its own, a study with an odd date or time
    or with two patients. An odd size is null. Where there is no name, dicom_id gives the line. Raises UserError as
    `csvs` does.
    """
    path = csvs.find(folder, f"{PREFIX}-metadata", KEY)
    columns = ["dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns", "StudyDate", "StudyTime"]
    table = csvs.read(path, columns, largest_share)
    names, is_name = table.matching("dicom_id", r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    table.mark(~is_name, "dicom_id", "not the name of an image")
    dicom_ids = names.to_pandas().where(is_name)
    single = table.single("dicom_id", dicom_ids)
    result = pd.DataFrame(
        {
            "dicom_id": dicom_ids,
            "subject_id": table.whole("subject_id", 10_000_000, 19_999_999),  # folders p10 to p19
            "study_id": table.whole("study_id"),
            "view": table.data["ViewPosition"].to_pandas().str.strip().str.upper().replace("", None),
            "rows": table.whole("Rows", most=LARGEST_SIDE),
            "columns": table.whole("Columns", most=LARGEST_SIDE),
            "study_time": times(table),
        }
    )
    studies = result["subject_id"].groupby(result["study_id"])
    two_patients = (studies.transform("min") != studies.transform("max")).fillna(False).to_numpy(dtype=bool)
    table.mark(two_patients, "subject_id", "not the same in all rows of the study")
    table.stop_if_too_many()
    result["reason"] = table.reason("dicom_id", "study_id", "subject_id")
    result.loc[two_patients, "reason"] = ""
    result["study_reason"] = table.reason("StudyDate", "StudyTime")
    result.loc[two_patients, "study_reason"] = table.reason("subject_id")[two_patients]
    unnamed = result.index[~is_name | (dicom_ids.duplicated().to_numpy() & ~single)]
    result.loc[unnamed, "dicom_id"] = [f"line {table.line(row)} of {path.name}" for row in unnamed]
    names_of_unequal = [f"line {line} of {path.name}" for line in table.unequal_lines]
    unequal = pd.DataFrame({"dicom_id": names_of_unequal, "reason": csvs.UNEQUAL, "study_reason": ""})
    return pd.concat([result, unequal], ignore_index=True) if names_of_unequal else result


def times(table: csvs.Rows) -> np.ndarray:
    """StudyDate (yyyymmdd) and StudyTime (hhmmss.fff without leading zeros) as datetime64[ms]; NaT where one is odd.

    Second 60 is a leap second, as DICOM allows it, and counts as the first one of the next minute.
    """
    cells, _ = table.matching("StudyDate", r"^[0-9]{8}$", strip=r"^\s+|(\.0*)?\s*$")
    like_a_date = pc.if_else(pc.match_substring_regex(cells, r"^[0-9]{8}$"), cells, pa.scalar(None, pa.string()))
    dates = pd.to_datetime(like_a_date.to_pandas(), format="%Y%m%d", errors="coerce")
    table.mark(dates.isna().to_numpy(), "StudyDate", "not a date as yyyymmdd")
    cells, good = table.matching("StudyTime", r"^[0-9]{1,6}(\.[0-9]*)?$")
    number = pc.cast(pc.if_else(pa.array(good), cells, "0"), pa.float64()).to_numpy()
    whole = number.astype(np.int64)
    hours, minutes, seconds = whole // 10_000, whole // 100 % 100, whole % 100
    good &= (hours < 24) & (minutes < 60) & (seconds <= 60)
    table.mark(~good, "StudyTime", "not a time as hhmmss.fff")
    milliseconds = np.floor((number - whole) * 1000 + 1e-6).astype(np.int64)  # 1e-6: .531 may be .53099999
    of_day = ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds
    result = dates.to_numpy().astype("datetime64[ms]") + of_day.astype("timedelta64[ms]")
    result[~good] = np.datetime64("NaT")
    return result


def official_split(folder: Path, largest_share: float) -> tuple[pd.Series, dict[str, str]]:
    """train, validation or test by dicom_id, as MIMIC-CXR-JPG publishes it; the images with an odd one, and why."""
    path = csvs.find(folder, f"{PREFIX}-split", KEY)
    table = csvs.read(path, ["dicom_id", "split"], largest_share)
    names, _ = table.matching("dicom_id", r"^\S(.*\S)?$")
    dicom_ids = names.to_pandas()
    table.mark(dicom_ids.isna().to_numpy(), "dicom_id", "blank")
    single = table.single("dicom_id", dicom_ids)
    values: dict[str | None, str] = {"train": "train", "validate": "validation", "test": "test"}
    splits = pd.Series(table.translated("split", values), index=dicom_ids)
    table.stop_if_too_many()
    splits = splits[single & splits.notna().to_numpy()]
    return splits, _reasons(table.reason("split", "dicom_id"), dicom_ids, splits.index)


def labels(folder: Path, labeller: str, test_set: bool, largest_share: float) -> tuple[pd.DataFrame, dict[int, str]]:
    """The 14 labels by study_id, Int8: 1, 0, -1 (uncertain), null (not mentioned); the studies with odd ones, and why.

    With ``test_set`` the radiologists' labels of version 2.1.0 replace the labeller's in the studies that have them.
    Where "No Finding" is 1, blank labels become 0.
    """
    result, odd = _read_labels(csvs.find(folder, f"{PREFIX}-{labeller}", KEY), TITLES, largest_share)
    if test_set:
        titles = TITLES | {"lung_opacity": "Airspace Opacity"}
        path = csvs.find(folder, TEST_SET, f"{KEY}, or set ingest.test_set_labels to false")
        test_labels, odd_in_test_set = _read_labels(path, titles, largest_share)
        odd = {study: reason for study, reason in odd.items() if study not in test_labels.index} | odd_in_test_set
        result = pd.concat([result[~result.index.isin(test_labels.index)], test_labels])
    normal = (result["no_finding"] == 1).fillna(False).to_numpy(dtype=bool)
    result.loc[normal] = result.loc[normal].fillna(0)
    return result, odd


def _read_labels(path: Path, titles: dict[str, str], largest_share: float) -> tuple[pd.DataFrame, dict[int, str]]:
    table = csvs.read(path, ["study_id", *titles.values()], largest_share)
    studies = pd.Series(table.whole("study_id"))
    single = table.single("study_id", studies)
    values: dict[str | None, int | None] = {"1": 1, "0": 0, "-1": -1, None: None}
    columns = {label: pd.array(table.translated(title, values), dtype="Int8") for label, title in titles.items()}
    table.stop_if_too_many()
    kept = single & ~table.is_odd(*titles.values())
    rows = pd.DataFrame(columns)[kept].set_index(studies[kept].astype("int64").rename("study_id"))
    return rows, _reasons(table.reason(*titles.values(), "study_id"), studies, rows.index)


def _reasons(reasons: np.ndarray, keys: pd.Series, kept: pd.Index) -> dict[Any, str]:
    """The reason for each key that has one, where no row of it is kept."""
    odd = (reasons != "") & keys.notna().to_numpy()
    reason_by_key = dict(zip(keys[odd], reasons[odd], strict=True))
    for key in kept.intersection(list(reason_by_key)) if reason_by_key else ():
        del reason_by_key[key]
    return reason_by_key


def paths(images: pd.DataFrame, suffix: str) -> pd.Series:
    """Paths below the folder of the image files: files/p10/p10000032/s50414267/<dicom_id>.jpg (or .dcm)."""
    subject, study = images["subject_id"].astype(str), images["study_id"].astype(str)
    return "files/p" + subject.str[:2] + "/p" + subject + "/s" + study + "/" + images["dicom_id"] + f".{suffix}"
