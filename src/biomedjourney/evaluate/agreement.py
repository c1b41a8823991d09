"""How much the ranking of the systems hangs on the judges: the same pictures, scored by a second set of them."""

from typing import Any

import pandas as pd

from biomedjourney import measures, tables
from biomedjourney.errors import UserError
from biomedjourney.evaluate import summary
from biomedjourney.evaluate.scoring import SEEDS
from biomedjourney.systems import in_order


def by_both_judges(
    systems: pd.DataFrame,
    second_scores: pd.DataFrame,
    rows: pd.DataFrame,
    truth: pd.DataFrame | None,
    settings: dict[str, Any],
) -> pd.DataFrame:
    """The table `judges`. ``systems``: that table, by the first set. ``rows``: made by `labels.attributes`.

    The bootstrap draws the same patients for both sets. Raises UserError for a system that one set has not judged.
    """
    names = in_order(second_scores["system"].unique())
    if differing := sorted(set(names) ^ set(systems["system"])):
        raise UserError(
            f"table judges: the system {differing[0]!r} is judged by one set of judges alone: "
            "give the systems and the second scores of one run"
        )
    measured = []
    for system in names:
        scores = second_scores[second_scores["system"] == system].sort_values([*SEEDS, "pair_id"], ignore_index=True)
        pair_rows, replicates = rows.loc[scores["pair_id"]], settings["evaluate"]["bootstrap"]
        seen = summary.evidence(scores, pair_rows, settings["labels"], truth, replicates, settings["seed"])
        measured.append({"system": system, **summary.measured(seen, measures.MAIN)})
    sets = {"first": systems.set_index("system").loc[names], "second": pd.DataFrame(measured).set_index("system")}
    parts = {name: rows_of.assign(judges=name) for name, rows_of in sets.items()}
    for measure in measures.RANKING:
        values = {name: rows_of[measure.name].astype(float) for name, rows_of in sets.items()}
        tau = values["first"].corr(values["second"], method="kendall", min_periods=2)
        for name, part in parts.items():
            part[f"{measure.name}_rank"] = values[name].rank(ascending=False, method="min").astype("Int16")
            part[f"{measure.name}_agreement"] = tau
    both = pd.concat([part.reset_index() for part in parts.values()]).sort_values(
        "system", key=lambda column: column.map(names.index), kind="stable"
    )
    return both[[column.name for column in tables.table("judges").columns]].reset_index(drop=True)
