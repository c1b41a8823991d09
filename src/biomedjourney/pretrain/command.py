"""``biomedjourney pretrain first-stage | text-tower | judges``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from biomedjourney import config

FILE = config.PATH


_pixels = click.option(
    "--pixels", type=FILE, required=True, multiple=True, help="Input: pixels table; repeat for each shard."
)
_studies = click.option("--studies", type=FILE, required=True, help="Input: studies table.")


def _common(function: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option("--singles", type=FILE, required=True, help="Input: singles table."),
        click.option("--out", type=FILE, required=True, help="Output: folder of the part."),
        click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="number of threads"),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.group()
def command() -> None:
    """Load or train the parts that stay frozen: first stage, text tower, judges.

    Example: biomedjourney pretrain first-stage --help
    """


@command.command("first-stage")
@config.option("pretrain first-stage")
@_common
@_pixels
def first_stage(settings: dict[str, Any], singles: Path, pixels: tuple[Path, ...], out: Path, threads: int) -> None:
    """Write the first stage (VAE): a published AutoencoderKL, or a patch autoencoder trained on training pictures.

    Example: biomedjourney pretrain first-stage --singles results/tables/singles.parquet
    --pixels results/pixels/0.parquet --out results/models/first-stage
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.pretrain import run

    click.echo(run.first_stage(settings, singles, pixels, out))


@command.command("text-tower")
@config.option("pretrain text-tower")
@_common
@click.option("--pairs", type=FILE, required=True, help="Input: pairs table.")
@click.option("--progressions", type=FILE, required=True, help="Input: progressions table.")
@_studies
def text_tower(
    settings: dict[str, Any],
    singles: Path,
    pairs: Path,
    progressions: Path,
    studies: Path,
    out: Path,
    threads: int,
) -> None:
    """Write the text tower: BiomedCLIP's, or a small one that learned to predict labels from training texts.

    Example: biomedjourney pretrain text-tower --singles results/tables/singles.parquet
    --pairs results/tables/pairs.parquet --progressions results/tables/progressions.parquet
    --studies results/tables/studies.parquet --out results/models/text-tower
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.pretrain import run

    click.echo(run.text_tower(settings, singles, pairs, progressions, studies, out))


@command.command("judges")
@config.option("pretrain judges")
@_common
@_pixels
@_studies
@click.option("--patients", type=FILE, required=True, help="Input: patients table.")
def judges(
    settings: dict[str, Any],
    singles: Path,
    pixels: tuple[Path, ...],
    studies: Path,
    patients: Path,
    out: Path,
    threads: int,
) -> None:
    """Write the judging classifiers of pathology, race and age: published, or trained on real training pictures.

    Example: biomedjourney pretrain judges --singles results/tables/singles.parquet
    --studies results/tables/studies.parquet --patients results/tables/patients.parquet
    --pixels results/pixels/0.parquet --out results/models/judges
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.pretrain import run

    click.echo(run.judges(settings, singles, studies, patients, pixels, out))
