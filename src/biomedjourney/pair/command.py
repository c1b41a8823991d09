"""`biomedjourney pair`: singles and pairs from studies and images."""

from pathlib import Path
from typing import Any

import click

from biomedjourney import config

_FILE = config.PATH


@click.command()
@config.option("pair")
@click.option("--studies", type=_FILE, required=True, help="Input: studies table.")
@click.option("--images", type=_FILE, required=True, help="Input: images table.")
@click.option(
    "--image-files", type=_FILE, required=True, help="Input: image_files table, the state of each image file."
)
@click.option("--ingest-cohort", type=_FILE, required=True, help="Input: cohort table of `ingest`.")
@click.option("--ingest-exclusions", type=_FILE, required=True, help="Input: exclusions table of `ingest`.")
@click.option("--pairs", type=_FILE, required=True, help="Output: pairs table.")
@click.option("--singles", type=_FILE, required=True, help="Output: singles table.")
@click.option("--cohort", type=_FILE, required=True, help="Output: cohort table, from raw rows to pairs.")
@click.option("--exclusions", type=_FILE, required=True, help="Output: exclusions table, from raw rows to pairs.")
def command(
    settings: dict[str, Any],
    studies: Path,
    images: Path,
    image_files: Path,
    ingest_cohort: Path,
    ingest_exclusions: Path,
    **outputs: Path,
) -> None:
    """Pair consecutive studies of a patient, choose one image per study, and split by patient.

    \b
    Example: biomedjourney pair --studies studies.parquet --images images.parquet \\
      --image-files image-files.parquet --ingest-cohort cohort.parquet --ingest-exclusions exclusions.parquet \\
      --pairs pairs.parquet --singles singles.parquet --cohort all/cohort.parquet --exclusions all/exclusions.parquet
    """
    import pyarrow as pa

    from biomedjourney import tables
    from biomedjourney.pair.pair import pair

    study_columns = ["study_id", "subject_id", "study_time", "findings", "impression"]
    image_columns = ["dicom_id", "study_id", "subject_id", "view", "rows", "columns", "official_split"]
    paired = pair(
        tables.read(studies, "studies", study_columns),
        tables.read(images, "images", image_columns),
        tables.read(image_files, "image_files"),
        settings,
    )
    results = {name: tables.conform(name, data) for name, data in paired.items()}
    for name, path in {"cohort": ingest_cohort, "exclusions": ingest_exclusions}.items():
        results[name] = tables.conform(name, pa.concat_tables([tables.read_arrow(path, name), results[name]]))
    for name, path in outputs.items():
        tables.write(path, name, results[name])
    for row in results["cohort"].to_pylist():
        dropped = f", {row['dropped']} dropped: {row['reason']}" if row["dropped"] else ""
        paper = f" (paper: {row['paper']})" if row["paper"] is not None else ""
        click.echo(f"{row['step']}: {row['kept']}{paper}{dropped}")
