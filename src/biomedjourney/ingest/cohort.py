"""The rows of the tables `cohort` and `exclusions`: what each step keeps, what it drops and why."""

from collections.abc import Iterable

import pandas as pd


class Account:
    """Collects rows of `cohort` and `exclusions`.

    The name of a step begins with what it counts ("images: with a report"). Steps that count the same follow each
    other: a step keeps what the step before it kept, less what it drops.
    """

    def __init__(self) -> None:
        self._cohort: list[dict[str, object]] = []
        self._exclusions: list[pd.DataFrame] = []

    def step(self, step: str, kept: int, dropped: dict[str, int] | None = None, paper: int | None = None) -> None:
        """Adds one row per reason, or a single row with an empty reason if nothing was dropped."""
        reasons = {reason: n for reason, n in (dropped or {}).items() if n} or {"": 0}
        for reason, n in reasons.items():
            self._cohort.append({"step": step, "kept": kept, "dropped": n, "reason": reason, "paper": paper})

    def exclude(self, kind: str, ids: Iterable[object], step: str, reasons: str | Iterable[str]) -> None:
        """Adds one row per id that the step drops, with one reason for all ids or one for each."""
        rows = pd.DataFrame({"kind": kind, "id": pd.Series(ids).astype(str), "step": step})
        self._exclusions.append(rows.assign(reason=reasons if isinstance(reasons, str) else list(reasons)))

    def cohort(self) -> pd.DataFrame:
        return pd.DataFrame(self._cohort, columns=["step", "kept", "dropped", "reason", "paper"]).astype(
            {"paper": "Int64"}
        )

    def exclusions(self) -> pd.DataFrame:
        columns = ["kind", "id", "step", "reason"]
        return pd.concat([pd.DataFrame(columns=columns, dtype=object), *self._exclusions])[columns]
