"""Which test pairs the report shows: by a rule that sees no picture, and those that the main system misses most."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from biomedjourney.systems import BOUND, MAIN

RULE = (
    "Picked by a rule that sees neither pictures nor scores: the test pairs are grouped by the finding whose label "
    "changes between the two studies and by the way it changes; going round the groups (new, then resolved, finding "
    "after finding), the pair whose identifier has the lowest SHA-256 is taken, until there are enough."
)
MISSED = (
    "Picked by the classifier's scores: of the findings whose label changes, those for which the generated picture is "
    "ranked furthest on the wrong side of where the true follow-up is ranked. A rank is the share of the same system's "
    "pictures that have a lower score for the finding. A pair whose true follow-up is ranked wrongly too is not here: "
    "there the label or the classifier is at fault."
)


@dataclass(frozen=True)
class Example:
    """A test pair to show, and why."""

    pair_id: str
    prior_dicom_id: str
    dicom_id: str
    description: str
    change: str


def by_hash(pair_ids: Iterable[str]) -> list[str]:
    """The identifiers in the order of their SHA-256: fixed, and unrelated to anything else."""
    return sorted(pair_ids, key=lambda pair_id: hashlib.sha256(pair_id.encode()).hexdigest())


def pick(triples: pd.DataFrame, studies: pd.DataFrame, findings: list[str], count: int) -> list[Example]:
    """Up to ``count`` of the given triples by `RULE`, then unchanged ones; fewer where there are no more."""
    rows = triples.set_index("pair_id").loc[by_hash(triples["pair_id"])]
    labels = studies.set_index("study_id")[findings].fillna(0)
    before, after = labels.loc[rows["prior_study_id"]], labels.loc[rows["study_id"]]
    groups: dict[str, list[str]] = {}
    for kind, old, new in (("new", 0, 1), ("resolved", 1, 0)):
        for finding in findings:
            changed = (before[finding] == old).to_numpy() & (after[finding] == new).to_numpy()
            groups[f"{kind} {finding.replace('_', ' ')}"] = list(rows.index[changed])
    unchanged = "no change in the labels"
    groups[unchanged] = list(rows.index)
    change_of: dict[str, str] = {}
    for name in [*[name for name in groups if name != unchanged] * count, *[unchanged] * count]:
        left = [pair_id for pair_id in groups[name] if pair_id not in change_of]
        if left and len(change_of) < count:
            change_of[left[0]] = name
    by_id = rows.to_dict("index")
    return [
        Example(pair_id, row["prior_dicom_id"], row["dicom_id"], row["description"], change_of[pair_id])
        for pair_id, row in ((pair_id, by_id[pair_id]) for pair_id in change_of)
    ]


def missed(
    triples: pd.DataFrame, studies: pd.DataFrame, scores: pd.DataFrame, findings: list[str], count: int
) -> list[Example]:
    """Up to ``count`` of the given triples by `MISSED`, the worst first, each with its worst finding.

    ``scores``: the table `scores`; several pictures of a pair count as their mean. Empty where it lacks one of the two
    systems that are compared.
    """
    ours, real = (_ranks(scores[scores["system"] == system], findings) for system in (MAIN, BOUND))
    labels = studies.set_index("study_id")[findings].fillna(0).to_dict("index")
    rows = triples[triples["pair_id"].isin(ours) & triples["pair_id"].isin(real)].set_index("pair_id").to_dict("index")
    found = []
    for pair_id, row in rows.items():
        for finding in findings:
            before, after = (labels[row[study]][finding] for study in ("prior_study_id", "study_id"))
            if {before, after} == {0, 1}:
                drawn, true = ours[pair_id][finding], real[pair_id][finding]
                change = f"{'new' if after else 'resolved'} {finding.replace('_', ' ')}"
                ranks = f"generated {100 * drawn:.0f} %, true follow-up {100 * true:.0f} %"
                found.append(((true - drawn) * (1 if after else -1), str(pair_id), f"{change}: {ranks}"))
    worst: dict[str, Example] = {}
    for gap, pair_id, change in sorted(found, key=lambda item: (-item[0], item[1])):
        if gap > 0 and len(worst) < count and pair_id not in worst:
            row = rows[pair_id]
            worst[pair_id] = Example(pair_id, row["prior_dicom_id"], row["dicom_id"], row["description"], change)
    return list(worst.values())


def _ranks(scores: pd.DataFrame, findings: list[str]) -> dict[Any, dict[str, float]]:
    """By pair and finding, the share of the other pairs whose pictures have a lower score."""
    means = scores.groupby("pair_id")[[f"pathology_{finding}" for finding in findings]].mean()
    ranks = (means.rank() - 1) / max(len(means) - 1, 1)
    return ranks.set_axis(findings, axis="columns").to_dict("index")  # type: ignore[return-value]
