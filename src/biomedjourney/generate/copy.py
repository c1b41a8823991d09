"""Systems without a model: pictures that exist already, copied for the compared test pairs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from biomedjourney import examples, progress, tables
from biomedjourney.errors import UserError
from biomedjourney.generate.systems import part_of, system_settings
from biomedjourney.systems import STORED

ROWS_AT_ONCE = 256


def pictures(
    system: str, settings: dict[str, Any], triples: Path, stored: tuple[Path, ...], shard: int, out: Path
) -> None:
    """Writes the table `generated` of a system: one picture per seed and compared test pair of the shard.

    ``stored``: every shard of the table that the system copies from. Raises UserError where a picture is missing.
    """
    picture = system_settings(system, settings).get("picture")
    if picture is None:
        raise UserError(f"--system: {system} is drawn by a model: use generate pictures")
    source = STORED[picture]
    test_triples = examples.compared_triples(examples.Inputs(triples=[triples]), "test")
    test_triples = part_of(test_triples, shard, settings["generate"]["shards"])
    pairs_of: dict[str, list[str]] = {}
    for key, pair_id in zip(test_triples[source.column], test_triples["pair_id"], strict=True):
        pairs_of.setdefault(key, []).append(pair_id)
    lookup = tables.Lookup(stored, source.table, source.key, pairs_of)
    if absent := [key for key in pairs_of if key not in lookup]:
        raise UserError(
            f"{', '.join(map(str, stored))}: {len(absent)} of {len(pairs_of)} pictures are missing: "
            f"give every shard of the table {source.table}"
        )

    def rows() -> Iterator[list[dict[str, Any]]]:
        for seed in progress.track(settings["generate"]["seeds"], f"copy from {source.table}", unit="seed"):
            for batch in _copies(lookup, pairs_of):
                yield [row | {"training_seed": 0, "seed": seed} for row in batch]

    click.echo(f"{out}: {tables.write_stream(out, 'generated', rows())} pictures", err=True)


def _copies(lookup: tables.Lookup, pairs_of: dict[str, list[str]]) -> Iterator[list[dict[str, Any]]]:
    """Batches of rows with pair_id and png. ``pairs_of`` maps the key of a stored picture to its pairs."""
    for batch in lookup.batches(columns=[lookup.column, "png"], rows=ROWS_AT_ONCE):
        rows = batch.to_pylist()
        for row in rows:
            if row["png"] is None:
                key = row[lookup.column]
                raise UserError(
                    f"{lookup.path_of(key)}: {lookup.column} {key} of a test pair has no picture: "
                    "run the step that writes it"
                )
        yield [{"pair_id": pair, "png": row["png"]} for row in rows for pair in pairs_of[row[lookup.column]]]
