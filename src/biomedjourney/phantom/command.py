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
@click.option("--processes", type=click.IntRange(min=1), default=2, show_default=True, help="number of processes")
def command(settings: dict[str, Any], out: Path, truth: Path, processes: int) -> None:
    """Draw the embedded cohort as raw files in the layout of MIMIC-CXR-JPG, MIMIC-CXR and MIMIC-IV.

    Example: biomedjourney phantom --out resources/phantom --truth results/tables/truth.parquet --processes 2
    """
    phantom = settings["phantom"]
    if phantom is None:
        raise UserError("configuration, phantom: is null, which means no phantom: set phantom.patients and image_size")
    from biomedjourney.phantom.files import write

    films = write(out, truth, settings["seed"], phantom["patients"], phantom["image_size"], processes)
    click.echo(f"{films} films of {phantom['patients']} phantom patients in {out}", err=True)
