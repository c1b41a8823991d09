"""From the scores of all systems to the tables of measures."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import click
import numpy as np
import pandas as pd

from biomedjourney import measures, tables
from biomedjourney.evaluate import labels
from biomedjourney.measures import RACES, Evidence, Measure
from biomedjourney.systems import MAIN, in_order, printed

Row = dict[str, Any]


def summarise(
    scores: pd.DataFrame, rows: pd.DataFrame, truth: pd.DataFrame | None, settings: dict[str, Any]
) -> dict[str, pd.DataFrame]:
    """The tables `systems`, `ablations`, `findings` and `subgroups` from `scores` and the pairs' attributes.

    ``rows``: made by `labels.attributes`. Systems come in the order in which `biomedjourney.systems` declares them.
    """
    findings, seed = settings["labels"]["findings"], settings["seed"]
    replicates = settings["evaluate"]["bootstrap"]
    made: dict[str, list[Row]] = {"systems": [], "ablations": [], "findings": [], "subgroups": []}
    by_finding = [measure for measure in measures.MEASURES if measure.by_finding]
    main: Evidence | None = None
    for i, system in enumerate(in_order(scores["system"].unique())):
        system_scores = scores[scores["system"] == system].sort_values(["seed", "pair_id"], ignore_index=True)
        pair_rows = rows.loc[system_scores["pair_id"]]
        seen = evidence(system_scores, pair_rows, settings["labels"], truth, replicates, seed)
        if i == 0:
            for finding in undefined_findings(seen):
                click.echo(f"finding {finding} has one class alone on these pairs: left out of the mean AUC", err=True)
        main = seen if system == MAIN else main
        differences = {} if main is None else compared(seen, main, measures.MEASURES)
        paper = printed(system, settings["systems"][system])
        figures = {f"paper_{measure.name}": paper.get(measure.name) for measure in measures.IN_PAPER}
        row = {"system": system, **measured(seen, measures.MEASURES), **differences, **figures}
        made["systems"].append(row)
        if system == MAIN or settings["systems"][system].get("ablation"):
            made["ablations"].append(row)
        for finding in findings:
            values = measured(seen.for_finding(finding), by_finding)
            made["findings"].append({"system": system, "finding": finding, **values})
        for group, mask in groups(pair_rows, settings["evaluate"]).items():
            part = evidence(system_scores[mask], pair_rows[mask], settings["labels"], truth, replicates, seed)
            made["subgroups"].append({"system": system, "group": group, **measured(part, measures.MEASURES)})
    columns = {name: [column.name for column in tables.table(name).columns] for name in made}
    return {name: pd.DataFrame(content, columns=columns[name]) for name, content in made.items()}


def evidence(
    scores: pd.DataFrame,
    rows: pd.DataFrame,
    label_settings: dict[str, Any],
    truth: pd.DataFrame | None,
    replicates: int,
    seed: int,
) -> Evidence:
    """The evidence of one system. ``scores`` and ``rows`` correspond row by row; all seeds are pooled."""
    findings = tuple(label_settings["findings"])
    return Evidence(
        scores,
        labels.targets(rows, label_settings, truth),
        findings,
        measures.patient_weights(rows["subject_id"].to_numpy(), replicates, seed),
        tuple(range(len(findings))),
    )


def measured(seen: Evidence, declared: Iterable[Measure]) -> Row:
    """One row of measures: n pairs, and each measure with ``_low`` and ``_high`` (95 %, bootstrap over patients).

    A measure that is undefined is null. Of a single finding, n counts the pairs whose label is known.
    """
    known = ~np.isnan(seen.targets.findings[:, list(seen.counted)]).all(axis=1)
    is_finding = len(seen.counted) < len(seen.findings)
    row: Row = {"n": int(seen.scores.loc[known if is_finding else slice(None), "pair_id"].nunique())}
    for measure in declared:
        estimate, low, high = (_null(value) for value in measures.interval(seen.value(measure)))
        row |= {measure.name: estimate, f"{measure.name}_low": low, f"{measure.name}_high": high}
    return row


def compared(seen: Evidence, main: Evidence, declared: Iterable[Measure]) -> Row:
    """``<measure>_difference`` to the main system, with ``_low`` and ``_high``; null for the main system itself.

    Both systems are scored on the same pairs, so that each replicate draws the same patients for both.
    """
    row: Row = {}
    for measure in declared:
        name = f"{measure.name}_difference"
        values = (None,) * 3 if seen is main else measures.difference(seen.value(measure), main.value(measure))
        row |= {f"{name}{end}": _null(value) for end, value in zip(("", "_low", "_high"), values, strict=True)}
    return row


def _null(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def undefined_findings(seen: Evidence) -> list[str]:
    """The findings that lack a class, so that they have no AUC and are left out of the mean."""
    return [name for i, name in enumerate(seen.findings) if not {0.0, 1.0} <= set(seen.targets.findings[:, i])]


def groups(rows: pd.DataFrame, settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """The subgroups of rows made by `labels.attributes`, as masks: by race, sex, age and interval.

    ``settings`` is the section `evaluate`; its bounds ``age_groups`` (years) and ``interval_groups`` (days) belong
    to the group above them. A group with no rows is left out.
    """
    race, sex = rows["race"].fillna("unknown").to_numpy(), rows["sex"].fillna("unknown").to_numpy()
    masks = {f"race={name}": race == name for name in (*RACES, "unknown")}
    masks |= {f"sex={name}": sex == name for name in ("F", "M", "unknown")}
    masks |= _between("age", rows["age"], settings["age_groups"])
    masks |= _between("interval_days", rows["interval_days"], settings["interval_groups"])
    return {name: mask for name, mask in masks.items() if mask.any()}


def _between(name: str, values: pd.Series, bounds: list[float]) -> dict[str, np.ndarray]:
    numbers, bounds = values.to_numpy(dtype=float, na_value=np.nan), sorted(bounds)
    masks = {f"{name}<{bounds[0]}": numbers < bounds[0]}
    for low, high in pairwise(bounds):
        masks[f"{name}={low}-{high - 1}"] = (numbers >= low) & (numbers < high)
    masks[f"{name}>={bounds[-1]}"] = numbers >= bounds[-1]
    masks[f"{name}=unknown"] = np.isnan(numbers)
    return masks
