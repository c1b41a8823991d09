"""Which test pairs the report shows: picked by a rule that does not see the generated pictures."""

import hashlib
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


def descriptions(progressions: pd.DataFrame, writer: str) -> pd.Series:
    """The description of each pair (index pair_id): the configured writer's where there is one, else any valid one."""
    valid = progressions[progressions["valid"].astype(bool)]
    ranked = valid.assign(other=valid["writer"] != writer).sort_values(["other", "writer"], kind="stable")
    return ranked.drop_duplicates("pair_id").set_index("pair_id")["description"]


def by_hash(pair_ids: pd.Series) -> list[str]:
    """The identifiers in the order of their SHA-256: fixed, and unrelated to anything else."""
    return sorted(pair_ids, key=lambda pair_id: hashlib.sha256(pair_id.encode()).hexdigest())


def pick(
    pairs: pd.DataFrame, studies: pd.DataFrame, described: pd.Series, findings: list[str], count: int
) -> list[Example]:
    """Up to ``count`` of the given pairs by `RULE`, then unchanged ones; fewer where there are no more."""
    rows = pairs.set_index("pair_id").loc[by_hash(pairs["pair_id"])]
    labels = studies.set_index("study_id")[findings].fillna(0)
    before, after = labels.loc[rows["prior_study_id"]], labels.loc[rows["study_id"]]
    groups: dict[str, list[str]] = {}
    for kind, old, new in (("new", 0, 1), ("resolved", 1, 0)):
        for finding in findings:
            changed = (before[finding] == old).to_numpy() & (after[finding] == new).to_numpy()
            groups[f"{kind} {finding.replace('_', ' ')}"] = list(rows.index[changed])
    unchanged = "no change in the labels"
    groups[unchanged] = list(rows.index)
    chosen: dict[str, str] = {}
    for name in [*[name for name in groups if name != unchanged] * count, *[unchanged] * count]:
        left = [pair_id for pair_id in groups[name] if pair_id not in chosen]
        if left and len(chosen) < count:
            chosen[left[0]] = name
    prior, current = rows["prior_dicom_id"].to_dict(), rows["dicom_id"].to_dict()
    return [Example(p, prior[p], current[p], str(described.get(p, "")), change) for p, change in chosen.items()]
