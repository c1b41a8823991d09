"""What a picture should show: labels, race and age of the current study of each pair, and the prior study's labels."""

from typing import Any

import numpy as np
import pandas as pd

from biomedjourney.errors import UserError
from biomedjourney.measures import RACES, Targets
from biomedjourney.pretrain.targets import binary_labels
from biomedjourney.tables import CHEXPERT_LABELS

PRIOR = "prior_"  # begins the columns of the prior study's labels


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


def attributes(triples: pd.DataFrame, studies: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
    """One row per pair, indexed by pair_id: what is known of its current study, its patient and its prior labels.

    Raises UserError for a pair whose studies or patient are in no table.
    """
    prior = studies[["study_id", *CHEXPERT_LABELS]].add_prefix(PRIOR)
    rows = triples.merge(studies.drop(columns="subject_id"), on="study_id", how="left", indicator="in_studies")
    rows = rows.merge(prior, on="prior_study_id", how="left", indicator="in_priors")
    rows = rows.merge(patients, on="subject_id", how="left", indicator="in_patients")
    for indicator, name, column in (
        ("in_studies", "studies", "study_id"),
        ("in_priors", "studies", "prior_study_id"),
        ("in_patients", "patients", "subject_id"),
    ):
        lost = rows[rows[indicator] != "both"].to_dict("records")
        if lost:
            raise UserError(
                f"table {name}: {column} {lost[0][column]} of pair {lost[0]['pair_id']} is not there: "
                f"give the {name} that the pairs were made from"
            )
    return rows.drop(columns=["in_studies", "in_priors", "in_patients"]).set_index("pair_id")


def targets(rows: pd.DataFrame, settings: dict[str, Any], truth: pd.DataFrame | None = None) -> Targets:
    """The targets of rows made by `attributes`. ``settings`` is the section `labels`.

    Raises UserError for a study that is not in the truth.
    """
    true_findings = None
    if truth is not None:
        lost = rows.loc[~rows["study_id"].isin(truth["study_id"]), "study_id"]
        if len(lost):
            raise UserError(f"table truth: study {lost.iloc[0]} is not there: give the truth of this cohort")
        true_findings = true_labels(truth.set_index("study_id").loc[rows["study_id"]], settings["findings"])
    prior = rows[[f"{PRIOR}{name}" for name in CHEXPERT_LABELS]].set_axis(list(CHEXPERT_LABELS), axis="columns")
    blanks_masked = settings | {"blank": "masked"}
    return Targets(
        findings=binary_labels(rows, settings),
        prior_findings=binary_labels(prior, settings),
        mentioned=~np.isnan(binary_labels(rows, blanks_masked) + binary_labels(prior, blanks_masked)),
        race=one_hot_race(rows["race"]),
        age=rows["age"].to_numpy(dtype=float, na_value=np.nan),
        true_findings=true_findings,
    )
