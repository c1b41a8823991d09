"""The audit sheet: descriptions for a radiologist to judge, and how far readers and checks agree."""

import csv
import hashlib
from pathlib import Path

import pandas as pd

from biomedjourney.errors import UserError
from biomedjourney.rewrite.study import Study
from biomedjourney.rewrite.writers import pairs_of
from biomedjourney.tables import atomic_path

READERS = ("reader_1", "reader_2")
ANSWERS = {"yes": True, "no": False}


def _report(study: Study) -> str:
    return "\n".join(
        f"{name}: {text}" for name, text in (("FINDINGS", study.findings), ("IMPRESSION", study.impression)) if text
    )


def write(path: Path, count: int, progressions: pd.DataFrame, pairs: pd.DataFrame, studies: dict[int, Study]) -> int:
    """Writes ``count`` rows, picked by the hash of their pair_id, as CSV; returns how many there were.

    The columns reader_1 and reader_2 are empty: a reader writes "yes" where all that the description says is right,
    else "no". ``pairs`` holds every pair of ``progressions``, as it is read.
    """
    hashes = progressions["pair_id"].map(lambda pair_id: hashlib.sha256(str(pair_id).encode()).hexdigest())
    sampled_rows = progressions.loc[hashes.sort_values().index[:count]]
    sampled_pairs = pairs.set_index("pair_id").loc[sampled_rows["pair_id"]].reset_index()
    texts = pairs_of(sampled_pairs, studies)
    check_columns = [name for name in map(str, sampled_rows.columns) if name == "valid" or name.startswith("check_")]
    sheet = pd.DataFrame(
        {
            "pair_id": list(sampled_rows["pair_id"]),
            "prior_report": [_report(prior) for prior, _ in texts],
            "current_report": [_report(current) for _, current in texts],
            "description": list(sampled_rows["description"]),
            **dict.fromkeys((*READERS, "remark"), ""),
            **{name: list(sampled_rows[name]) for name in check_columns},
        }
    )
    with atomic_path(path) as temporary:
        sheet.to_csv(temporary, index=False, quoting=csv.QUOTE_NONNUMERIC)
    return len(sheet)


def score(path: Path) -> str:
    """Agreement and Cohen's kappa of each reader with the checks, and of two readers, as text.

    Raises UserError for a sheet that lacks a column, holds an answer other than yes and no, or holds no answer.
    """
    try:
        sheet = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as a sheet ({type(error).__name__}): give the CSV of --audit"
        ) from None
    missing = [name for name in ("pair_id", "valid", *READERS) if name not in sheet]
    if missing:
        raise UserError(f"{path}: the column {missing[0]!r} is missing: give the CSV of --audit")
    answers = {name: _answers(path, sheet, name) for name in READERS}
    answers["checks"] = sheet["valid"].str.lower().map({"true": True, "false": False})
    lines = [
        _compare(first, second, answers[first], answers[second])
        for first, second in ((READERS[0], "checks"), (READERS[1], "checks"), READERS)
        if (answers[first].notna() & answers[second].notna()).any()
    ]
    if not lines:
        raise UserError(f"{path}: no reader has filled in yes or no: fill in the column {READERS[0]!r}")
    return "\n".join(lines)


def _answers(path: Path, sheet: pd.DataFrame, reader: str) -> pd.Series:
    answers = sheet[reader].str.strip().str.lower()
    wrong = answers[~answers.isin(["", *ANSWERS])]
    if len(wrong):
        raise UserError(f"{path}, row {wrong.index[0] + 2}: {reader} is {wrong.iloc[0]!r}: write yes, no or nothing")
    return answers.map(ANSWERS)


def _compare(first: str, second: str, first_answers: pd.Series, second_answers: pd.Series) -> str:
    from sklearn.metrics import cohen_kappa_score

    is_answered = first_answers.notna() & second_answers.notna()
    x, y = first_answers[is_answered].astype(bool), second_answers[is_answered].astype(bool)
    is_constant = x.nunique() == 1 and y.nunique() == 1
    kappa = "undefined, both always say the same" if is_constant else f"{cohen_kappa_score(x, y):.2f}"
    return (
        f"{first} and {second}: {is_answered.sum()} rows, agreement {(x == y).mean():.1%}, Cohen's kappa {kappa}; "
        f"right by {first} {x.mean():.1%}, by {second} {y.mean():.1%}"
    )
