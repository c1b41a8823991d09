"""Sex, race and age from the hosp tables of MIMIC-IV."""

from pathlib import Path

import numpy as np
import pandas as pd

from biomedjourney.ingest import csvs
from biomedjourney.tables import RACES

KEY = "data.demographics"
NAMES = ("patients", "admissions")  # the CSV files that are read
OLDEST = 120  # years
YEARS = (1900, 2300)  # MIMIC-IV shifts dates to 2100 to 2200
NO_ADMISSION, NOT_STATED = "no admission in MIMIC-IV", "not stated, another group, or contradictory"


def patients(folder: Path, largest_share: float) -> pd.DataFrame:
    """By subject_id: sex, F or M, anchor_age and anchor_year; null where odd. Raises UserError as `csvs` does."""
    path = csvs.find(folder, "patients", KEY)
    table = csvs.read(path, ["subject_id", "gender", "anchor_age", "anchor_year"], largest_share)
    subjects = pd.Series(table.whole("subject_id"))
    single = table.single("subject_id", subjects)
    values = {
        "sex": table.translated("gender", {"f": "F", "m": "M", None: None}),
        "anchor_age": table.whole("anchor_age", 0, OLDEST),
        "anchor_year": table.whole("anchor_year", *YEARS),
    }
    table.stop_if_too_many()
    return pd.DataFrame(values)[single].set_index(subjects[single].astype("int64").rename("subject_id"))


def races(folder: Path, largest_share: float) -> pd.Series:
    """By subject_id of those admitted: Asian, Black, White or null, the most frequent group of the admissions.

    A string of MIMIC-IV belongs to the group with whose name it begins ("WHITE - RUSSIAN", "BLACK/CAPE VERDEAN"), and
    otherwise to none of the three (another group, unknown, declined). Null if none of the three is the most frequent,
    or if two groups are equally frequent. Old versions call the column ethnicity. Rows without a patient are left out.
    """
    path = csvs.find(folder, "admissions", KEY)
    table = csvs.read(path, ["subject_id", ("race", "ethnicity")], largest_share)
    stated = table.data["race"].to_pandas()
    groups = {name: group_of(name) for name in stated.dropna().unique()}
    subjects = table.whole("subject_id")
    table.stop_if_too_many()
    known = ~subjects.isna()
    return most_frequent(subjects[known].to_numpy(np.int64), stated.map(groups).to_numpy(dtype=object)[known])


def group_of(name: str) -> str | None:
    """The race group of a string of MIMIC-IV, or None."""
    for group in RACES:
        if name.strip().upper().startswith(group.upper()):
            return group
    return None


def most_frequent(subjects: np.ndarray, groups: np.ndarray) -> pd.Series:
    """The most frequent group of each subject. Null counts as a group; two equally frequent groups give null."""
    data = pd.DataFrame({"subject_id": subjects, "group": pd.Series(groups, dtype=object).fillna("")})
    counts = data.value_counts().rename("count").reset_index()
    most = counts[counts["count"] == counts.groupby("subject_id")["count"].transform("max")]
    single = most.drop_duplicates("subject_id", keep=False).set_index("subject_id")["group"]
    return single.replace("", None).astype(object).reindex(np.unique(subjects)).astype(object)
