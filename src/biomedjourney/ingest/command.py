"""``biomedjourney ingest tables | check``."""

from pathlib import Path
from typing import Any

import click

from biomedjourney import config

FILE = config.PATH
PROCESSES = click.option(
    "--processes", type=click.IntRange(min=1), default=1, show_default=True, help="number of processes"
)


@click.group()
def command() -> None:
    """Read, check and join the raw files that the configuration names in `data`.

    Example: biomedjourney ingest tables --help
    """


@command.command("tables")
@config.option("ingest tables")
@click.option("--patients", type=FILE, required=True, help="Output: patients table.")
@click.option("--studies", type=FILE, required=True, help="Output: studies table, with report sections and labels.")
@click.option("--images", type=FILE, required=True, help="Output: images table.")
@click.option("--cohort", type=FILE, required=True, help="Output: cohort table, what each step keeps and drops.")
@click.option("--exclusions", type=FILE, required=True, help="Output: exclusions table, what is left out and why.")
@PROCESSES
def make_tables(settings: dict[str, Any], processes: int, **outputs: Path) -> None:
    """Turn the raw files into tables.

    \b
    Example: biomedjourney ingest tables --config config.yaml --patients patients.parquet --studies studies.parquet \\
      --images images.parquet --cohort cohort.parquet --exclusions exclusions.parquet
    """
    from biomedjourney import tables
    from biomedjourney.ingest.ingest import ingest

    results = {name: tables.conform(name, data) for name, data in ingest(settings, processes).items()}
    for name, path in outputs.items():
        tables.write(path, name, results[name])
    for row in results["cohort"].to_pylist():
        dropped = f", {row['dropped']} dropped: {row['reason']}" if row["dropped"] else ""
        click.echo(f"{row['step']}: {row['kept']}{dropped}")


@command.command("check")
@config.option("ingest check")
@click.option("--images", type=FILE, required=True, help="Input: images table.")
@click.option("--out", type=FILE, required=True, help="Output: image_files table, the state of each image file.")
@PROCESSES
def check_images(settings: dict[str, Any], images: Path, out: Path, processes: int) -> None:
    """Find image files that are missing, empty or truncated; with `ingest.checksums` also those that are altered.

    Example: biomedjourney ingest check --config config.yaml --images images.parquet --out image-files.parquet
    """
    from biomedjourney.ingest.files import check

    root, checksums = Path(settings["data"]["images"]), settings["ingest"]["checksums"]
    for problem, dicom_ids in sorted(check(root, images, out, checksums, processes).items()):
        first = f", the first {dicom_ids[0]}" if problem else ""
        click.echo(f"image files {problem or 'whole'}: {len(dicom_ids)}{first}")
