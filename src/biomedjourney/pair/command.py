"""``biomedjourney pair tables | images``."""

from pathlib import Path
from typing import Any

import click

from biomedjourney import config

_FILE = config.PATH
_STUDIES = click.option("--studies", type=_FILE, required=True, help="Input: studies table.")
_IMAGES = click.option("--images", type=_FILE, required=True, help="Input: images table.")
STUDY_COLUMNS = ["study_id", "subject_id", "study_time", "findings", "impression"]
IMAGE_COLUMNS = ["dicom_id", "study_id", "subject_id", "view", "rows", "columns", "path", "official_split"]


@click.group()
def command() -> None:
    """Pair consecutive studies of a patient, or list the images that this needs, before they are downloaded.

    Example: biomedjourney pair images --help
    """


@command.command("tables")
@config.option("pair tables")
@_STUDIES
@_IMAGES
@click.option(
    "--image-files", type=_FILE, required=True, help="Input: image_files table, the state of each image file."
)
@click.option("--ingest-cohort", type=_FILE, required=True, help="Input: cohort table of `ingest`.")
@click.option("--ingest-exclusions", type=_FILE, required=True, help="Input: exclusions table of `ingest`.")
@click.option("--pairs", type=_FILE, required=True, help="Output: pairs table.")
@click.option("--singles", type=_FILE, required=True, help="Output: singles table.")
@click.option("--cohort", type=_FILE, required=True, help="Output: cohort table, from raw rows to pairs.")
@click.option("--exclusions", type=_FILE, required=True, help="Output: exclusions table, from raw rows to pairs.")
def make_tables(
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
    Example: biomedjourney pair tables --studies studies.parquet --images images.parquet \\
      --image-files image-files.parquet --ingest-cohort cohort.parquet --ingest-exclusions exclusions.parquet \\
      --pairs pairs.parquet --singles singles.parquet --cohort all/cohort.parquet --exclusions all/exclusions.parquet
    """
    import pyarrow as pa

    from biomedjourney import tables
    from biomedjourney.pair.needed import counts, needed, problems
    from biomedjourney.pair.pair import pair

    study_rows = tables.read(studies, "studies", STUDY_COLUMNS)
    image_rows = tables.read(images, "images", IMAGE_COLUMNS)
    file_rows = tables.read(image_files, "image_files")
    paired = pair(study_rows, image_rows, file_rows, settings)
    results = {name: tables.conform(name, data) for name, data in paired.items()}
    for name, path in {"cohort": ingest_cohort, "exclusions": ingest_exclusions}.items():
        results[name] = tables.conform(name, pa.concat_tables([tables.read_arrow(path, name), results[name]]))
    for name, path in outputs.items():
        tables.write(path, name, results[name])
    for row in results["cohort"].to_pylist():
        dropped = f", {row['dropped']} dropped: {row['reason']}" if row["dropped"] else ""
        paper = f" (paper: {row['paper']})" if row["paper"] is not None else ""
        click.echo(f"{row['step']}: {row['kept']}{paper}{dropped}")
    if (file_rows["problem"] == "").all():
        return
    needed_images = needed(study_rows, image_rows, settings)
    lacking = problems(needed_images, file_rows)
    if len(lacking):
        click.echo(
            f"images: of {len(needed_images):,} that this configuration needs {len(lacking):,} are not whole "
            f"({counts(lacking)}; the first {lacking.index[0]}): going on without them"
        )


@command.command("images")
@config.option("pair images")
@_STUDIES
@_IMAGES
@click.option("--image-files", type=_FILE, help="Input: image_files table; only images that are not whole are listed.")
@click.option("--out", type=_FILE, required=True, help="Output: addresses at PhysioNet, one per line, for wget -i.")
def list_images(settings: dict[str, Any], studies: Path, images: Path, image_files: Path | None, out: Path) -> None:
    """List the images that the configuration needs, before any is there; or, with --image-files, those still missing.

    Example: biomedjourney pair images --studies studies.parquet --images images.parquet --out images-needed.txt
    """
    from biomedjourney import tables
    from biomedjourney.errors import UserError
    from biomedjourney.pair.needed import counts, gigabytes, needed, problems, urls, wget

    if settings["phantom"] is not None:
        raise UserError(
            "configuration, phantom: the embedded cohort is drawn and needs no download: give a configuration of real "
            "data, such as workflow/configs/paper.yaml"
        )
    image_rows = tables.read(images, "images", IMAGE_COLUMNS)
    needed_images = needed(tables.read(studies, "studies", STUDY_COLUMNS), image_rows, settings)
    paths = needed_images["path"]
    said = f"{len(paths):,} of {len(image_rows):,} images are needed"
    if image_files is not None:
        lacking = problems(needed_images, tables.read(image_files, "image_files"))
        paths = lacking.index.to_series()
        said += f", {len(paths):,} of them are not whole" + (f" ({counts(lacking)})" if len(paths) else "")
    with tables.atomic_path(out) as temporary:
        temporary.write_text("".join(f"{url}\n" for url in urls(paths)))
    click.echo(f"{said}: about {gigabytes(paths):,.1f} GB, estimated from the mean size of an image")
    if len(paths):
        click.echo(f"fetch them with: {wget(out, settings['data']['images'])}")
