"""What all systems share: their settings, which pairs a shard draws, and the pictures that exist already."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from biomedjourney import tables
from biomedjourney.errors import UserError
from biomedjourney.systems import Stored

ROWS_AT_ONCE = 256


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


def stored_pictures(paths: Sequence[Path], source: Stored, keys: Iterable[str]) -> tables.Lookup:
    """Where the pictures with these keys lie. Raises UserError where one is in none of the files."""
    keys = list(keys)
    lookup = tables.Lookup(paths, source.table, source.key, keys)
    lookup.require_pictures(keys)
    return lookup


def pngs(lookup: tables.Lookup) -> Iterator[dict[str, bytes]]:
    """Batches of pictures by their keys. Raises UserError for one that could not be made."""
    for batch in lookup.batches(columns=[lookup.column, "png"], rows=ROWS_AT_ONCE):
        found = dict(zip(batch[lookup.column].to_pylist(), batch["png"].to_pylist(), strict=True))
        for key, png in found.items():
            if png is None:
                raise UserError(
                    f"{lookup.path_of(key)}: {lookup.column} {key} of a drawn pair has no picture: "
                    "run the step that writes it"
                )
        yield found
