"""`biomedjourney generate`: counterfactual pictures of each system, and the model to hand on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from biomedjourney import config
from biomedjourney.train import inputs as files

PATH = click.Path(path_type=Path)
SYSTEM = click.option("--system", required=True, metavar="NAME", help="The system, by its name in systems.")
THREADS = click.option("--threads", type=click.IntRange(1), default=1, show_default=True)


def _file(name: str, meaning: str, **more: Any) -> Callable[..., Any]:
    return click.option(f"--{name}", type=PATH, help=meaning, **more)


@click.group()
def command() -> None:
    """Draw one counterfactual a test pair, for every system compared."""


@command.command("pictures")
@config.option("generate")
@SYSTEM
@files.options
@_file("model", "Model folder of the system's run.")
@_file("guidance", "Table guidance with the chosen scales; without it, or a row in it, the configured ones.")
@_file("registered", "Table registered, for picture: prior; repeat it for every shard.", multiple=True)
@_file("pixels", "Table pixels, for picture: current; repeat it for every shard.", multiple=True)
@_file("out", "Table generated, to write.", required=True)
@THREADS
def pictures(
    settings: dict[str, Any],
    system: str,
    model: Path | None,
    guidance: Path | None,
    registered: tuple[Path, ...],
    pixels: tuple[Path, ...],
    out: Path,
    threads: int,
    **paths: Path | None,
) -> None:
    """Draw a system's pictures of every accepted test pair.

    \b
    Example: biomedjourney generate pictures --config config.yaml --system copy-prior \\
      --pairs results/tables/pairs.parquet --registrations results/tables/registrations.parquet \\
      --progressions results/tables/progressions.parquet --registered results/registered/0.parquet \\
      --out results/generated/copy-prior.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.generate import draw

    draw.pictures(system, settings, files.Inputs(**paths), model, guidance, registered, pixels, out)


@command.command("sweep")
@config.option("generate")
@SYSTEM
@files.options
@_file("model", "Model folder of the system's run.", required=True)
@_file("out", "Table sweeps, to write.", required=True)
@THREADS
def sweep(settings: dict[str, Any], system: str, model: Path, out: Path, threads: int, **paths: Path | None) -> None:
    """Draw validation pairs with each pair of guidance scales.

    \b
    Example: biomedjourney generate sweep --config config.yaml --system biomedjourney \\
      --pairs results/tables/pairs.parquet --registrations results/tables/registrations.parquet \\
      --progressions results/tables/progressions.parquet --prior-latents results/latents/priors.parquet \\
      --texts results/texts/texts.parquet --model results/models/stage2 --first-stage results/models/first-stage \\
      --out results/generated/validation/biomedjourney.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.generate import draw

    draw.sweep(system, settings, files.Inputs(**paths), model, out)


@command.command("export")
@config.option("generate")
@SYSTEM
@_file("model", "Model folder of the system's run.", required=True)
@_file("first-stage", "Folder of the first stage.", required=True)
@_file("text-tower", "Folder of the text tower.", required=True)
@_file("guidance", "Table guidance with the chosen scales.")
@_file("out", "Folder to write, for edit.", required=True)
def export(
    settings: dict[str, Any],
    system: str,
    model: Path,
    first_stage: Path,
    text_tower: Path,
    guidance: Path | None,
    out: Path,
) -> None:
    """Put a model and all that it needs into one folder, which edit reads.

    \b
    Example: biomedjourney generate export --config config.yaml --system biomedjourney --model results/models/stage2 \\
      --first-stage results/models/first-stage --text-tower results/models/text-tower \\
      --guidance results/tables/guidance.parquet --out results/models/biomedjourney
    """
    from biomedjourney import workers

    workers.limit_threads(1)
    from biomedjourney.generate import export as exporting

    exporting.export(system, settings, model, first_stage, text_tower, guidance, out)
