"""What a picture should show: labels, race and age of the current study of each pair, and the prior study's labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney.errors import UserError
from biomedjourney.measures import RACES, Targets
from biomedjourney.pretrain.targets import binary_labels
from biomedjourney.rewrite import rules
from biomedjourney.tables import CHEXPERT_LABELS

PRIOR = "prior_"  # begins the columns of the prior study's labels and report
WAYS = {"worse": 1.0, "improved": -1.0}


def true_severities(truth: pd.DataFrame, findings: list[str]) -> np.ndarray:
    """The true severity on the worst side, 0 to 1; NaN for a finding that the truth does not have."""
    result = np.full((len(truth), len(findings)), np.nan)
    for i, finding in enumerate(findings):
        if columns := _of_finding(truth, finding):
            result[:, i] = truth[columns].to_numpy(dtype=float).max(axis=1)
    return result


def _of_finding(truth: pd.DataFrame, finding: str) -> list[str]:
    prefix = f"severity_{finding}"
    return [name for name in truth.columns if name == prefix or name.startswith(f"{prefix}_")]


def true_labels(truth: pd.DataFrame, findings: list[str]) -> np.ndarray:
    """1 where the true severity is above 0 on any side; NaN for a finding that the truth does not have."""
    severities = true_severities(truth, findings)
    return np.where(np.isnan(severities), np.nan, severities > 0)


def one_hot_race(race: pd.Series) -> np.ndarray:
    """(n, 3) of 0 and 1 in the order of RACES, all NaN for a patient with no known race."""
    result = np.stack([(race == name).fillna(False).to_numpy(dtype=float) for name in RACES], axis=1)
    result[race.isna().to_numpy()] = np.nan
    return result


def by_study(studies: pd.DataFrame, settings: dict[str, Any]) -> pd.DataFrame:
    """The configured findings by study_id: 0, 1, or NaN where masked. ``settings`` is the section `labels`."""
    return pd.DataFrame(binary_labels(studies, settings), index=studies["study_id"], columns=settings["findings"])


def attributes(triples: pd.DataFrame, studies: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
    """One row per pair, indexed by pair_id: what is known of its current study, its patient and its prior labels.

    Raises UserError for a pair whose studies or patient are in no table.
    """
    prior = studies[["study_id", "findings", "impression", *CHEXPERT_LABELS]].add_prefix(PRIOR)
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


def views(dicom_ids: pd.Series, images: pd.DataFrame) -> pd.Series:
    """The view of each image, null where the table `images` gives none. Raises UserError for one that it lacks."""
    by_image = images.set_index("dicom_id")["view"]
    lost = dicom_ids[~dicom_ids.isin(by_image.index)]
    if len(lost):
        raise UserError(
            f"table images: dicom_id {lost.iloc[0]} is not there: give the images that the pairs were made from"
        )
    return dicom_ids.map(by_image)


def targets(rows: pd.DataFrame, settings: dict[str, Any], truth: pd.DataFrame | None = None) -> Targets:
    """The targets of rows made by `attributes`. ``settings`` is the section `labels`.

    Raises UserError for a study that is not in the truth.
    """
    true_findings = None
    if truth is not None:
        true_findings = true_labels(_of_studies(truth, rows["study_id"]), settings["findings"])
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


def changes(rows: pd.DataFrame, truth: pd.DataFrame | None, settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """What `Targets` holds of the way from the prior to the current study: ``moves``, ``changed``, true severities.

    The rules read both reports (`rewrite.rules.changes`). A pair has changed where they tell of anything, a device
    too, that is new, worse, improved or resolved, or where a label of `settings["findings"]` differs; it has not where
    they tell of no such thing and every label is known and the same; in between it is NaN.
    """
    found = targets(rows, settings)
    moves, told = np.full(found.findings.shape, np.nan), np.zeros(len(rows), dtype=bool)
    for place, row in enumerate(rows.to_dict("records")):
        every_change = rules.changes(_study(row, PRIOR), _study(row, ""))
        told[place] = any(change.direction in rules.MOVES for change in every_change)
        for i, finding in enumerate(settings["findings"]):
            directions = {change.direction for change in every_change if change.finding == finding} & {*WAYS}
            if len(directions) == 1 and (found.findings[place, i], found.prior_findings[place, i]) == (1.0, 1.0):
                moves[place, i] = WAYS[directions.pop()]
    differences = np.abs(found.findings - found.prior_findings)
    same = (differences == 0).all(axis=1)
    changed = np.where(told | (differences == 1).any(axis=1), 1.0, np.where(same, 0.0, np.nan))
    result = {"moves": moves, "changed": changed}
    if truth is not None:
        for name, studies in (("true_severity", "study_id"), ("true_severity_before", "prior_study_id")):
            result[name] = true_severities(_of_studies(truth, rows[studies]), settings["findings"])
    return result


def _study(row: Mapping[Any, Any], prefix: str) -> rules.Study:
    known = {name: row[f"{prefix}{name}"] for name in CHEXPERT_LABELS}
    numbers = {name: None if pd.isna(value) else int(value) for name, value in known.items()}
    return rules.Study(numbers, row[f"{prefix}findings"], row[f"{prefix}impression"])


def _of_studies(truth: pd.DataFrame, study_ids: pd.Series) -> pd.DataFrame:
    """The truth of these studies. Raises UserError for one that is not there."""
    lost = study_ids[~study_ids.isin(truth["study_id"])]
    if len(lost):
        raise UserError(f"table truth: study {lost.iloc[0]} is not there: give the truth of this cohort")
    return truth.set_index("study_id").loc[study_ids]
