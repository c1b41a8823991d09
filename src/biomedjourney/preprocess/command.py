"""The command ``biomedjourney preprocess``."""

from contextlib import closing
from pathlib import Path
from typing import Any

import click

from biomedjourney import config

ROWS_AT_ONCE = 64


@click.command(
    epilog="Example: biomedjourney preprocess --pairs pairs.parquet --singles singles.parquet "
    "--images images.parquet --shard 0 --out pixels.parquet"
)
@config.option("preprocess")
@click.option("--pairs", type=config.PATH, required=True, help="Input: pairs table.")
@click.option("--singles", type=config.PATH, required=True, help="Input: singles table.")
@click.option("--images", type=config.PATH, required=True, help="Input: images table.")
@click.option("--shard", type=click.IntRange(min=0), default=0, show_default=True, help="Shard of the images.")
@click.option("--out", type=config.PATH, required=True, help="Output: pixels table.")
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Number of processes.")
def command(
    settings: dict[str, Any], pairs: Path, singles: Path, images: Path, shard: int, out: Path, processes: int
) -> None:
    """Bring every image that a single or a pair needs into canonical form, once.

    An image whose file gives no picture is a row with a reason. The step ends when there are too many of these.
    """
    from biomedjourney import progress, tables, workers
    from biomedjourney.preprocess import rows
    from biomedjourney.refusals import Refusals

    step_settings = settings["preprocess"]
    shards = step_settings["shards"]
    if shard >= shards:
        raise click.BadParameter(f"there are {shards} shards, counted from 0", param_hint="--shard")
    all_jobs = rows.jobs(pairs, singles, images, Path(settings["data"]["images"]), step_settings["size"])
    jobs = rows.part_of(all_jobs, shard, shards)
    largest_share = step_settings["largest_refused_share"]
    refusals = Refusals("preprocess", "films", len(jobs), largest_share, "preprocess.largest_refused_share")
    count = rows.Count()
    with closing(workers.map_ordered(rows.work, jobs, processes, chunk=8)) as results:
        tracked_results = progress.track(results, "preprocess", total=len(jobs), unit="image")
        tables.write_stream(out, "pixels", rows.groups(count.over(tracked_results, refusals), ROWS_AT_ONCE))
    refused = refusals.reasons.total()
    click.echo(f"preprocess: {count.pictures} pictures, {count.inverted} inverted, {refused} films refused")
    if count.windows_ignored:
        reason = "not valid, or it clips nearly all of the picture"
        click.echo(
            f"preprocess: a DICOM window, table or rescale of {count.windows_ignored} films was ignored ({reason})"
        )
