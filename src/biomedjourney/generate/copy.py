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
    pair_of = dict(zip(test_triples[source.column], test_triples["pair_id"], strict=True))

    def rows() -> Iterator[list[dict[str, Any]]]:
        for seed in settings["generate"]["seeds"]:
            for batch in _copies(stored, source.table, source.key, pair_of):
                yield [row | {"seed": seed} for row in batch]

    click.echo(f"{out}: {tables.write_stream(out, 'generated', rows())} pictures", err=True)


def _copies(files: tuple[Path, ...], table: str, key: str, pair_of: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
    """Batches of rows with pair_id and png. ``pair_of`` maps the key of a stored picture to its pair."""
    batch: list[dict[str, Any]] = []
    copied = 0
    for file in progress.track(files, f"copy from {table}", unit="file"):
        for row in tables.read_stream(file, table, [key, "png"], rows=ROWS_AT_ONCE):
            if row[key] not in pair_of:
                continue
            if row["png"] is None:
                raise UserError(f"{file}: {key} {row[key]} of a test pair has no picture: run the step that writes it")
            batch.append({"pair_id": pair_of[row[key]], "png": row["png"]})
            copied += 1
            if len(batch) == ROWS_AT_ONCE:
                yield batch
                batch = []
    yield batch
    if copied < len(pair_of):
        raise UserError(
            f"{', '.join(map(str, files))}: {len(pair_of) - copied} of {len(pair_of)} pictures are missing: "
            f"give every shard of the table {table}"
        )
