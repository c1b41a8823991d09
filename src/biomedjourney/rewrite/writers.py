"""The writers, by their name in the configuration: from two studies to a description."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from biomedjourney import progress, tables
from biomedjourney.rewrite.checks import CHECKS
from biomedjourney.rewrite.rules import describe
from biomedjourney.rewrite.study import Study


def impression(prior: Study, current: Study) -> str:
    """The current report's Impression, its Findings where it has none, without removed text (___)."""
    text = " ".join((current.impression or current.findings).replace("___", " ").split())
    return text or "no significant change"


WRITERS: dict[str, Callable[[Study, Study], str]] = {"rules": describe, "impression": impression}


def studies_by_id(path: Path) -> dict[int, Study]:
    """Every study of the table `studies` as a writer sees it."""
    rows = tables.read_arrow(path, "studies", ["study_id", "findings", "impression", *tables.CHEXPERT_LABELS])
    return {
        row["study_id"]: Study({k: row[k] for k in tables.CHEXPERT_LABELS}, row["findings"], row["impression"])
        for row in rows.to_pylist()
    }


def write(pairs: pd.DataFrame, studies: dict[int, Study], writer: str) -> pd.DataFrame:
    """The rows of the table `progressions` that ``writer`` makes of the pairs."""
    rows: list[dict[str, Any]] = []
    places = pairs[["pair_id", "prior_study_id", "study_id"]].itertuples(index=False)
    for pair_id, prior_id, study_id in progress.track(places, "rewrite", total=len(pairs), unit="pair"):
        prior, current = studies[prior_id], studies[study_id]
        description = WRITERS[writer](prior, current)
        checked = {name: check(description, prior, current) for name, check in CHECKS.items()}
        rows.append({"pair_id": pair_id, "description": description, "valid": all(checked.values()), **checked})
    table = pd.DataFrame(rows, columns=["pair_id", "description", "valid", *CHECKS])
    return table.assign(writer=writer, model=None, prompt_sha256=None, fallback_reason=None)
