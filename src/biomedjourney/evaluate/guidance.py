"""Chooses a system's guidance scales on validation patients."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney import measures
from biomedjourney.errors import UserError
from biomedjourney.evaluate import scoring, summary

SCALES = ["text_scale", "image_scale"]


LOSS_ALLOWED = 0.02  # of race AUC and of age r, against the best scales; what lies closer is mostly noise


def choose(measured: pd.DataFrame) -> pd.Series:
    """True at the row to use: the highest change AUC among those that keep race and age, then the lowest scales.

    A row keeps them where neither its race AUC nor its age r is more than `LOSS_ALLOWED` below the best row's; where
    none keeps both, those that lose least are left. CMIG would not do: it favours scales that copy the prior. Between
    equal change AUCs, or with none, pathology AUC decides. An undefined value counts as the lowest. ``measured`` holds
    the rows of one system.
    """
    values = measured[[measure.name for measure in measures.GUIDING]].fillna(-1.0)
    kept = values[[measures.RACE_AUC.name, measures.AGE_R.name]]
    loss = (kept.max() - kept).max(axis=1)
    ranked = measured[SCALES].join(values)[loss <= max(LOSS_ALLOWED, loss.min())]
    order = [measures.CHANGE_AUC.name, measures.PATHOLOGY_AUC.name, *SCALES]
    ranked = ranked.sort_values(order, ascending=[False, False, True, True])
    return pd.Series(measured.index == ranked.index[0], index=measured.index)


def sweep(
    system: str, files: Sequence[Path], judges: Any, rows: pd.DataFrame, settings: dict[str, Any]
) -> pd.DataFrame:
    """The rows of the table `guidance` of one system, from its pictures at every combination of scales.

    ``files``: every shard of its table `sweeps`. ``rows``: the compared validation pairs, made by `labels.attributes`.
    Raises UserError for a picture of another pair, and where not every combination covers the same pairs.
    """
    batch_size = settings["evaluate"]["batch_size"]
    scores = pd.concat([scoring.score_file(path, "sweeps", [*SCALES, "pair_id"], judges, batch_size) for path in files])
    if scores.duplicated([*SCALES, "pair_id"]).any():
        raise UserError(f"the sweep of {system}: the same pair is in two of the files: give each shard once")
    scoring.require_labels(scores, settings["labels"]["findings"])
    swept_pairs = set(scores["pair_id"])
    scoring.require_pairs(swept_pairs, swept_pairs & set(rows.index), f"the validation sweep of {system}")
    measured = []
    for (text_scale, image_scale), group in scores.groupby(SCALES):
        name = f"the sweep of {system} at text {text_scale:g}, image {image_scale:g}"
        scoring.require_pairs(group["pair_id"], swept_pairs, name)
        group = group.sort_values("pair_id", ignore_index=True)
        evidence = summary.evidence(group, rows.loc[group["pair_id"]], settings["labels"], None, 0, 0)
        values = {measure.name: float(evidence.value(measure)[0]) for measure in measures.GUIDING}
        scales = {"text_scale": text_scale, "image_scale": image_scale}
        measured.append({"system": system, **scales, "n": len(group), **values})
    result = pd.DataFrame(measured)
    names = [measure.name for measure in measures.GUIDING]
    result[names] = result[names].astype(np.float64)
    return result.assign(chosen=choose(result))
