"""The account of the cohort, from singles and pairs to the examples that training and evaluation read."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from biomedjourney import tables
from biomedjourney.gather.triples import NO_CURRENT_PICTURE, NO_PRIOR_PICTURE, NOT_REGISTERED, NOT_VALID, pictured
from biomedjourney.ingest.cohort import Account

# Triples in training, validation and test of arXiv 2310.10765.
PAPER_TRIPLES = {"train": 9_354, "validation": 1_056, "test": 1_214}
PICTURES, REGISTERED = "pairs: both images with a picture", "pairs: registration accepted"


def account(singles: Path, pixels: Sequence[Path], triples: Sequence[Path]) -> Account:
    """The steps after `pair`, and what they left out.

    ``triples``: one table per writer and direction, the forward one of the first writer first. The paper's counts
    stand beside that writer's accepted triples.
    """
    result = Account()
    _singles(result, tables.read(singles, "singles"), pixels)
    parts = [part for path in triples if len(part := tables.read(path, "triples"))]
    _pairs(result, parts[0])
    for place, part in enumerate(parts):
        if (part["direction"] == "forward").all():
            _forward(result, part, is_first=place == 0)
        else:
            _backward(result, part)
    return result


def _singles(account: Account, singles: pd.DataFrame, pixels: Sequence[Path]) -> None:
    with_picture = singles["dicom_id"].isin({name for path in pixels for name in pictured(path)})
    step, reason = "singles: image with a picture", "the image has no picture"
    account.step(step, int(with_picture.sum()), {reason: int((~with_picture).sum())})
    account.exclude("single", singles.loc[~with_picture, "dicom_id"], step, reason)
    for split in tables.SPLITS:
        account.step(f"singles in {split}: all", int((with_picture & (singles["split"] == split)).sum()))


def _pairs(account: Account, triples: pd.DataFrame) -> None:
    """The steps that are the same for every writer."""
    left = len(triples)
    for step, reasons in ((PICTURES, (NO_PRIOR_PICTURE, NO_CURRENT_PICTURE)), (REGISTERED, (NOT_REGISTERED,))):
        dropped = {reason: int((triples["reason"] == reason).sum()) for reason in reasons}
        left -= sum(dropped.values())
        account.step(step, left, dropped)
        excluded = triples[triples["reason"].isin(reasons)]
        account.exclude("pair", excluded["pair_id"], step, excluded["reason"])


def _forward(account: Account, triples: pd.DataFrame, *, is_first: bool) -> None:
    writer = triples["writer"].iloc[0]
    not_valid = triples["reason"] == NOT_VALID
    step = f"triples by {writer}: description valid"
    account.step(step, int(triples["accepted"].sum()), {NOT_VALID: int(not_valid.sum())})
    account.exclude("triple", triples.loc[not_valid, "pair_id"] + f" {writer}", step, NOT_VALID)
    for split in tables.SPLITS:
        kept = int((triples["accepted"] & (triples["split"] == split)).sum())
        account.step(f"triples by {writer} in {split}: all", kept, paper=PAPER_TRIPLES[split] if is_first else None)


def _backward(account: Account, triples: pd.DataFrame) -> None:
    writer = triples["writer"].iloc[0]
    left_out = triples[~triples["accepted"]]
    step = f"triples by {writer}, read backward: training pairs"
    reasons = {str(reason): int(n) for reason, n in left_out["reason"].value_counts().items()}
    account.step(step, int(triples["accepted"].sum()), reasons)
    account.exclude("triple", left_out["pair_id"] + f" {writer}", step, left_out["reason"])
