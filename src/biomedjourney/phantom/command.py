"""``biomedjourney phantom``: the embedded cohort as raw files."""

from pathlib import Path
from typing import Any

import click

from biomedjourney import config
from biomedjourney.errors import UserError


@click.command()
@config.option("phantom")
@click.option(
    "--out",
    type=config.HomePath(path_type=Path, file_okay=False),
    default=Path("resources/phantom"),
    show_default=True,
    help="Output: folder of the raw files; an earlier phantom in it is replaced.",
)
@click.option(
    "--truth",
    type=config.HomePath(path_type=Path, dir_okay=False),
    default=Path("results/tables/truth.parquet"),
    show_default=True,
    help="Output: truth table, the true severities and positions.",
)
@click.option(
    "--organs",
    type=config.HomePath(path_type=Path, dir_okay=False),
    default=Path("results/organs.parquet"),
    show_default=True,
    help="Output: organs table, masks of lungs and heart of training patients.",
)
@click.option("--processes", type=click.IntRange(min=1), default=2, show_default=True, help="number of processes")
def command(settings: dict[str, Any], out: Path, truth: Path, organs: Path, processes: int) -> None:
    """Draw the embedded cohort as raw files in the layout of MIMIC-CXR-JPG, MIMIC-CXR and MIMIC-IV.

    Example: biomedjourney phantom --out resources/phantom --truth results/tables/truth.parquet --processes 2
    """
    phantom = settings["phantom"]
    if phantom is None:
        raise UserError("configuration, phantom: is null, which means no phantom: set phantom.patients and image_size")
    from biomedjourney.phantom import files
    from biomedjourney.phantom import organs as organs_of

    cohort = {"seed": settings["seed"], "patients": phantom["patients"], "size": phantom["image_size"]}
    films = files.write(out, truth, **cohort, processes=processes)
    marked_films = organs_of.write(organs, **cohort, count=phantom["organ_masks"], processes=processes)
    click.echo(
        f"{films} films of {phantom['patients']} phantom patients in {out}, organs marked on {marked_films}", err=True
    )
