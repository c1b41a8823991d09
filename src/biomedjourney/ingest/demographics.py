"""Sex, race and age from MIMIC-IV's hosp tables."""

from pathlib import Path

import numpy as np
import pandas as pd

from biomedjourney.ingest import csvs
from biomedjourney.tables import RACES

KEY = "data.demographics"
NAMES = ("patients", "admissions")
NO_ADMISSION, NOT_STATED = "no admission in MIMIC-IV", "not stated, another group, or contradictory"


def patients(folder: Path) -> pd.DataFrame:
    """Indexed by subject_id: sex (F, M or None), anchor_age and anchor_year. Errors as in `csvs`."""
    path = csvs.find(folder, "patients", KEY)
    data = csvs.read(path, ["subject_id", "gender", "anchor_age", "anchor_year"])
    csvs.distinct(path, data, "subject_id")
    subjects = csvs.whole(path, data, "subject_id")
    return pd.DataFrame(
        {
            "sex": csvs.chosen_from(path, data, "gender", {"F": "F", "M": "M", None: None}),
            "anchor_age": csvs.whole(path, data, "anchor_age", least=0),
            "anchor_year": csvs.whole(path, data, "anchor_year"),
        },
        index=pd.Index(subjects, name="subject_id"),
    )


def races(folder: Path) -> pd.Series:
    """Asian, Black, White or null of each subject that was admitted, by the most frequent group of the admissions.

    Every string that MIMIC-IV uses counts for the group whose name it begins with ("WHITE - RUSSIAN", "BLACK/CAPE
    VERDEAN"), and for none of the three otherwise (other groups, unknown, declined). Null where no group, or a tie,
    is the most frequent. Old versions call the column ethnicity.
    """
    path = csvs.find(folder, "admissions", KEY)
    data = csvs.read(path, ["subject_id", ("race", "ethnicity")])
    stated = data["race"].to_pandas()
    groups = {name: group_of(name) for name in stated.dropna().unique()}
    return most_frequent(csvs.whole(path, data, "subject_id"), stated.map(groups).to_numpy(dtype=object))


def group_of(name: str) -> str | None:
    for group in RACES:
        if name.strip().upper().startswith(group.upper()):
            return group
    return None


def most_frequent(subjects: np.ndarray, groups: np.ndarray) -> pd.Series:
    """The most frequent group of each subject; null (which counts as a group) where it is that, or in a tie."""
    data = pd.DataFrame({"subject_id": subjects, "group": pd.Series(groups, dtype=object).fillna("")})
    counts = data.value_counts().rename("count").reset_index()
    best = counts[counts["count"] == counts.groupby("subject_id")["count"].transform("max")]
    alone = best.drop_duplicates("subject_id", keep=False).set_index("subject_id")["group"]
    return alone.replace("", None).astype(object).reindex(np.unique(subjects)).astype(object)
