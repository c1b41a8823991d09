"""Which test pairs the report shows: picked by a rule that does not see the generated pictures."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

RULE = (
    "Picked by a rule that sees neither pictures nor scores: the test pairs are grouped by the finding whose label "
    "changes between the two studies and by the way it changes; going round the groups (new, then resolved, finding "
    "after finding), the pair whose identifier has the lowest SHA-256 is taken, until there are enough."
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
