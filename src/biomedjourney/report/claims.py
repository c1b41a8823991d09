"""What a reader would want to hold, tested against the tables and said either way."""

from dataclasses import dataclass

import pandas as pd

NAMES = {"pathology_auc": "pathology AUC", "race_auc": "race AUC", "age_r": "age r", "cmig": "CMIG"}
CHANCE = {"pathology_auc": 0.5, "race_auc": 0.5, "age_r": 0.0}
LARGEST_CHANCE = 0.05


@dataclass(frozen=True)
class Claim:
    """A statement, whether it holds (None where a measure is undefined), and the figures it was judged by."""

    text: str
    holds: bool | None
    evidence: str


def figure(row: pd.Series, measure: str) -> str:
    """A measure times 100 with its interval, as ``80.5 [78.1, 82.9]``; a dash where it is undefined."""
    if pd.isna(row[measure]):
        return "–"
    if pd.isna(row[f"{measure}_low"]):
        return f"{100 * row[measure]:.1f}"
    return f"{100 * row[measure]:.1f} [{100 * row[f'{measure}_low']:.1f}, {100 * row[f'{measure}_high']:.1f}]"


def _known(holds: bool, *values: float) -> bool | None:
    return None if any(pd.isna(value) for value in values) else bool(holds)


def _against(a: pd.Series, b: pd.Series, measure: str) -> str:
    return f"{a.name} {figure(a, measure)}, {b.name} {figure(b, measure)}"


def above(a: pd.Series, b: pd.Series, measure: str) -> Claim:
    """a's interval lies above b's."""
    low, high = a[f"{measure}_low"], b[f"{measure}_high"]
    text = f"{a.name} is above {b.name} on {NAMES[measure]}, with intervals apart"
    return Claim(text, _known(low > high, low, high), _against(a, b, measure))


def at_least(a: pd.Series, b: pd.Series, measure: str, margin: float = 0.0) -> Claim:
    """a's estimate reaches b's plus a margin; the intervals are shown and not asked for."""
    text = f"{a.name} is not below {b.name} on {NAMES[measure]}"
    if margin:
        text = f"{a.name} is at least {100 * margin:.0f} points above {b.name} on {NAMES[measure]}"
    return Claim(text, _known(a[measure] >= b[measure] + margin, a[measure], b[measure]), _against(a, b, measure))


def reaches(a: pd.Series, bound: pd.Series, share: float) -> Claim:
    """a's CMIG is at least a share of the bound's."""
    text = f"{a.name} reaches {100 * share:.0f} % of the CMIG of {bound.name}"
    reached = a["cmig"] / bound["cmig"] if bound["cmig"] else float("nan")
    return Claim(text, _known(reached >= share, reached), f"{100 * reached:.1f} % ({_against(a, bound, 'cmig')})")


def near_chance(row: pd.Series, measure: str) -> Claim:
    """The interval holds the value of chance, or the estimate is within five points of it."""
    value, chance = row[measure], CHANCE[measure]
    inside = row[f"{measure}_low"] <= chance <= row[f"{measure}_high"] or abs(value - chance) <= LARGEST_CHANCE
    text = f"{row.name} is near chance on {NAMES[measure]} ({100 * chance:.0f} in its interval or within 5 points)"
    return Claim(text, _known(inside, value), figure(row, measure))


def is_bound(bound: pd.Series, others: list[pd.Series]) -> Claim:
    """No other row has a higher CMIG."""
    best = max(others, key=lambda row: -1.0 if pd.isna(row["cmig"]) else row["cmig"])
    text = f"{bound.name} is the upper bound: nothing has a higher CMIG"
    return Claim(
        text, _known(best["cmig"] <= bound["cmig"], best["cmig"], bound["cmig"]), _against(bound, best, "cmig")
    )


def claims(systems: pd.DataFrame) -> list[Claim]:
    """The claims that can be tested on the table `systems`, given which systems are in it."""
    rows = {str(name): row for name, row in systems.set_index("system").iterrows()}
    if "biomedjourney" not in rows:
        return []
    ours, found = rows["biomedjourney"], []
    for other in ("text-only", "no-registration"):
        if other in rows:
            found += [above(ours, rows[other], measure) for measure in ("race_auc", "age_r")]
    if "text-only" in rows:
        found.append(at_least(ours, rows["text-only"], "pathology_auc"))
    if "copy-prior" in rows:
        found.append(at_least(ours, rows["copy-prior"], "pathology_auc", 0.10))
        found.append(above(ours, rows["copy-prior"], "cmig"))
    if "real-follow-up" in rows:
        bound = rows["real-follow-up"]
        found.append(reaches(ours, bound, 0.85))
        found.append(is_bound(bound, [row for row in rows.values() if row is not bound]))
    if "untrained" in rows:
        found += [near_chance(rows["untrained"], measure) for measure in CHANCE]
    return found
