"""``biomedjourney encode pictures | texts``."""

from pathlib import Path
from typing import Any

import click

from biomedjourney import config

FILE = config.PATH
THREADS = click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)


@click.group()
def command() -> None:
    """Encode pictures and texts once, so that training touches neither VAE nor text encoder.

    Example: biomedjourney encode pictures --help
    """


@command.command()
@config.option("encode pictures")
@click.option(
    "--pictures", type=FILE, required=True, multiple=True, help="Input: pixels or registered table; repeat it."
)
@click.option("--first-stage", type=FILE, required=True, help="Input: folder of the first stage.")
@click.option("--out", type=FILE, required=True, help="Output: latents table.")
@THREADS
def pictures(settings: dict[str, Any], pictures: tuple[Path, ...], first_stage: Path, out: Path, threads: int) -> None:
    """The latents of pictures.

    Example: biomedjourney encode pictures --pictures results/pixels/0.parquet
    --first-stage results/models/first-stage --out results/latents/images/0.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.encode.latents import encode

    click.echo(f"encode: {encode(pictures, first_stage, settings['encode']['batch_size'], out)} latents")


@command.command()
@config.option("encode texts")
@click.option("--singles", type=FILE, help="Input: singles table, for the reports' texts.")
@click.option("--progressions", type=FILE, help="Input: progressions table, for the descriptions of one writer.")
@click.option("--text-tower", type=FILE, required=True, help="Input: folder of the text tower.")
@click.option("--out", type=FILE, required=True, help="Output: texts table.")
@THREADS
def texts(
    settings: dict[str, Any],
    singles: Path | None,
    progressions: Path | None,
    text_tower: Path,
    out: Path,
    threads: int,
) -> None:
    """The token states of each distinct text of one table.

    Example: biomedjourney encode texts --singles results/tables/singles.parquet
    --text-tower results/models/text-tower --out results/texts/reports.parquet
    """
    if (singles is None) == (progressions is None):
        raise click.UsageError("give either --singles or --progressions")
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.encode.texts import encode, read_texts

    texts = read_texts(singles, progressions)
    count = encode(texts, text_tower, settings["text"]["max_tokens"], settings["encode"]["batch_size"], out)
    click.echo(f"encode: {count} distinct texts")
