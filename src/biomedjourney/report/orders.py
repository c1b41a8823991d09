"""The sentence on two orders of the systems: by the first and by the second set of judges."""

from itertools import combinations

import pandas as pd

from biomedjourney.measures import Measure


def compare(judges: pd.DataFrame, measure: Measure) -> str:
    """How far both sets of judges agree on the order by a measure, and which systems change places.

    ``judges``: the table of that name. Systems for which the measure is undefined by one set are left out.
    """
    values = judges.pivot(index="system", columns="judges", values=measure.name).dropna()
    pairs = list(combinations([name for name in judges["system"].unique() if name in values.index], 2))
    steps = values.loc[[a for a, _ in pairs]].to_numpy() - values.loc[[b for _, b in pairs]].to_numpy()
    swapped = [f"{a} and {b}" for (a, b), step in zip(pairs, steps, strict=True) if step.prod() < 0]
    if not pairs:
        return f"By {measure.title} there are not two systems to order."
    said = "no pair of systems changes" if not swapped else f"{len(swapped)} of {len(pairs)} pairs of systems change"
    tau = judges[f"{measure.name}_agreement"].iloc[0]
    names = f": {', '.join(swapped)}" if swapped else ""
    return f"By {measure.title} {said} places between the two sets of judges (Kendall's tau {tau:.2f}){names}."
