"""Sex, race and age from the hosp tables of MIMIC-IV."""

from pathlib import Path

import numpy as np
import pandas as pd

from biomedjourney.ingest import csvs
from biomedjourney.tables import RACES

KEY = "data.demographics"
NAMES = ("patients", "admissions")  # the CSV files that are read
NO_ADMISSION, NOT_STATED = "no admission in MIMIC-IV", "not stated, another group, or contradictory"


def patients(folder: Path) -> pd.DataFrame:
    """By subject_id: sex (F, M or None), anchor_age and anchor_year. Raises UserError as `csvs` does."""
    path = csvs.find(folder, "patients", KEY)
    data = csvs.read(path, ["subject_id", "gender", "anchor_age", "anchor_year"])
    csvs.distinct(path, data, "subject_id")
    subjects = csvs.whole(path, data, "subject_id")
    return pd.DataFrame(
        {
            "sex": csvs.translated(path, data, "gender", {"F": "F", "M": "M", None: None}),
            "anchor_age": csvs.whole(path, data, "anchor_age", least=0),
            "anchor_year": csvs.whole(path, data, "anchor_year"),
        },
        index=pd.Index(subjects, name="subject_id"),
    )


def races(folder: Path) -> pd.Series:
    """By subject_id of those admitted: Asian, Black, White or null, the most frequent group of the admissions.

    A string of MIMIC-IV belongs to the group with whose name it begins ("WHITE - RUSSIAN", "BLACK/CAPE VERDEAN"), and
    otherwise to none of the three (another group, unknown, declined). Null if none of the three is the most frequent,
    or if two groups are equally frequent. Old versions call the column ethnicity.
    """
    path = csvs.find(folder, "admissions", KEY)
    data = csvs.read(path, ["subject_id", ("race", "ethnicity")])
    stated = data["race"].to_pandas()
    groups = {name: group_of(name) for name in stated.dropna().unique()}
    return most_frequent(csvs.whole(path, data, "subject_id"), stated.map(groups).to_numpy(dtype=object))


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
