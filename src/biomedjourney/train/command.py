"""`biomedjourney train`: one training run of the curriculum."""

from pathlib import Path
from typing import Any

import click

from biomedjourney import config, examples

PATH = config.PATH


@click.command()
@config.option("train")
@click.option("--run", required=True, metavar="NAME", help="The run, by its name in train.runs.")
@click.option(
    "--training-seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Another one, another training: initial weights, order, noise and dropout.",
)
@examples.input_options
@click.option("--start", type=PATH, help="Model folder of the run that this one starts from, if its settings say so.")
@click.option("--first-stage", type=PATH, help="Folder of the first stage, to show pictures of validation patients.")
@click.option(
    "--checkpoints", type=PATH, default=Path("results/checkpoints"), show_default=True, help="Folder of checkpoints."
)
@click.option("--out", type=PATH, required=True, help="Output: model folder.")
@click.option("--training", type=PATH, required=True, help="Output: training table.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of each process.")
def command(
    settings: dict[str, Any],
    run: str,
    training_seed: int,
    start: Path | None,
    first_stage: Path | None,
    checkpoints: Path,
    out: Path,
    training: Path,
    threads: int,
    **paths: tuple[Path, ...],
) -> None:
    """Train the diffusion model: one run of the configuration, on latents and token states.

    A run that was killed goes on from its last checkpoint, bit for bit, when the command is given again. On SIGTERM and
    SIGUSR1 it finishes its step, saves a checkpoint and exits with status 75. Several processes, started by accelerate
    launch or torchrun, share each batch; one of them writes. Beside the checkpoints lies what can be seen while it
    runs; the first lines of output name the folder.

    \b
    Example: biomedjourney train --config config.yaml --run stage1 --singles results/tables/singles.parquet \\
      --latents results/latents/images/0.parquet --texts results/texts/reports.parquet \\
      --out results/models/stage1 --training results/training/stage1.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.train.run import train_run

    train_run(run, settings, examples.Inputs(**paths), start, checkpoints, out, training, first_stage, training_seed)
