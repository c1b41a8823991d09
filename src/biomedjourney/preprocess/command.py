"""The command ``biomedjourney preprocess``."""

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
@click.option("--pairs", type=click.Path(path_type=Path), required=True, help="Table of pairs.")
@click.option("--singles", type=click.Path(path_type=Path), required=True, help="Table of singles.")
@click.option("--images", type=click.Path(path_type=Path), required=True, help="Table of image files.")
@click.option("--shard", type=click.IntRange(min=0), default=0, show_default=True, help="Which part of the images.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Table of pixels to write.")
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True)
def command(
    settings: dict[str, Any], pairs: Path, singles: Path, images: Path, shard: int, out: Path, processes: int
) -> None:
    """Bring every image that a single or a pair needs into canonical form, once."""
    from biomedjourney import progress, tables, workers
    from biomedjourney.preprocess import rows

    shards = settings["preprocess"]["shards"]
    if shard >= shards:
        raise click.BadParameter(f"there are {shards} shards, counted from 0", param_hint="--shard")
    jobs = rows.jobs(pairs, singles, images, Path(settings["data"]["images"]), settings["preprocess"]["size"])
    jobs = jobs[shard::shards]
    done = workers.map_ordered(rows.row, jobs, processes, chunk=8)
    shown = progress.track(done, "preprocess", total=len(jobs), unit="image")
    counted = rows.Count()
    tables.write_stream(out, "pixels", rows.groups(counted.over(shown), ROWS_AT_ONCE))
    click.echo(f"preprocess: {counted.pictures} pictures, {counted.inverted} inverted, {counted.failed} without")
