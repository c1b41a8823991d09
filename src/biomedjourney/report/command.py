"""`biomedjourney report`: the tables beside the paper's, charts and pictures, in one file."""

from pathlib import Path
from typing import Any

import click

from biomedjourney import config

FILE = click.Path(path_type=Path)


@click.command()
@config.option("report")
@click.option("--systems", type=FILE, required=True, help="Table systems.")
@click.option("--ablations", type=FILE, required=True, help="Table ablations.")
@click.option("--findings", type=FILE, required=True, help="Table findings.")
@click.option("--subgroups", type=FILE, required=True, help="Table subgroups.")
@click.option("--scores", type=FILE, required=True, help="Table scores.")
@click.option("--training", type=FILE, required=True, help="Table training, of all runs.")
@click.option("--guidance", type=FILE, help="Table guidance, where scales were swept.")
@click.option("--cohort", type=FILE, required=True, help="Table cohort.")
@click.option("--pairs", type=FILE, required=True, help="Table pairs.")
@click.option("--studies", type=FILE, required=True, help="Table studies.")
@click.option("--progressions", type=FILE, required=True, help="Table progressions.")
@click.option("--registrations", type=FILE, required=True, help="Table registrations.")
@click.option("--pixels", type=FILE, required=True, multiple=True, help="Table pixels; repeat for each shard.")
@click.option("--registered", type=FILE, required=True, multiple=True, help="Table registered; repeat for each shard.")
@click.option(
    "--generated", type=FILE, required=True, multiple=True, help="Table generated, named by its system; repeat it."
)
@click.option("--out", type=FILE, required=True, help="Folder for index.html, main-table.txt and grid.png.")
def command(settings: dict[str, Any], out: Path, **inputs: Any) -> None:
    """Write the report: one self-contained page, the main table as text and the picture grid.

    \b
    Example: cd results/tables && biomedjourney report --config ../../config.yaml \\
      --systems systems.parquet --ablations ablations.parquet --findings findings.parquet \\
      --subgroups subgroups.parquet --scores scores.parquet --training training.parquet \\
      --guidance guidance.parquet --cohort cohort.parquet --pairs pairs.parquet --studies studies.parquet \\
      --progressions progressions.parquet --registrations registrations.parquet \\
      --pixels ../pixels/0.parquet --registered ../registered/0.parquet \\
      --generated ../generated/biomedjourney.parquet --out ../report
    """
    from biomedjourney.report.page import write

    click.echo(write(inputs, settings, out))
