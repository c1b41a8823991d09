"""The main table as plain text."""

import pandas as pd

from biomedjourney.evaluate.measures import combine
from biomedjourney.tables import MEASURES

HEADS = {"pathology_auc": "pathology AUC", "race_auc": "race AUC", "age_r": "age r", "cmig": "CMIG"}


def percent(value: float | None) -> str:
    """A fraction times 100 with two digits; a dash where there is none."""
    return "–" if value is None or pd.isna(value) else f"{100 * value:.2f}"


def main_table(systems: pd.DataFrame) -> str:
    """The table `systems` in aligned lines, times 100, with 95 % intervals and the paper's figures under ours."""
    lines = [["system", "n", *HEADS.values()]]
    for row in systems.to_dict("records"):
        lines.append([row["system"], str(row["n"]), *(_cell(row, measure) for measure in MEASURES)])
        if not pd.isna(row["paper_cmig"]):
            printed = [percent(row[f"paper_{measure}"]) for measure in MEASURES]
            recomputed = float(combine(*(float(row[f"paper_{measure}"]) for measure in MEASURES[:3])))
            lines.append(["  in the paper", "", *printed[:3], f"{printed[3]} (recomputed {percent(recomputed)})"])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    aligned = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    return "\n".join(
        [
            "Times 100, with 95 % intervals by bootstrap over patients. For research, not for clinical use.",
            "",
            aligned[0],
            "-" * max(len(line) for line in aligned),
            *aligned[1:],
            "",
        ]
    )


def _cell(row: dict, measure: str) -> str:
    if pd.isna(row[f"{measure}_low"]):
        return percent(row[measure])
    return f"{percent(row[measure])} [{100 * row[f'{measure}_low']:.1f}, {100 * row[f'{measure}_high']:.1f}]"
