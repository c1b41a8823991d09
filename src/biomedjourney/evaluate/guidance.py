"""Chooses a system's guidance scales on validation patients."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney import measures
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
    Raises UserError as `scoring.score_sweep` does.
    """
    measured = []
    for group in scoring.score_sweep("sweeps", files, SCALES, judges, rows, settings):
        evidence = summary.evidence(group, rows.loc[group["pair_id"]], settings["labels"], None, 0, 0)
        values = {measure.name: float(evidence.value(measure)[0]) for measure in measures.GUIDING}
        measured.append({"system": system, **group[SCALES].iloc[0], "n": len(group), **values})
    result = pd.DataFrame(measured)
    names = [measure.name for measure in measures.GUIDING]
    result[names] = result[names].astype(np.float64)
    return result.assign(chosen=choose(result))
