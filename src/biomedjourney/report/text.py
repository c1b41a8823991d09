"""The main table as plain text."""

import pandas as pd

from biomedjourney.measures import AGE_R, CMIG, IN_PAPER, MAIN, PATHOLOGY_AUC, RACE_AUC, Measure, combine


def percent(value: float | None) -> str:
    """A fraction times 100 with two digits; a dash where there is none."""
    return "–" if value is None or pd.isna(value) else f"{100 * value:.2f}"


def main_table(systems: pd.DataFrame) -> str:
    """The table `systems` in aligned lines, times 100, with 95 % intervals and the paper's figures under ours.

    Where runs were trained several times, the least and the greatest value of one training seed follow the interval. A
    measure that is undefined for all systems is left out.
    """
    shown = [measure for measure in MAIN if measure in IN_PAPER or systems[measure.name].notna().any()]
    lines = [["system", "n", *(measure.title for measure in shown)]]
    for row in systems.to_dict("records"):
        lines.append([row["system"], str(row["n"]), *(_cell(row, measure) for measure in shown)])
        if not pd.isna(row["paper_cmig"]):
            lines.append(["  the paper, on MIMIC-CXR", "", *(_printed(row, measure) for measure in shown)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    aligned = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    notes = ["Times 100, with 95 % intervals by bootstrap over patients. For research, not for clinical use."]
    if trained_several_times(systems):
        notes.append("In round brackets: the least and the greatest value of one training seed.")
    return "\n".join(
        [
            *notes,
            "",
            aligned[0],
            "-" * max(len(line) for line in aligned),
            *aligned[1:],
            "",
        ]
    )


def paper_cmig_recomputed(row: dict) -> float:
    """CMIG of the paper's own columns; NaN where the paper lacks one of them."""
    return float(combine(*(float(row[f"paper_{measure.name}"]) for measure in (PATHOLOGY_AUC, RACE_AUC, AGE_R))))


def trained_several_times(systems: pd.DataFrame) -> bool:
    """Whether some row of the table `systems` or `ablations` has a spread over training seeds."""
    return bool(systems[[f"{measure.name}_seeds_least" for measure in MAIN]].notna().any(axis=None))


def _printed(row: dict, measure: Measure) -> str:
    if measure not in IN_PAPER:
        return ""
    printed = percent(row[f"paper_{measure.name}"])
    recomputed = paper_cmig_recomputed(row)
    return f"{printed} (recomputed {percent(recomputed)})" if measure is CMIG else printed


def _cell(row: dict, measure: Measure) -> str:
    low, high = row[f"{measure.name}_low"], row[f"{measure.name}_high"]
    cell = percent(row[measure.name])
    if not pd.isna(low):
        cell += f" [{100 * low:.1f}, {100 * high:.1f}]"
    least, greatest = row[f"{measure.name}_seeds_least"], row[f"{measure.name}_seeds_greatest"]
    return cell if pd.isna(least) else f"{cell} ({100 * least:.1f} to {100 * greatest:.1f})"
