"""`biomedjourney ingest`: raw files to tables."""

from pathlib import Path
from typing import Any

import click

from biomedjourney import config

_OUT = click.Path(path_type=Path)


@click.command()
@config.option("ingest")
@click.option("--patients", type=_OUT, required=True, help="Table of patients, to write.")
@click.option("--studies", type=_OUT, required=True, help="Table of studies with sections and labels, to write.")
@click.option("--images", type=_OUT, required=True, help="Table of images, to write.")
@click.option("--cohort", type=_OUT, required=True, help="Table of what each step kept and dropped, to write.")
@click.option("--exclusions", type=_OUT, required=True, help="Table of studies and images left out, to write.")
def command(settings: dict[str, Any], **outputs: Path) -> None:
    """Read, check and join the raw files that the section `data` of the configuration names.

    \b
    Example: biomedjourney ingest --config config.yaml --patients patients.parquet --studies studies.parquet \\
      --images images.parquet --cohort cohort.parquet --exclusions exclusions.parquet
    """
    from biomedjourney import tables
    from biomedjourney.ingest.ingest import ingest

    made = {name: tables.conform(name, data) for name, data in ingest(settings).items()}
    for name, path in outputs.items():
        tables.write(path, name, made[name])
    for row in made["cohort"].to_pylist():
        lost = f", {row['dropped']} dropped: {row['reason']}" if row["dropped"] else ""
        click.echo(f"{row['step']}: {row['kept']}{lost}")
