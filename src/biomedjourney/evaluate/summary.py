"""From the scores of all systems to the tables of measures."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import click
import numpy as np
import pandas as pd

from biomedjourney import measures, tables
from biomedjourney.beyond import BEYOND, IN_PAPER
from biomedjourney.evaluate import labels
from biomedjourney.evaluate.scoring import SEEDS
from biomedjourney.measures import RACES, Evidence, Measure
from biomedjourney.systems import MAIN, in_order, printed

Row = dict[str, Any]


def summarise(
    scores: pd.DataFrame,
    rows: pd.DataFrame,
    truth: pd.DataFrame | None,
    more_targets: dict[str, np.ndarray],
    settings: dict[str, Any],
) -> dict[str, pd.DataFrame]:
    """The tables `systems`, `ablations`, `findings`, `subgroups` and `beyond` from `scores` and the pairs' attributes.

    ``rows``: made by `labels.attributes`, with the ``view`` of the current image. ``more_targets``: the fields of
    `Targets` that `beyond` needs, row by row as ``rows``. Systems come in the order in which `biomedjourney.systems`
    declares them. In `ablations` each is compared with the system that it is an ablation of, elsewhere with the main
    system.
    """
    findings, seed = settings["labels"]["findings"], settings["seed"]
    replicates = settings["evaluate"]["bootstrap"]
    made: dict[str, list[Row]] = {"systems": [], "ablations": [], "findings": [], "subgroups": [], "beyond": []}
    by_finding = [measure for measure in measures.MEASURES if measure.by_finding]
    places = pd.Series(range(len(rows)), index=rows.index)
    ablation_of = {name: system.get("ablation_of") for name, system in settings["systems"].items()}
    wholes = {name for name in ablation_of.values() if name} or {MAIN}
    references: dict[str, Evidence] = {}  # what the others are compared with, measured first
    names = in_order(scores["system"].unique())
    for i, system in enumerate(sorted(names, key=lambda name: name not in {MAIN, *wholes})):
        system_scores = scores[scores["system"] == system].sort_values([*SEEDS, "pair_id"], ignore_index=True)
        pair_rows = rows.loc[system_scores["pair_id"]]
        seen = evidence(system_scores, pair_rows, settings["labels"], truth, replicates, seed)
        picked = places.loc[system_scores["pair_id"]].to_numpy()
        more = {name: values[picked] for name, values in more_targets.items()}
        seen = replace(seen, targets=replace(seen.targets, **more))
        if i == 0:
            for finding in undefined_findings(seen):
                click.echo(f"finding {finding} has one class alone on these pairs: left out of the mean AUC", err=True)
        if system in {MAIN, *wholes}:
            references[system] = seen
        paper = printed(system, settings["systems"][system])
        values = {"system": system, **measured(seen, measures.MEASURES)}
        values |= {f"paper_{measure.name}": paper.get(measure.name) for measure in measures.IN_PAPER}
        values |= over_training_seeds(system_scores, pair_rows, settings["labels"], truth)
        main = references.get(MAIN)
        made["systems"].append(values | compared(seen, main, measures.MEASURES))
        of_beyond = {"system": system, **measured(seen, BEYOND), **compared(seen, main, BEYOND)}
        of_beyond |= {f"paper_{measure.name}": paper.get(measure.name) for measure in IN_PAPER}
        made["beyond"].append(of_beyond)
        if system in wholes or ablation_of[system]:
            differences = compared(seen, references.get(ablation_of[system] or system), measures.MEASURES)
            made["ablations"].append(values | {"ablation_of": ablation_of[system]} | differences)
        for finding in findings:
            of_finding = measured(seen.for_finding(finding), by_finding)
            made["findings"].append({"system": system, "finding": finding, **of_finding})
        for group, mask in groups(pair_rows, settings["evaluate"]).items():
            part = evidence(system_scores[mask], pair_rows[mask], settings["labels"], truth, replicates, seed)
            made["subgroups"].append({"system": system, "group": group, **measured(part, measures.MEASURES)})
    for content in made.values():
        content.sort(key=lambda row: names.index(row["system"]))
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
    """The evidence of one system. ``scores`` and ``rows`` correspond row by row; all seeds of both kinds are pooled."""
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


def compared(seen: Evidence, reference: Evidence | None, declared: Iterable[Measure]) -> Row:
    """``<measure>_difference`` to another system, with ``_low`` and ``_high``; null for that system itself.

    Both systems are scored on the same pairs, so that each replicate draws the same patients for both.
    """
    row: Row = {}
    for measure in declared:
        name = f"{measure.name}_difference"
        values: tuple[float | None, ...] = (None,) * 3
        if reference is not None and reference is not seen:
            values = measures.difference(seen.value(measure), reference.value(measure))
        row |= {f"{name}{end}": _null(value) for end, value in zip(("", "_low", "_high"), values, strict=True)}
    return row


def over_training_seeds(
    scores: pd.DataFrame, rows: pd.DataFrame, label_settings: dict[str, Any], truth: pd.DataFrame | None
) -> Row:
    """``<measure>_seeds_least`` and ``_greatest`` of the main measures, each taken of one training seed alone.

    Null where there is one training seed. ``scores`` and ``rows`` are of one system and correspond row by row.
    """
    seeds = [scores["training_seed"] == seed for seed in scores["training_seed"].unique()]
    trained = [evidence(scores[mask], rows[mask.to_numpy()], label_settings, truth, 0, 0) for mask in seeds]
    row: Row = {}
    for measure in measures.MAIN:
        values = [seen.value(measure)[0] for seen in trained] if len(trained) > 1 else [np.nan]
        ends = {"least": np.min(values), "greatest": np.max(values)}  # NaN where one of them is
        row |= {f"{measure.name}_seeds_{end}": _null(value) for end, value in ends.items()}
    return row


def _null(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def undefined_findings(seen: Evidence) -> list[str]:
    """The findings that lack a class, so that they have no AUC and are left out of the mean."""
    return [name for i, name in enumerate(seen.findings) if not {0.0, 1.0} <= set(seen.targets.findings[:, i])]


def groups(rows: pd.DataFrame, settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """The subgroups of the rows that `summarise` takes, as masks: by race, sex, view, age and interval.

    ``settings`` is the section `evaluate`; its bounds ``age_groups`` (years) and ``interval_groups`` (days) belong
    to the group above them. A group with no rows is left out.
    """
    race, sex = rows["race"].fillna("unknown").to_numpy(), rows["sex"].fillna("unknown").to_numpy()
    masks = {f"race={name}": race == name for name in (*RACES, "unknown")}
    masks |= {f"sex={name}": sex == name for name in ("F", "M", "unknown")}
    view = rows["view"].fillna("unknown").to_numpy()
    masks |= {f"view={name}": view == name for name in sorted(set(view), key=lambda name: (name == "unknown", name))}
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
