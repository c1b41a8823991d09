"""`biomedjourney generate`: counterfactual pictures of each system, and the model to hand on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from biomedjourney import config, examples

PATH = config.PATH
SYSTEM = click.option("--system", required=True, metavar="NAME", help="The system, by its name in systems.")
SHARD = click.option("--shard", type=click.IntRange(0), default=0, show_default=True, help="Which part of the pairs.")
THREADS = click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
MODEL_HELP = "Input: model folder of the system's run."
DRAWN_WITH = "Input: model folder of the system's run, or a pipeline's folder in place of the configured one."
GUIDANCE = "Input: guidance table with the chosen scales; without a row for the system, the configured ones."
REGISTERED = "Input: registered table; repeat it for every shard. Read for a pipeline with a prior."


def _file(name: str, meaning: str, **more: Any) -> Callable[..., Any]:
    return click.option(f"--{name}", type=PATH, help=meaning, **more)


@click.group()
def command() -> None:
    """Draw one counterfactual per test pair, for every system compared."""


@command.command("pictures")
@config.option("generate pictures")
@SYSTEM
@SHARD
@examples.input_options
@_file("registered", REGISTERED, multiple=True)
@_file("model", f"{DRAWN_WITH.rstrip('.')}; repeat it for every training seed.", multiple=True)
@_file("first-stage", "Input: folder of the first stage. Read for a run's model.")
@_file("guidance", GUIDANCE)
@_file("out", "Output: generated table.", required=True)
@THREADS
def pictures(
    settings: dict[str, Any],
    system: str,
    shard: int,
    registered: tuple[Path, ...],
    model: tuple[Path, ...],
    first_stage: Path | None,
    guidance: Path | None,
    out: Path,
    threads: int,
    **paths: tuple[Path, ...],
) -> None:
    """Draw the pictures of a system's model, or of a published pipeline, for every compared test pair.

    \b
    Example: biomedjourney generate pictures --config config.yaml --system biomedjourney \\
      --triples results/triples/rules/forward.parquet --prior-latents results/latents/priors/forward/0.parquet \\
      --texts results/texts/rules/forward.parquet --model results/models/stage2 \\
      --first-stage results/models/first-stage --out results/generated/biomedjourney/0.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.generate import draw

    inputs = examples.Inputs(**paths)
    sources = [draw.Source(inputs, folder, first_stage, registered) for folder in model or (None,)]
    draw.pictures(system, settings, sources, guidance, shard, out)


@command.command("copies")
@config.option("generate copies")
@SYSTEM
@SHARD
@_file("triples", "Input: triples table of the first writer.", required=True)
@_file(
    "stored", "Input: registered or pixels table, whichever the system copies; repeat it.", required=True, multiple=True
)
@_file("out", "Output: generated table.", required=True)
def copies(
    settings: dict[str, Any], system: str, shard: int, triples: Path, stored: tuple[Path, ...], out: Path
) -> None:
    """Copy the pictures of a system that has no model, for every compared test pair.

    \b
    Example: biomedjourney generate copies --config config.yaml --system copy-prior \\
      --triples results/triples/rules/forward.parquet --stored results/registered/forward/0.parquet \\
      --out results/generated/copy-prior/0.parquet
    """
    from biomedjourney.generate import copy

    copy.pictures(system, settings, triples, stored, shard, out)


@command.command("sweep")
@config.option("generate sweep")
@SYSTEM
@SHARD
@examples.input_options
@_file("registered", REGISTERED, multiple=True)
@_file("model", DRAWN_WITH)
@_file("first-stage", "Input: folder of the first stage. Read for a run's model.")
@_file("out", "Output: sweeps table.", required=True)
@THREADS
def sweep(
    settings: dict[str, Any],
    system: str,
    shard: int,
    registered: tuple[Path, ...],
    model: Path | None,
    first_stage: Path | None,
    out: Path,
    threads: int,
    **paths: tuple[Path, ...],
) -> None:
    """Draw validation pairs at each combination of guidance scales.

    \b
    Example: biomedjourney generate sweep --config config.yaml --system biomedjourney \\
      --triples results/triples/rules/forward.parquet --prior-latents results/latents/priors/forward/0.parquet \\
      --texts results/texts/rules/forward.parquet --model results/models/stage2 \\
      --first-stage results/models/first-stage --out results/sweeps/biomedjourney/0.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.generate import draw

    source = draw.Source(examples.Inputs(**paths), model, first_stage, registered)
    draw.sweep(system, settings, source, shard, out)


@command.command("soundness")
@config.option("generate soundness")
@SYSTEM
@_file("model", MODEL_HELP, required=True)
@_file("first-stage", "Input: folder of the first stage.", required=True)
@_file("text-tower", "Input: folder of the text tower.", required=True)
@_file("guidance", "Input: guidance table with the chosen scales.")
@_file("triples", "Input: triples table of the first writer, read forward.", required=True)
@_file("studies", "Input: studies table.", required=True)
@_file("registered", "Input: registered table; repeat it for every shard.", required=True, multiple=True)
@_file("generated", "Input: generated table of the system; repeat it for every shard.", required=True, multiple=True)
@_file("out", "Output: trials table.", required=True)
@THREADS
def soundness(settings: dict[str, Any], system: str, threads: int, **files: Any) -> None:
    """Draw edits whose result is known without a real picture: "no change", and an edit taken back.

    \b
    Example: biomedjourney generate soundness --config config.yaml --system biomedjourney \\
      --model results/models/stage2 --first-stage results/models/first-stage --text-tower results/models/text-tower \\
      --guidance results/guidance/biomedjourney.parquet --triples results/triples/rules/forward.parquet \\
      --studies results/tables/studies.parquet --registered results/registered/forward/0.parquet \\
      --generated results/generated/biomedjourney/0.parquet --out results/trials.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.generate import soundness as trials

    trials.pictures(system, settings, **files)


@command.command("samplers")
@config.option("generate samplers")
@SYSTEM
@SHARD
@examples.input_options
@_file("model", MODEL_HELP, required=True)
@_file("first-stage", "Input: folder of the first stage.", required=True)
@_file("guidance", GUIDANCE)
@_file("out", "Output: sampled table.", required=True)
@THREADS
def samplers(
    settings: dict[str, Any],
    system: str,
    shard: int,
    model: Path,
    first_stage: Path,
    guidance: Path | None,
    out: Path,
    threads: int,
    **paths: tuple[Path, ...],
) -> None:
    """Draw validation pairs with each sampler that is compared, at the scales of the system.

    \b
    Example: biomedjourney generate samplers --config config.yaml --config workflow/configs/tables.yaml \\
      --system biomedjourney --triples results/triples/rules/forward.parquet \\
      --prior-latents results/latents/priors/forward/0.parquet --texts results/texts/rules/forward.parquet \\
      --model results/models/stage2 --first-stage results/models/first-stage \\
      --guidance results/guidance/biomedjourney.parquet --out results/sampled/biomedjourney/0.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.generate import draw

    source = draw.Source(examples.Inputs(**paths), model, first_stage)
    draw.samplers(system, settings, source, guidance, shard, out)


@command.command("stand-in")
@config.option("generate stand-in")
@SYSTEM
@_file("out", "Output: folder of a pipeline of diffusers.", required=True)
@THREADS
def stand_in(settings: dict[str, Any], system: str, out: Path, threads: int) -> None:
    """Train a small model on drawn shapes, in the place of a system's published weights (pipeline: null).

    \b
    Example: biomedjourney generate stand-in --config config.yaml --config workflow/configs/tables.yaml \
      --system stable-diffusion --out results/models/stable-diffusion
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.generate import stand_in as stand_ins

    click.echo(stand_ins.train(system, settings, out))


@command.command("export")
@config.option("generate export")
@SYSTEM
@_file("model", MODEL_HELP, required=True)
@_file("first-stage", "Input: folder of the first stage.", required=True)
@_file("text-tower", "Input: folder of the text tower.", required=True)
@_file("guidance", "Input: guidance table with the chosen scales.")
@_file("out", "Output: folder that edit and diffusers open.", required=True)
def export(
    settings: dict[str, Any],
    system: str,
    model: Path,
    first_stage: Path,
    text_tower: Path,
    guidance: Path | None,
    out: Path,
) -> None:
    """Put a model and all that it needs into one folder, with a model card; edit and diffusers open it.

    \b
    Example: biomedjourney generate export --config config.yaml --system biomedjourney --model results/models/stage2 \\
      --first-stage results/models/first-stage --text-tower results/models/text-tower \\
      --guidance results/guidance/biomedjourney.parquet --out results/models/biomedjourney
    """
    from biomedjourney import workers

    workers.limit_threads(1)
    from biomedjourney.generate import export as exporting

    exporting.export(system, settings, model, first_stage, text_tower, guidance, out)
