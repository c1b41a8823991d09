"""How far edits whose result is known without a real picture are from the prior."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney import measures
from biomedjourney.beyond import weighted_mean
from biomedjourney.evaluate import scoring
from biomedjourney.evaluate.comparisons import difference_to_prior, prior_scores, ssim_prior
from biomedjourney.evaluate.pictures import RealPictures


def measure(
    system: str,
    trials: Path,
    judges: Any,
    triples: pd.DataFrame,
    real: RealPictures,
    settings: dict[str, Any],
) -> pd.DataFrame:
    """The table `soundness`: the distances of each trial's pictures to the prior.

    ``trials``: the table of that name. ``triples``: the compared test pairs. Raises UserError where a trial does not
    cover the pairs of the others.
    """
    comparisons = (partial(prior_scores, judges=judges), difference_to_prior, ssim_prior)
    batch_size = settings["evaluate"]["batch_size"]
    tried = scoring.score_file(trials, "trials", ["trial", "pair_id"], judges, batch_size, real, comparisons)
    scoring.require_labels(tried, settings["labels"]["findings"])
    pairs = set(tried["pair_id"])
    subjects = triples.set_index("pair_id")["subject_id"]
    rows = []
    for trial, group in tried.groupby("trial", sort=False):
        scoring.require_pairs(group["pair_id"], pairs, f"{trials}: trial {trial}")
        group = group.sort_values("pair_id", ignore_index=True)
        weights = measures.patient_weights(
            subjects.loc[group["pair_id"]].to_numpy(), settings["evaluate"]["bootstrap"], settings["seed"]
        )
        row: dict[str, Any] = {"system": system, "trial": trial, "n": len(group)}
        for name, values in _distances(group, settings["labels"]["findings"]).items():
            ends = measures.interval(weighted_mean(values, weights))
            row |= {f"{name}{end}": value for end, value in zip(("", "_low", "_high"), ends, strict=True)}
        rows.append(row)
    return pd.DataFrame(rows)


def _distances(scores: pd.DataFrame, findings: Sequence[str]) -> dict[str, np.ndarray]:
    """The distances to the prior, row by row."""
    of_picture, of_prior = (
        scores[[f"{prefix}pathology_{name}" for name in findings]].to_numpy(dtype=float) for prefix in ("", "prior_")
    )
    return {
        "difference": scores["difference_to_prior"].to_numpy(dtype=float),
        "ssim": scores["ssim_prior"].to_numpy(dtype=float),
        "score_difference": np.abs(of_picture - of_prior).mean(axis=1),
    }
