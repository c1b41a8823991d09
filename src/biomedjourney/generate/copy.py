"""Systems without a model: pictures that exist already, copied for the compared test pairs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from biomedjourney import examples, progress, tables
from biomedjourney.errors import UserError
from biomedjourney.generate.systems import part_of, pngs, stored_pictures, system_settings
from biomedjourney.systems import STORED


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
    lookup = stored_pictures(stored, source, pairs_of)

    def rows() -> Iterator[list[dict[str, Any]]]:
        for seed in progress.track(settings["generate"]["seeds"], f"copy from {source.table}", unit="seed"):
            for batch in pngs(lookup):
                pairs = ((pair_id, png) for key, png in batch.items() for pair_id in pairs_of[key])
                yield [{"pair_id": pair_id, "png": png, "training_seed": 0, "seed": seed} for pair_id, png in pairs]

    click.echo(f"{out}: {tables.write_stream(out, 'generated', rows())} pictures", err=True)
