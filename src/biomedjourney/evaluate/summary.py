"""From scores to the tables of measures."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney.evaluate import measures
from biomedjourney.evaluate.labels import Targets
from biomedjourney.tables import MEASURES, RACES


def race_auc(scores: pd.DataFrame, targets: Targets, weights: np.ndarray) -> np.ndarray:
    """The macro mean of one race against the rest, over the groups that are present. Returns (replicates,)."""
    return measures.mean_auc(_columns(scores, "race_", RACES), targets.race, weights)


def age_r(scores: pd.DataFrame, targets: Targets, weights: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the estimated age with the patient's. Returns (replicates,)."""
    return measures.correlation(scores["age"].to_numpy(dtype=float), targets.age, weights)


def pathology_auc(scores: pd.DataFrame, findings: list[str], positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean AUC over the findings that have both classes. Returns (replicates,)."""
    return measures.mean_auc(_columns(scores, "pathology_", findings), positive, weights)


def _columns(scores: pd.DataFrame, prefix: str, names: Any) -> np.ndarray:
    return scores[[f"{prefix}{name}" for name in names]].to_numpy(dtype=float)


def measure(
    scores: pd.DataFrame, targets: Targets, findings: list[str], replicates: int, seed: int
) -> dict[str, float | int | None]:
    """One row of measures: n pairs, each measure with ``_low`` and ``_high`` (95 %, bootstrap over patients).

    The rows of ``scores`` (one a pair and seed, all seeds pooled) and of ``targets`` correspond. Null where a
    measure is undefined.
    """
    weights = measures.patient_weights(scores["subject_id"].to_numpy(), replicates, seed)
    values = {
        "pathology_auc": pathology_auc(scores, findings, targets.findings, weights),
        "race_auc": race_auc(scores, targets, weights),
        "age_r": age_r(scores, targets, weights),
    }
    values["cmig"] = measures.combine(*values.values())
    row: dict[str, float | int | None] = {"n": int(scores["pair_id"].nunique())}
    for name in MEASURES:
        row |= _with_interval(name, values[name])
    row["pathology_auc_true"] = None
    if targets.true_findings is not None:
        row["pathology_auc_true"] = _null(pathology_auc(scores, findings, targets.true_findings, weights[:1])[0])
    return row


def measure_finding(
    scores: pd.DataFrame, targets: Targets, findings: list[str], finding: str, replicates: int, seed: int
) -> dict[str, float | int | None]:
    """The pathology AUC of one finding, as a row whose other measures are null; n counts the labelled pairs."""
    i = findings.index(finding)
    known = ~np.isnan(targets.findings[:, i])
    row: dict[str, float | int | None] = {f"{name}{end}": None for name in MEASURES for end in ("", "_low", "_high")}
    weights = measures.patient_weights(scores["subject_id"].to_numpy(), replicates, seed)
    predicted = _columns(scores, "pathology_", [finding])[:, 0]
    row |= _with_interval("pathology_auc", measures.auc(predicted, targets.findings[:, i], weights))
    row["n"] = int(scores.loc[known, "pair_id"].nunique())
    row["pathology_auc_true"] = None
    if targets.true_findings is not None:
        row["pathology_auc_true"] = _null(measures.auc(predicted, targets.true_findings[:, i], weights[:1])[0])
    return row


def _with_interval(name: str, values: np.ndarray) -> dict[str, float | int | None]:
    estimate, low, high = (_null(value) for value in measures.interval(values))
    return {name: estimate, f"{name}_low": low, f"{name}_high": high}


def _null(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def undefined_findings(targets: Targets, findings: list[str]) -> list[str]:
    """The findings that lack a class, so that they have no AUC and are left out of the mean."""
    return [f for i, f in enumerate(findings) if not {0.0, 1.0} <= set(targets.findings[:, i])]


def groups(rows: pd.DataFrame, settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """The subgroups of rows made by `labels.attributes`, as masks: by race, sex, age and interval.

    ``settings`` is the section `evaluate`; its bounds ``age_groups`` (years) and ``interval_groups`` (days) belong
    to the group above them. A group with no rows is left out.
    """
    race, sex = rows["race"].fillna("unknown").to_numpy(), rows["sex"].fillna("unknown").to_numpy()
    result = {f"race={name}": race == name for name in (*RACES, "unknown")}
    result |= {f"sex={name}": sex == name for name in ("F", "M", "unknown")}
    result |= _between("age", rows["age"], settings["age_groups"])
    result |= _between("interval_days", rows["interval_days"], settings["interval_groups"])
    return {name: mask for name, mask in result.items() if mask.any()}


def _between(name: str, values: pd.Series, bounds: list[float]) -> dict[str, np.ndarray]:
    numbers, bounds = values.to_numpy(dtype=float, na_value=np.nan), sorted(bounds)
    result = {f"{name}<{bounds[0]}": numbers < bounds[0]}
    for low, high in pairwise(bounds):
        result[f"{name}={low}-{high - 1}"] = (numbers >= low) & (numbers < high)
    result[f"{name}>={bounds[-1]}"] = numbers >= bounds[-1]
    result[f"{name}=unknown"] = np.isnan(numbers)
    return result
