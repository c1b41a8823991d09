"""The audit sheet: descriptions for a radiologist to judge, and how far reader and checks agree."""

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
    """Writes ``count`` rows, picked by the hash of their pair, as CSV; returns how many there were.

    The columns reader_1 and reader_2 are empty: "yes" where the description is right in all it says, else "no".
    """
    order = progressions["pair_id"].map(lambda name: hashlib.sha256(str(name).encode()).hexdigest())
    chosen = progressions.loc[order.sort_values().index[:count]]
    places = pairs.set_index("pair_id").loc[chosen["pair_id"]].reset_index()
    texts = pairs_of(places, studies)
    shown = [name for name in map(str, chosen.columns) if name == "valid" or name.startswith("check_")]
    sheet = pd.DataFrame(
        {
            "pair_id": list(chosen["pair_id"]),
            "prior_report": [_report(prior) for prior, _ in texts],
            "current_report": [_report(current) for _, current in texts],
            "description": list(chosen["description"]),
            **dict.fromkeys((*READERS, "remark"), ""),
            **{name: list(chosen[name]) for name in shown},
        }
    )
    with atomic_path(path) as temporary:
        sheet.to_csv(temporary, index=False, quoting=csv.QUOTE_NONNUMERIC)
    return len(sheet)


def score(path: Path) -> str:
    """Agreement and Cohen's kappa of each reader with the checks, and of two readers, as text.

    Raises UserError for a sheet that lacks a column, holds another answer than yes or no, or nothing to compare.
    """
    try:
        sheet = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: no sheet that can be read ({type(error).__name__}): give the CSV of --audit"
        ) from None
    absent = [name for name in ("pair_id", "valid", *READERS) if name not in sheet]
    if absent:
        raise UserError(f"{path}: the column {absent[0]!r} is missing: give the CSV of --audit")
    told = {name: _answers(path, sheet, name) for name in READERS}
    told["checks"] = sheet["valid"].str.lower().map({"true": True, "false": False})
    lines = [
        _compare(first, second, told[first], told[second])
        for first, second in ((READERS[0], "checks"), (READERS[1], "checks"), READERS)
        if (told[first].notna() & told[second].notna()).any()
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


def _compare(first: str, second: str, a: pd.Series, b: pd.Series) -> str:
    from sklearn.metrics import cohen_kappa_score

    both = a.notna() & b.notna()
    x, y = a[both].astype(bool), b[both].astype(bool)
    constant = x.nunique() == 1 and y.nunique() == 1
    kappa = "undefined, both always say the same" if constant else f"{cohen_kappa_score(x, y):.2f}"
    return (
        f"{first} and {second}: {both.sum()} rows, agreement {(x == y).mean():.1%}, Cohen's kappa {kappa}; "
        f"right by {first} {x.mean():.1%}, by {second} {y.mean():.1%}"
    )
