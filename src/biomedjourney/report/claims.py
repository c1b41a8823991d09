"""What a reader would want to hold, tested against the tables and said either way."""

from dataclasses import dataclass

import pandas as pd

from biomedjourney.measures import AGE_R, CHANGE_AUC, CMIG, IN_PAPER, PATHOLOGY_AUC, RACE_AUC, Measure
from biomedjourney.systems import BOUND, MAIN

LARGEST_CHANCE = 0.05


@dataclass(frozen=True)
class Claim:
    """A statement, whether it holds (None where a measure is undefined), and the figures it was judged by."""

    text: str
    holds: bool | None
    evidence: str


def figure(row: pd.Series, measure: Measure) -> str:
    """A measure times 100 with its interval, as ``80.5 [78.1, 82.9]``; a dash where it is undefined."""
    estimate, low, high = (row[f"{measure.name}{end}"] for end in ("", "_low", "_high"))
    if pd.isna(estimate):
        return "–"
    return f"{100 * estimate:.1f}" if pd.isna(low) else f"{100 * estimate:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _known(holds: bool, *values: float) -> bool | None:
    return None if any(pd.isna(value) for value in values) else bool(holds)


def _against(a: pd.Series, b: pd.Series, measure: Measure) -> str:
    return f"{a.name} {figure(a, measure)}, {b.name} {figure(b, measure)}"


def above(a: pd.Series, b: pd.Series, measure: Measure) -> Claim:
    """a's interval lies above b's."""
    low, high = a[f"{measure.name}_low"], b[f"{measure.name}_high"]
    text = f"{a.name} is above {b.name} on {measure.title}, with intervals apart"
    return Claim(text, _known(low > high, low, high), _against(a, b, measure))


def at_least(a: pd.Series, b: pd.Series, measure: Measure, margin: float = 0.0) -> Claim:
    """a's estimate reaches b's plus a margin; the intervals are shown and do not decide."""
    text = f"{a.name} is not below {b.name} on {measure.title}"
    if margin:
        text = f"{a.name} is at least {100 * margin:.0f} points above {b.name} on {measure.title}"
    ours, other = a[measure.name], b[measure.name]
    return Claim(text, _known(ours >= other + margin, ours, other), _against(a, b, measure))


def not_below(other: pd.Series, measure: Measure) -> Claim:
    """The paired difference of biomedjourney to the other system does not lie below 0."""
    low = other[f"{measure.name}_difference_low"]
    text = f"{MAIN} is not below {other.name} on {measure.title}, by the paired difference"
    return Claim(text, _known(low <= 0, low), _ahead(other, measure))


def above_paired(other: pd.Series, measure: Measure) -> Claim:
    """The paired difference of biomedjourney to the other system lies above 0."""
    high = other[f"{measure.name}_difference_high"]
    text = f"{MAIN} is above {other.name} on {measure.title}, by the paired difference"
    return Claim(text, _known(high < 0, high), _ahead(other, measure))


def _ahead(other: pd.Series, measure: Measure) -> str:
    """By how much biomedjourney is ahead of the other system: the table's difference with its sign turned."""
    value, low, high = (-100 * other[f"{measure.name}_difference{end}"] for end in ("", "_low", "_high"))
    return "–" if pd.isna(value) else f"{value:+.1f} [{high:+.1f}, {low:+.1f}]"


def reaches(a: pd.Series, bound: pd.Series, measure: Measure, share: float) -> Claim:
    """a's measure is at least a share of the bound's."""
    text = f"{a.name} reaches {100 * share:.0f} % of the {measure.title} of {bound.name}"
    reached = a[measure.name] / bound[measure.name] if bound[measure.name] else float("nan")
    return Claim(text, _known(reached >= share, reached), f"{100 * reached:.1f} % ({_against(a, bound, measure)})")


def near_chance(row: pd.Series, measure: Measure) -> Claim:
    """The interval holds the value of chance, or the estimate is within five points of it."""
    assert measure.chance is not None
    value, low, high = (row[f"{measure.name}{end}"] for end in ("", "_low", "_high"))
    inside = low <= measure.chance <= high or abs(value - measure.chance) <= LARGEST_CHANCE
    text = (
        f"{row.name} is near chance on {measure.title} ({100 * measure.chance:.0f} in its interval or within 5 points)"
    )
    return Claim(text, _known(inside, value), figure(row, measure))


def is_bound(bound: pd.Series, others: list[pd.Series], measure: Measure) -> Claim:
    """No other row has a higher value."""
    name = measure.name
    best = max(others, key=lambda row: -1.0 if pd.isna(row[name]) else row[name])
    text = f"{bound.name} is the upper bound: nothing has a higher {measure.title}"
    return Claim(text, _known(best[name] <= bound[name], best[name], bound[name]), _against(bound, best, measure))


def every_finding_above(findings: pd.DataFrame, system: str, other: str, measure: Measure) -> Claim:
    """The system's estimate is above the other's for every finding for which both are defined."""
    values = findings.pivot(index="finding", columns="system", values=measure.name)[[system, other]].dropna()
    below = [str(finding) for finding in values.index[values[system] <= values[other]]]
    text = f"{system} is above {other} on the {measure.title} of every finding"
    evidence = "; ".join(
        f"{str(finding).replace('_', ' ')} {100 * row[system]:.1f} and {100 * row[other]:.1f}"
        for finding, row in values.iterrows()
    )
    return Claim(text, not below if len(values) else None, evidence)


def claims(systems: pd.DataFrame, findings: pd.DataFrame, ablations: pd.DataFrame) -> list[Claim]:
    """The claims that can be tested on these tables, given which systems are in them.

    An ablation is held against the system that it is an ablation of.
    """
    rows = {str(name): row for name, row in systems.set_index("system").iterrows()}
    if MAIN not in rows:
        return []
    ours, tested = rows[MAIN], []
    whole_of = ablations.set_index("system")["ablation_of"].dropna()
    for other in ("text-only", "no-registration"):
        if other in rows:
            whole = rows.get(str(whole_of.get(other)), ours)
            tested += [above(whole, rows[other], measure) for measure in (RACE_AUC, AGE_R)]
    if "text-only" in rows:
        tested.append(not_below(rows["text-only"], PATHOLOGY_AUC))
    if "copy-prior" in rows:
        copy = rows["copy-prior"]
        tested.append(at_least(ours, copy, PATHOLOGY_AUC, 0.10))
        tested += [above_paired(copy, measure) for measure in (CMIG, CHANGE_AUC)]
        tested.append(every_finding_above(findings, MAIN, "copy-prior", CHANGE_AUC))
    if BOUND in rows:
        bound = rows[BOUND]
        tested.append(reaches(ours, bound, CMIG, 0.90))
        tested.append(is_bound(bound, [row for row in rows.values() if row is not bound], CMIG))
    if "untrained" in rows:
        tested += [near_chance(rows["untrained"], measure) for measure in IN_PAPER if measure.chance is not None]
    return tested
