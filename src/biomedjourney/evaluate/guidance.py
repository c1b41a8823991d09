"""Chooses each system's guidance scales on validation patients."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney import tables
from biomedjourney.evaluate import labels, scoring, summary

SCALES = ["text_scale", "image_scale"]


def choose(measured: pd.DataFrame) -> pd.Series:
    """True at the row to use: the highest CMIG, then the highest pathology AUC, then the lowest scales.

    A CMIG that is undefined counts as the lowest. ``measured`` holds the rows of one system.
    """
    ranked = measured.assign(cmig=measured["cmig"].fillna(-1.0), pathology_auc=measured["pathology_auc"].fillna(-1.0))
    ranked = ranked.sort_values(["cmig", "pathology_auc", *SCALES], ascending=[False, False, True, True])
    return pd.Series(measured.index == ranked.index[0], index=measured.index)


def sweep(path: Path, judges: Any, pairs: pd.DataFrame, rows: pd.DataFrame, settings: dict[str, Any]) -> pd.DataFrame:
    """The rows of the table `guidance` of one system, from its pictures at every pair of scales."""
    given = tables.read(path, "sweeps", [*SCALES, "pair_id"])
    scoring.require_split(given["pair_id"].unique(), pairs, "validation", path)
    scored = scoring.score_file(path, "sweeps", [*SCALES, "pair_id"], judges, settings["evaluate"]["batch_size"]).merge(
        pairs[["pair_id", "subject_id"]], on="pair_id"
    )
    by_scales = dict(list(scored.groupby(SCALES)))
    scoring.require_same_pairs(
        {f"{path} (text {s[0]:g}, image {s[1]:g})": set(own["pair_id"]) for s, own in by_scales.items()}
    )
    measured = []
    for (text_scale, image_scale), own in by_scales.items():
        own = own.sort_values("pair_id", ignore_index=True)
        goal = labels.targets(rows.loc[own["pair_id"]], settings["labels"])
        values = summary.measure(own, goal, settings["labels"]["findings"], 0, settings["seed"])
        kept = {name: values[name] for name in ("n", *tables.MEASURES)}
        measured.append({"system": path.stem, "text_scale": text_scale, "image_scale": image_scale, **kept})
    result = pd.DataFrame(measured)
    result[list(tables.MEASURES)] = result[list(tables.MEASURES)].astype(np.float64)
    return result.assign(chosen=choose(result))
