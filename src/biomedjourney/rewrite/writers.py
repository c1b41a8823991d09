"""The writers, by their name in the configuration: from pairs of studies to rows of the table `progressions`."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from biomedjourney import progress, tables
from biomedjourney.pair.text import clean
from biomedjourney.rewrite import checks, model_writer, prompt
from biomedjourney.rewrite.model_writer import Draft, Pair
from biomedjourney.rewrite.rules import describe
from biomedjourney.rewrite.study import Study

# A raw Impression is taken as it is, for the paper's ablation: it compares, and tells what the rules do not know.
NEEDED = {"impression": ("check_removed_text",)}


def impression(prior: Study, current: Study) -> str:
    """The current report's Impression, its Findings where it has none, without removed text (___)."""
    return clean(current.impression) or clean(current.findings) or "no significant change"


def studies_by_id(path: Path, wanted: set[int]) -> dict[int, Study]:
    """The wanted studies of the table `studies` as a writer sees them."""
    rows = tables.read_arrow(path, "studies", ["study_id", "findings", "impression", *tables.CHEXPERT_LABELS])
    rows = rows.filter(pc.is_in(rows["study_id"], pa.array(sorted(wanted), pa.int64())))
    return {
        row["study_id"]: Study({k: row[k] for k in tables.CHEXPERT_LABELS}, row["findings"], row["impression"])
        for row in rows.to_pylist()
    }


def drafts(pairs: list[Pair], settings: dict[str, Any]) -> list[Draft]:
    """What the configured writer makes of the pairs, in order."""
    writer = settings["rewrite"]["writer"]
    if writer == "openai":
        credentialed = settings["phantom"] is None
        return model_writer.write(pairs, settings["rewrite"], seed=settings["seed"], credentialed=credentialed)
    compose = {"rules": describe, "impression": impression}[writer]
    return [Draft(compose(prior, current)) for prior, current in progress.track(pairs, "rewrite", unit="pair")]


def write(pairs: pd.DataFrame, studies: dict[int, Study], settings: dict[str, Any]) -> pd.DataFrame:
    """The rows of the table `progressions`, one a pair."""
    writer = settings["rewrite"]["writer"]
    texts = pairs_of(pairs, studies)
    needed = NEEDED.get(writer, tuple(checks.CHECKS))
    rows: list[dict[str, Any]] = []
    for pair_id, draft, text in zip(pairs["pair_id"], drafts(texts, settings), texts, strict=True):
        checked = checks.run(draft.description, *text)
        rows.append(
            {
                "pair_id": pair_id,
                "writer": writer,
                "description": draft.description,
                "model": draft.model,
                "prompt_sha256": prompt.load().sha256 if draft.model else None,
                "valid": all(checked[name] for name in needed),
                "fallback_reason": draft.fallback_reason,
                checks.SCHEMA: draft.has_schema,
                **checked,
            }
        )
    names = [column.name for column in tables.table("progressions").columns if not column.is_family]
    return pd.DataFrame(rows, columns=[*names, checks.SCHEMA, *checks.CHECKS])


def pairs_of(pairs: pd.DataFrame, studies: dict[int, Study]) -> list[Pair]:
    """The two studies of each pair."""
    places = zip(pairs["prior_study_id"], pairs["study_id"], strict=True)
    return [(studies[prior_id], studies[study_id]) for prior_id, study_id in places]
