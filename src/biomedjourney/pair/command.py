"""`biomedjourney pair`: studies and images to singles and pairs."""

from pathlib import Path
from typing import Any

import click

from biomedjourney import config

_FILE = click.Path(path_type=Path)


@click.command()
@config.option("pair")
@click.option("--studies", type=_FILE, required=True, help="Table of studies.")
@click.option("--images", type=_FILE, required=True, help="Table of images.")
@click.option("--image-files", type=_FILE, required=True, help="Table of the state of each image file.")
@click.option("--ingest-cohort", type=_FILE, required=True, help="The cohort table of `ingest`.")
@click.option("--ingest-exclusions", type=_FILE, required=True, help="The exclusions table of `ingest`.")
@click.option("--pairs", type=_FILE, required=True, help="Table of pairs, to write.")
@click.option("--singles", type=_FILE, required=True, help="Table of singles, to write.")
@click.option("--cohort", type=_FILE, required=True, help="The cohort table from raw rows to pairs, to write.")
@click.option("--exclusions", type=_FILE, required=True, help="All that was left out so far, to write.")
def command(
    settings: dict[str, Any],
    studies: Path,
    images: Path,
    image_files: Path,
    ingest_cohort: Path,
    ingest_exclusions: Path,
    **outputs: Path,
) -> None:
    """Pair consecutive studies of a patient, choose one image a study, and split by patient.

    \b
    Example: biomedjourney pair --studies studies.parquet --images images.parquet \\
      --image-files image-files.parquet --ingest-cohort cohort.parquet --ingest-exclusions exclusions.parquet \\
      --pairs pairs.parquet --singles singles.parquet --cohort all/cohort.parquet --exclusions all/exclusions.parquet
    """
    import pyarrow as pa

    from biomedjourney import tables
    from biomedjourney.pair.pair import pair

    sections = ["study_id", "subject_id", "study_time", "findings", "impression"]
    shown = ["dicom_id", "study_id", "subject_id", "view", "rows", "columns", "official_split"]
    read = (tables.read(studies, "studies", sections), tables.read(images, "images", shown))
    found = pair(*read, tables.read(image_files, "image_files"), settings)
    made = {name: tables.conform(name, data) for name, data in found.items()}
    earlier = {"cohort": ingest_cohort, "exclusions": ingest_exclusions}
    for name, path in earlier.items():
        made[name] = tables.conform(name, pa.concat_tables([tables.read_arrow(path, name), made[name]]))
    for name, path in outputs.items():
        tables.write(path, name, made[name])
    for row in made["cohort"].to_pylist():
        lost = f", {row['dropped']} dropped: {row['reason']}" if row["dropped"] else ""
        paper = f" (paper: {row['paper']})" if row["paper"] is not None else ""
        click.echo(f"{row['step']}: {row['kept']}{paper}{lost}")
