"""``biomedjourney ingest tables | check``."""

from pathlib import Path
from typing import Any

import click

from biomedjourney import config

FILE = click.Path(path_type=Path)
PROCESSES = click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True)


@click.group()
def command() -> None:
    """Read, check and join the raw files that the section `data` of the configuration names.

    Example: biomedjourney ingest tables --help
    """


@command.command("tables")
@config.option("ingest")
@click.option("--patients", type=FILE, required=True, help="Table of patients, to write.")
@click.option("--studies", type=FILE, required=True, help="Table of studies with sections and labels, to write.")
@click.option("--images", type=FILE, required=True, help="Table of images, to write.")
@click.option("--cohort", type=FILE, required=True, help="Table of what each step kept and dropped, to write.")
@click.option("--exclusions", type=FILE, required=True, help="Table of studies and images left out, to write.")
@PROCESSES
def make_tables(settings: dict[str, Any], processes: int, **outputs: Path) -> None:
    """Raw files to tables.

    \b
    Example: biomedjourney ingest tables --config config.yaml --patients patients.parquet --studies studies.parquet \\
      --images images.parquet --cohort cohort.parquet --exclusions exclusions.parquet
    """
    from biomedjourney import tables
    from biomedjourney.ingest.ingest import ingest

    made = {name: tables.conform(name, data) for name, data in ingest(settings, processes).items()}
    for name, path in outputs.items():
        tables.write(path, name, made[name])
    for row in made["cohort"].to_pylist():
        lost = f", {row['dropped']} dropped: {row['reason']}" if row["dropped"] else ""
        click.echo(f"{row['step']}: {row['kept']}{lost}")


@command.command("check")
@config.option("ingest")
@click.option("--images", type=FILE, required=True, help="Table of images.")
@click.option("--out", type=FILE, required=True, help="Table of the state of each image file, to write.")
@PROCESSES
def check_images(settings: dict[str, Any], images: Path, out: Path, processes: int) -> None:
    """Find image files that are missing, empty, cut off or, where `ingest.checksums` asks for it, altered.

    Example: biomedjourney ingest check --config config.yaml --images images.parquet --out image-files.parquet
    """
    from biomedjourney.ingest.files import check

    root, checksums = Path(settings["data"]["images"]), settings["ingest"]["checksums"]
    for problem, names in sorted(check(root, images, out, checksums, processes).items()):
        click.echo(f"image files {problem or 'whole'}: {len(names)}" + (f", the first {names[0]}" if problem else ""))
