"""`biomedjourney evaluate`: scores of the generated pictures, and the measures made of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from biomedjourney import config

FILE = click.Path(path_type=Path)


def _inputs(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of this job."),
        click.option("--patients", type=FILE, required=True, help="Table patients."),
        click.option("--studies", type=FILE, required=True, help="Table studies."),
        click.option("--pairs", type=FILE, required=True, help="Table pairs."),
        click.option("--judges", type=FILE, required=True, help="Folder of the judging classifiers."),
    ):
        function = option(function)
    return function


@click.group()
def command() -> None:
    """Score the counterfactuals: pathology AUC, race AUC, age correlation, CMIG.

    Example: biomedjourney evaluate systems --help
    """


@command.command()
@config.option("evaluate guidance")
@_inputs
@click.option(
    "--generated", type=FILE, required=True, multiple=True, help="Table sweeps, named by its system; repeat it."
)
@click.option("--guidance", type=FILE, required=True, help="Table guidance to write.")
def guidance(
    settings: dict[str, Any],
    judges: Path,
    pairs: Path,
    studies: Path,
    patients: Path,
    threads: int,
    generated: tuple[Path, ...],
    guidance: Path,
) -> None:
    """Choose the guidance scales on validation patients: the highest CMIG, at a tie the lower scales.

    \b
    Example: biomedjourney evaluate guidance \\
      --generated results/generated/validation/biomedjourney.parquet \\
      --judges results/models/judges --pairs results/tables/pairs.parquet \\
      --studies results/tables/studies.parquet --patients results/tables/patients.parquet \\
      --guidance results/tables/guidance.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    import pandas as pd

    from biomedjourney import tables
    from biomedjourney.evaluate import labels, scoring
    from biomedjourney.evaluate.guidance import sweep
    from biomedjourney.evaluate.systems import order
    from biomedjourney.pretrain import load_judges

    files = order(list(generated), settings["systems"])
    pair_rows = tables.read(pairs, "pairs")
    rows = labels.attributes(pair_rows, tables.read(studies, "studies"), tables.read(patients, "patients"))
    classifiers = load_judges(judges)
    scoring.require_labels(classifiers, settings["labels"]["findings"], judges)
    measured = [sweep(path, classifiers, pair_rows, rows, settings) for path in files.values()]
    tables.write(guidance, "guidance", pd.concat(measured, ignore_index=True))
    for row in pd.concat(measured).query("chosen").itertuples():
        click.echo(f"{row.system}: text {row.text_scale:g}, image {row.image_scale:g} (CMIG {row.cmig:.4f}, n {row.n})")


@command.command()
@config.option("evaluate systems")
@_inputs
@click.option(
    "--generated", type=FILE, required=True, multiple=True, help="Table generated, named by its system; repeat it."
)
@click.option("--truth", type=FILE, help="Table truth of the phantom, to measure on true labels too.")
@click.option("--scores", type=FILE, required=True, help="Table scores to write.")
@click.option("--systems", type=FILE, required=True, help="Table systems to write.")
@click.option("--ablations", type=FILE, required=True, help="Table ablations to write.")
@click.option("--findings", type=FILE, required=True, help="Table findings to write.")
@click.option("--subgroups", type=FILE, required=True, help="Table subgroups to write.")
def systems(
    settings: dict[str, Any],
    judges: Path,
    pairs: Path,
    studies: Path,
    patients: Path,
    threads: int,
    generated: tuple[Path, ...],
    truth: Path | None,
    scores: Path,
    **outputs: Path,
) -> None:
    """Score every system on the same test pairs, with 95 % intervals by bootstrap over patients.

    \b
    Example: biomedjourney evaluate systems \\
      --generated results/generated/biomedjourney.parquet --generated results/generated/copy-prior.parquet \\
      --judges results/models/judges --pairs results/tables/pairs.parquet \\
      --studies results/tables/studies.parquet --patients results/tables/patients.parquet \\
      --scores results/tables/scores.parquet --systems results/tables/systems.parquet \\
      --ablations results/tables/ablations.parquet --findings results/tables/findings.parquet \\
      --subgroups results/tables/subgroups.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney import tables
    from biomedjourney.evaluate import labels, scoring
    from biomedjourney.evaluate.systems import order, score, summarise
    from biomedjourney.pretrain import load_judges

    files = order(list(generated), settings["systems"])
    pair_rows = tables.read(pairs, "pairs")
    rows = labels.attributes(pair_rows, tables.read(studies, "studies"), tables.read(patients, "patients"))
    true = None if truth is None else tables.read(truth, "truth")
    classifiers = load_judges(judges)
    scoring.require_labels(classifiers, settings["labels"]["findings"], judges)
    scored = score(files, classifiers, pair_rows, settings["evaluate"]["batch_size"])
    tables.write(scores, "scores", scored)
    for name, content in summarise(scored, rows, true, settings).items():
        tables.write(outputs[name], name, content)
