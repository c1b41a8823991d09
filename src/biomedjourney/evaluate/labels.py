"""What a picture should show: labels, race and age of the current study of each pair."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney.errors import UserError
from biomedjourney.pretrain.targets import binary_labels
from biomedjourney.tables import RACES


@dataclass(frozen=True)
class Targets:
    """The targets of n rows, NaN where a row does not count for a measure."""

    findings: np.ndarray  # (n, labels), 0 or 1
    race: np.ndarray  # (n, 3), 0 or 1 in the order of RACES; all NaN where the race is unknown
    age: np.ndarray  # (n,), years
    true_findings: np.ndarray | None = None  # (n, labels), the phantom's truth

    def take(self, rows: np.ndarray) -> "Targets":
        true = None if self.true_findings is None else self.true_findings[rows]
        return Targets(self.findings[rows], self.race[rows], self.age[rows], true)


def true_labels(truth: pd.DataFrame, findings: list[str]) -> np.ndarray:
    """1 where the true severity is above 0 on any side; NaN for a finding that the truth does not have."""
    result = np.full((len(truth), len(findings)), np.nan)
    for i, finding in enumerate(findings):
        prefix = f"severity_{finding}"
        columns = [c for c in truth.columns if c == prefix or c.startswith(f"{prefix}_")]
        if columns:
            result[:, i] = (truth[columns].to_numpy(dtype=float) > 0).any(axis=1)
    return result


def one_hot_race(race: pd.Series) -> np.ndarray:
    """(n, 3) of 0 and 1 in the order of RACES, all NaN for a patient with no known race."""
    result = np.stack([(race == name).fillna(False).to_numpy(dtype=float) for name in RACES], axis=1)
    result[race.isna().to_numpy()] = np.nan
    return result


def attributes(pairs: pd.DataFrame, studies: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
    """One row a pair, indexed by pair_id: what is known of its current study and of its patient.

    Raises UserError for a pair whose study or patient is in no table.
    """
    rows = pairs.merge(studies.drop(columns="subject_id"), on="study_id", how="left", indicator="in_studies")
    rows = rows.merge(patients, on="subject_id", how="left", indicator="in_patients")
    for indicator, name, column in (("in_studies", "studies", "study_id"), ("in_patients", "patients", "subject_id")):
        lost = rows[rows[indicator] != "both"].to_dict("records")
        if lost:
            raise UserError(
                f"table {name}: {column} {lost[0][column]} of pair {lost[0]['pair_id']} is not there: "
                f"give the {name} that the pairs were made from"
            )
    return rows.drop(columns=["in_studies", "in_patients"]).set_index("pair_id")


def targets(rows: pd.DataFrame, settings: dict[str, Any], truth: pd.DataFrame | None = None) -> Targets:
    """The targets of rows made by `attributes`. Raises UserError for a study that is not in the truth."""
    true = None
    if truth is not None:
        lost = rows.loc[~rows["study_id"].isin(truth["study_id"]), "study_id"]
        if len(lost):
            raise UserError(f"table truth: study {lost.iloc[0]} is not there: give the truth of this cohort")
        true = true_labels(truth.set_index("study_id").loc[rows["study_id"]], settings["findings"])
    age = rows["age"].to_numpy(dtype=float, na_value=np.nan)
    return Targets(binary_labels(rows, settings), one_hot_race(rows["race"]), age, true)
