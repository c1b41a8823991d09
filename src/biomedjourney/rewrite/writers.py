"""The writers by name: from pairs of studies to rows of the table `progressions`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from biomedjourney import progress, tables
from biomedjourney.pair.text import report_text
from biomedjourney.rewrite import checks, model_writer, prompt
from biomedjourney.rewrite.model_writer import Draft, Pair
from biomedjourney.rewrite.rules import describe
from biomedjourney.rewrite.study import Study

WRITERS = ("rules", "impression", "openai")

# The checks that decide whether a description is valid, where not all do. The paper's ablation takes a raw Impression
# as it is: it compares with other studies, and names findings that the rules do not know.
DECISIVE_CHECKS = {"impression": ("check_removed_text",)}


def impression(prior: Study, current: Study) -> str:
    """The current report's Impression, or its Findings where that says nothing by itself, without removed text (___).

    The current report is the one that the pair is read to; read backward, it is the earlier one.
    """
    return report_text(current.impression, current.findings) or "no significant change"


def studies_by_id(path: Path, study_ids: set[int]) -> dict[int, Study]:
    """The studies with these identifiers, from the table `studies`."""
    rows = tables.read_arrow(path, "studies", ["study_id", "findings", "impression", *tables.CHEXPERT_LABELS])
    rows = rows.filter(pc.is_in(rows["study_id"], pa.array(sorted(study_ids), pa.int64())))
    return {
        row["study_id"]: Study({k: row[k] for k in tables.CHEXPERT_LABELS}, row["findings"], row["impression"])
        for row in rows.to_pylist()
    }


def drafts(pairs: list[Pair], writer: str, settings: dict[str, Any], direction: str = "forward") -> list[Draft]:
    """What a writer makes of the pairs, in order."""
    if writer == "openai":
        return model_writer.write(
            pairs,
            settings["rewrite"],
            seed=settings["seed"],
            credentialed=settings["phantom"] is None,
            direction=direction,
        )
    composers: dict[str, Callable[[Study, Study], str]] = {
        "rules": partial(describe, direction=direction),
        "impression": impression,
    }
    compose = composers[writer]
    return [Draft(compose(prior, current)) for prior, current in progress.track(pairs, "rewrite", unit="pair")]


def write(
    pairs: pd.DataFrame, studies: dict[int, Study], writer: str, settings: dict[str, Any], direction: str = "forward"
) -> pd.DataFrame:
    """The rows of the table `progressions` by one writer, one row per pair.

    ``pairs`` are rows of the table `pairs` as `biomedjourney.pair.directions.in_direction` gives them.
    """
    texts = pairs_of(pairs, studies)
    decisive_checks = DECISIVE_CHECKS.get(writer, tuple(checks.CHECKS))
    rows: list[dict[str, Any]] = []
    written = drafts(texts, writer, settings, direction)
    for pair_id, draft, (prior, current) in zip(pairs["pair_id"], written, texts, strict=True):
        passed = checks.run(draft.description, prior, current, direction)
        rows.append(
            {
                "pair_id": pair_id,
                "writer": writer,
                "description": draft.description,
                "model": draft.model,
                "prompt_sha256": prompt.load(direction).sha256 if draft.model else None,
                "valid": all(passed[name] for name in decisive_checks),
                "fallback_reason": draft.fallback_reason,
                checks.SCHEMA: draft.has_schema,
                **passed,
            }
        )
    names = [column.name for column in tables.table("progressions").columns if not column.is_family]
    return pd.DataFrame(rows, columns=[*names, checks.SCHEMA, *checks.CHECKS])


def pairs_of(pairs: pd.DataFrame, studies: dict[int, Study]) -> list[Pair]:
    """The two studies of each pair, as it is read: from the prior study to the current one."""
    study_ids = zip(pairs["prior_study_id"], pairs["study_id"], strict=True)
    return [(studies[prior_id], studies[study_id]) for prior_id, study_id in study_ids]
