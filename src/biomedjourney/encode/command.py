"""``biomedjourney encode pictures | texts``."""

from pathlib import Path
from typing import Any

import click

from biomedjourney import config

FILE = click.Path(path_type=Path)
THREADS = click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)


@click.group()
def command() -> None:
    """Encode pictures and texts once, so that training touches neither VAE nor text encoder.

    Example: biomedjourney encode pictures --help
    """


@command.command()
@config.option("encode pictures")
@click.option("--pictures", type=FILE, required=True, multiple=True, help="Table pixels or registered; repeat it.")
@click.option("--first-stage", type=FILE, required=True, help="Folder of the first stage.")
@click.option("--out", type=FILE, required=True, help="Table latents to write.")
@THREADS
def pictures(settings: dict[str, Any], pictures: tuple[Path, ...], first_stage: Path, out: Path, threads: int) -> None:
    """The latents of pictures.

    Example: biomedjourney encode pictures --pictures results/pixels/0.parquet
    --first-stage results/models/first-stage --out results/latents/images.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.encode.latents import encode

    click.echo(f"encode: {encode(pictures, first_stage, settings['encode']['batch_size'], out)} latents")


@command.command()
@config.option("encode texts")
@click.option("--singles", type=FILE, required=True, help="Table singles.")
@click.option("--progressions", type=FILE, required=True, help="Table progressions.")
@click.option("--text-tower", type=FILE, required=True, help="Folder of the text tower.")
@click.option("--out", type=FILE, required=True, help="Table texts to write.")
@THREADS
def texts(
    settings: dict[str, Any], singles: Path, progressions: Path, text_tower: Path, out: Path, threads: int
) -> None:
    """The token states of each distinct text.

    Example: biomedjourney encode texts --singles results/tables/singles.parquet
    --progressions results/tables/progressions.parquet --text-tower results/models/text-tower
    --out results/texts/texts.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.encode.texts import encode

    count = encode(
        singles, progressions, text_tower, settings["text"]["max_tokens"], settings["encode"]["batch_size"], out
    )
    click.echo(f"encode: {count} distinct texts")
