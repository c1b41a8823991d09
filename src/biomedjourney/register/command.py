"""The command ``biomedjourney register``."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from biomedjourney import config

ROWS_AT_ONCE = 64


@click.command(
    epilog="Example: biomedjourney register --pairs pairs.parquet --pixels pixels.parquet --shard 0 "
    "--registered registered.parquet --registrations registrations.parquet"
)
@config.option("register")
@click.option("--pairs", type=click.Path(path_type=Path), required=True, help="Table of pairs.")
@click.option(
    "--pixels", "stored", type=click.Path(path_type=Path), required=True, multiple=True, help="Table of pixels; repeat."
)
@click.option("--shard", type=click.IntRange(min=0), default=0, show_default=True, help="Which part of the pairs.")
@click.option("--registered", type=click.Path(path_type=Path), required=True, help="Table of pictures to write.")
@click.option("--registrations", type=click.Path(path_type=Path), required=True, help="Table of transforms to write.")
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True)
def command(
    settings: dict[str, Any],
    pairs: Path,
    stored: tuple[Path, ...],
    shard: int,
    registered: Path,
    registrations: Path,
    processes: int,
) -> None:
    """Bring each prior image onto the later one, and score the fit."""
    import pandas as pd

    from biomedjourney import progress, tables, workers
    from biomedjourney.register import rows

    chosen = settings["register"]
    if shard >= chosen["shards"]:
        raise click.BadParameter(f"there are {chosen['shards']} shards, counted from 0", param_hint="--shard")
    part = rows.pairs_of(pairs, shard, chosen["shards"])
    work = partial(rows.work, transform=chosen["transform"], threshold=chosen["threshold"])
    done = workers.map_ordered(work, rows.jobs(part, list(stored)), processes, chunk=8)
    transforms: list[dict[str, Any]] = []

    def pictures() -> Iterator[list[dict[str, Any]]]:
        group: list[dict[str, Any]] = []
        for result in progress.track(done, "register", total=len(part), unit="pair"):
            transforms.append(result.registration)
            group.append(result.registered)
            if len(group) == ROWS_AT_ONCE:
                yield group
                group = []
        yield group

    tables.write_stream(registered, "registered", pictures())
    columns = ["pair_id", "matrix", "displacement", "score_before", "score_after", "accepted", "reason"]
    tables.write(registrations, "registrations", pd.DataFrame(transforms, columns=columns))
    click.echo(f"register: {len(transforms)} pairs, {sum(row['accepted'] for row in transforms)} accepted")
