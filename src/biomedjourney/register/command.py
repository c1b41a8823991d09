"""The command ``biomedjourney register``."""

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import click

from biomedjourney import config
from biomedjourney.pair.directions import DIRECTIONS

ROWS_AT_ONCE = 64


@click.command(
    epilog="Example: biomedjourney register --pairs pairs.parquet --images images.parquet --pixels pixels.parquet "
    "--shard 0 --registered registered.parquet --registrations registrations.parquet"
)
@config.option("register")
@click.option("--pairs", type=config.PATH, required=True, help="Input: pairs table.")
@click.option("--images", type=config.PATH, required=True, help="Input: images table.")
@click.option(
    "--pixels",
    "pixel_tables",
    type=config.PATH,
    required=True,
    multiple=True,
    help="Input: pixels table; repeat.",
)
@click.option(
    "--direction",
    type=click.Choice(DIRECTIONS),
    default="forward",
    show_default=True,
    help="backward: the later film of each training pair onto the earlier one.",
)
@click.option("--shard", type=click.IntRange(min=0), default=0, show_default=True, help="Shard of the pairs.")
@click.option("--registered", type=config.PATH, required=True, help="Output: registered table.")
@click.option("--registrations", type=config.PATH, required=True, help="Output: registrations table.")
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Number of processes.")
def command(
    settings: dict[str, Any],
    pairs: Path,
    images: Path,
    pixel_tables: tuple[Path, ...],
    direction: str,
    shard: int,
    registered: Path,
    registrations: Path,
    processes: int,
) -> None:
    """Bring each prior image onto the current one, and score the fit.

    A pair that cannot be registered is a row with a reason. The step ends when there are too many of these.
    """
    import pandas as pd

    from biomedjourney import progress, tables, workers
    from biomedjourney.preprocess.rows import groups, image_paths
    from biomedjourney.refusals import Refusals
    from biomedjourney.register import rows

    step_settings = settings["register"]
    shards = step_settings["shards"]
    if shard >= shards:
        raise click.BadParameter(f"there are {shards} shards, counted from 0", param_hint="--shard")
    shard_pairs = rows.pairs_of(pairs, direction, shard, shards)
    priors = {pair.prior_dicom_id for pair in shard_pairs}
    jobs = rows.jobs(shard_pairs, list(pixel_tables), image_paths(images, Path(settings["data"]["images"]), priors))
    work = partial(rows.work, transform=step_settings["transform"], threshold=step_settings["threshold"])
    largest_share = step_settings["largest_failed_share"]
    failures = Refusals("register", "pairs", len(shard_pairs), largest_share, "register.largest_failed_share")
    registration_rows: list[dict[str, Any]] = []
    with closing(workers.map_ordered(work, jobs, processes, chunk=8)) as results:
        tracked_results = progress.track(results, "register", total=len(shard_pairs), unit="pair")
        picture_rows = rows.pictures(tracked_results, registration_rows, failures)
        tables.write_stream(registered, "registered", groups(picture_rows, ROWS_AT_ONCE))
    columns = ["pair_id", "matrix", "displacement", "score_before", "score_after", "accepted", "reason"]
    tables.write(registrations, "registrations", pd.DataFrame(registration_rows, columns=columns))
    accepted = sum(row["accepted"] for row in registration_rows)
    unscored = sum(row["score_after"] is None for row in registration_rows)
    failed = failures.reasons.total()
    click.echo(
        f"register: {len(registration_rows)} pairs, {accepted} accepted, {failed} failed, "
        f"{unscored - failed} with a film that preprocess refused"
    )
