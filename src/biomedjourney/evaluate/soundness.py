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

EDIT = "edit"  # the system's own pictures of the same pairs
DISTANCES = ("difference", "ssim", "score_difference")


def measure(
    system: str,
    trials: Path,
    generated: Sequence[Path],
    judges: Any,
    triples: pd.DataFrame,
    real: RealPictures,
    settings: dict[str, Any],
) -> pd.DataFrame:
    """The table `soundness`: the distances of each trial's pictures to the prior, and those of the system's pictures.

    ``trials``: the table of that name. ``generated``: every shard of the system's table. ``triples``: the compared
    test pairs. Raises UserError where a trial does not cover the pairs of the others.
    """
    score = partial(
        scoring.score_file,
        judges=judges,
        batch_size=settings["evaluate"]["batch_size"],
        real=real,
        comparisons=(partial(prior_scores, judges=judges), difference_to_prior, ssim_prior),
    )
    tried = score(trials, "trials", ["trial", "pair_id"])
    scoring.require_labels(tried, settings["labels"]["findings"])
    pairs = set(tried["pair_id"])
    key = [*scoring.SEEDS, "pair_id"]
    edited = pd.concat([score(path, "generated", key) for path in generated])
    edited = edited[edited["pair_id"].isin(pairs)].sort_values(key).drop_duplicates("pair_id")
    subjects = triples.set_index("pair_id")["subject_id"]
    rows = []
    for trial, group in pd.concat([edited.assign(trial=EDIT), tried]).groupby("trial", sort=False):
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
    """`DISTANCES` to the prior, row by row."""
    of_picture, of_prior = (
        scores[[f"{prefix}pathology_{name}" for name in findings]].to_numpy(dtype=float) for prefix in ("", "prior_")
    )
    columns = (scores["difference_to_prior"], scores["ssim_prior"], np.abs(of_picture - of_prior).mean(axis=1))
    return {name: np.asarray(values, dtype=float) for name, values in zip(DISTANCES, columns, strict=True)}
