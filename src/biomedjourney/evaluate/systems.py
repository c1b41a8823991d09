"""Scores every system on the same test pairs and writes the tables of measures."""

from pathlib import Path
from typing import Any

import click
import pandas as pd

from biomedjourney import tables
from biomedjourney.errors import UserError
from biomedjourney.evaluate import labels, paper, scoring, summary


def order(generated: list[Path], systems: dict[str, Any]) -> dict[str, Path]:
    """The files by the name of their system, in the configuration's order. Raises UserError for an unknown one."""
    files = {path.stem: path for path in generated}
    if len(files) < len(generated):
        raise UserError("two of the files given as --generated have the same name: a system is named by its file")
    unknown = [name for name in files if name not in systems]
    if unknown:
        raise UserError(f"{files[unknown[0]]}: no system {unknown[0]!r} in the configuration: add it to `systems`")
    return {name: files[name] for name in systems if name in files}


def score(files: dict[str, Path], judges: Any, pairs: pd.DataFrame, batch_size: int) -> pd.DataFrame:
    """The table `scores` of all systems. Raises UserError where they do not cover the same test pairs."""
    covered: dict[str, set[str]] = {}
    for system, path in files.items():
        rows = tables.read(path, "generated", ["seed", "pair_id"])
        scoring.require_split(rows["pair_id"].unique(), pairs, "test", path)
        covered |= {f"system {system} (seed {seed})": set(group["pair_id"]) for seed, group in rows.groupby("seed")}
        if rows.empty:
            raise UserError(f"{path}: no pictures in it: run the step that writes it again")
    scoring.require_same_pairs(covered)
    scored = [
        scoring.score_file(path, "generated", ["seed", "pair_id"], judges, batch_size).assign(system=system)
        for system, path in files.items()
    ]
    return pd.concat(scored, ignore_index=True).merge(pairs[["pair_id", "subject_id"]], on="pair_id")


def summarise(
    scores: pd.DataFrame, rows: pd.DataFrame, truth: pd.DataFrame | None, settings: dict[str, Any]
) -> dict[str, pd.DataFrame]:
    """The tables `systems`, `ablations`, `findings` and `subgroups` from `scores` and the pairs' attributes."""
    findings, seed = settings["labels"]["findings"], settings["seed"]
    replicates = settings["evaluate"]["bootstrap"]
    found: dict[str, list[dict[str, Any]]] = {"systems": [], "ablations": [], "findings": [], "subgroups": []}
    for i, system in enumerate(name for name in settings["systems"] if (scores["system"] == name).any()):
        own = scores[scores["system"] == system].sort_values(["seed", "pair_id"], ignore_index=True)
        known = rows.loc[own["pair_id"]]
        goal = labels.targets(known, settings["labels"], truth)
        if i == 0:
            for finding in summary.undefined_findings(goal, findings):
                click.echo(f"finding {finding} has one class alone on these pairs: left out of the mean AUC", err=True)
        row = {"system": system, **summary.measure(own, goal, findings, replicates, seed)}
        found["systems"].append(row | paper.columns(paper.SYSTEMS, system))
        if system == "biomedjourney" or settings["systems"][system].get("ablation"):
            found["ablations"].append(row | paper.columns(paper.ABLATIONS, system))
        for finding in findings:
            values = summary.measure_finding(own, goal, findings, finding, replicates, seed)
            found["findings"].append({"system": system, "finding": finding, **values})
        for group, mask in summary.groups(known, settings["evaluate"]).items():
            values = summary.measure(own[mask], goal.take(mask), findings, replicates, seed)
            found["subgroups"].append({"system": system, "group": group, **values})
    empty = {name: [c.name for c in tables.table(name).columns] for name in found}
    return {name: pd.DataFrame(content, columns=empty[name]) for name, content in found.items()}
