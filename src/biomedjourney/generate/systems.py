"""What all systems share: their settings, and which pairs a shard draws."""

from typing import Any

import pandas as pd

from biomedjourney.errors import UserError


def system_settings(system: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a system. Raises UserError for a name that is not configured."""
    if system not in settings["systems"]:
        raise UserError(f"--system: there is no system {system!r}: known: {', '.join(settings['systems'])}")
    result: dict[str, Any] = settings["systems"][system]
    return result


def part_of(rows: pd.DataFrame, shard: int, shards: int) -> pd.DataFrame:
    """The rows of a shard: each ``shards``-th one. Raises UserError where it has none."""
    part = rows.iloc[shard::shards].reset_index(drop=True)
    if shard >= shards or part.empty:
        raise UserError(
            f"--shard: shard {shard} of {shards} has no pair of {len(rows)}: lower generate.shards, shards count from 0"
        )
    return part
