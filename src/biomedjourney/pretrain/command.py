"""``biomedjourney pretrain first-stage | text-tower | judges | second-judges | segmenter``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from biomedjourney import config

FILE = config.PATH


def _common(function: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option("--out", type=FILE, required=True, help="Output: folder of the part."),
        click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="number of threads"),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _tables(*names: str) -> Callable[..., Any]:
    """One option per table that a part is trained on; pixels come in shards."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            shards = name == "pixels"
            text = f"Input: {name} table{'; repeat for each shard' if shards else ''}. Not read if weights are given."
            function = click.option(f"--{name}", type=FILE, multiple=shards, help=text)(function)
        return function

    return decorate


@click.group()
def command() -> None:
    """Load or train the parts that stay frozen: first stage, text tower, judges, segmenter.

    Example: biomedjourney pretrain first-stage --help
    """


@command.command("check")
@config.option("pretrain check")
@click.option("--out", type=FILE, required=True, help="Output: what the parts are, as JSON.")
def check(settings: dict[str, Any], out: Path) -> None:
    """Check every published part that the configuration names: files, formats, and that they fit each other.

    Headers alone are read of what is large. Each faulty part is named in a line of its own.

    Example: biomedjourney pretrain check --config config.yaml --out results/models/checked.json
    """
    from biomedjourney.pretrain import checks

    for line in checks.check(settings, out):
        click.echo(line)


@command.command("first-stage")
@config.option("pretrain first-stage")
@_common
@_tables("singles", "pixels")
def first_stage(settings: dict[str, Any], out: Path, threads: int, **inputs: Any) -> None:
    """Write the first stage (VAE): a published AutoencoderKL, or a patch autoencoder trained on training pictures.

    Example: biomedjourney pretrain first-stage --singles results/tables/singles.parquet
    --pixels results/pixels/0.parquet --out results/models/first-stage
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.pretrain import run

    click.echo(run.first_stage(settings, out, inputs))


@command.command("text-tower")
@config.option("pretrain text-tower")
@_common
@_tables("singles", "pairs", "progressions", "studies")
def text_tower(settings: dict[str, Any], out: Path, threads: int, **inputs: Any) -> None:
    """Write the text tower: BiomedCLIP's, or a small one that learned to predict labels from training texts.

    Example: biomedjourney pretrain text-tower --singles results/tables/singles.parquet
    --pairs results/tables/pairs.parquet --progressions results/tables/progressions.parquet
    --studies results/tables/studies.parquet --out results/models/text-tower
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.pretrain import run

    click.echo(run.text_tower(settings, out, inputs))


@command.command("judges")
@config.option("pretrain judges")
@_common
@_tables("singles", "studies", "patients", "pixels")
def judges(settings: dict[str, Any], out: Path, threads: int, **inputs: Any) -> None:
    """Write the judging classifiers of pathology, race and age: published, or trained on real training pictures.

    Example: biomedjourney pretrain judges --singles results/tables/singles.parquet
    --studies results/tables/studies.parquet --patients results/tables/patients.parquet
    --pixels results/pixels/0.parquet --out results/models/judges
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.pretrain import run

    click.echo(run.judges(settings, out, inputs))


@command.command("second-judges")
@config.option("pretrain second-judges")
@_common
@_tables("singles", "studies", "patients", "pixels")
def second_judges(settings: dict[str, Any], out: Path, threads: int, **inputs: Any) -> None:
    """Write a second set of judging classifiers: other published files, or other networks trained on the same pictures.

    Example: biomedjourney pretrain second-judges --singles results/tables/singles.parquet
    --studies results/tables/studies.parquet --patients results/tables/patients.parquet
    --pixels results/pixels/0.parquet --out results/models/second-judges
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.pretrain import run

    click.echo(run.second_judges(settings, out, inputs))


@command.command("segmenter")
@config.option("pretrain segmenter")
@_common
@_tables("singles", "pixels", "organs")
def segmenter(settings: dict[str, Any], out: Path, threads: int, **inputs: Any) -> None:
    """Write the segmenter of lungs and heart: published, or trained on masks of training patients.

    Example: biomedjourney pretrain segmenter --singles results/tables/singles.parquet
    --pixels results/pixels/0.parquet --organs results/organs.parquet --out results/models/segmenter
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.pretrain import run

    click.echo(run.segmenter(settings, out, inputs))
