"""Compares samplers on validation patients: what fewer evaluations of the UNet change in each measure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from biomedjourney import measures, tables
from biomedjourney.evaluate import scoring, summary

SAMPLER = ["solver", "steps", "evaluations"]


def compare(
    system: str, files: Sequence[Path], judges: Any, rows: pd.DataFrame, settings: dict[str, Any]
) -> pd.DataFrame:
    """The table `samplers` of one system, from its pictures by every sampler; most evaluations first.

    ``files``: every shard of its table `sampled`. ``rows``: the compared validation pairs, made by `labels.attributes`.
    Each sampler is compared with the one that takes most evaluations. Raises UserError as `scoring.score_sweep` does.
    """
    scored = scoring.score_sweep("sampled", files, SAMPLER, judges, rows, settings)
    by_evaluations = sorted(scored, key=lambda group: -group["evaluations"].iloc[0])
    replicates, seed = settings["evaluate"]["bootstrap"], settings["seed"]
    compared, reference = [], None
    for group in by_evaluations:
        seen = summary.evidence(group, rows.loc[group["pair_id"]], settings["labels"], None, replicates, seed)
        reference = reference or seen
        row = {"system": system, **group[SAMPLER].iloc[0], **summary.measured(seen, measures.GUIDING)}
        row |= summary.compared(seen, reference, measures.GUIDING)
        compared.append(row | {"within": None if seen is reference else within(row)})
    return pd.DataFrame(compared, columns=[column.name for column in tables.table("samplers").columns])


def within(row: dict[str, Any]) -> bool:
    """Whether the interval of every difference lies within `measures.ALLOWED`; not where a measure is undefined."""
    ends = [row[f"{measure.name}_difference_{end}"] for measure in measures.GUIDING for end in ("low", "high")]
    return all(end is not None and abs(end) <= measures.ALLOWED for end in ends)
