"""`biomedjourney report`: the tables beside the paper's, charts and pictures, in one file."""

from pathlib import Path
from typing import Any

import click

from biomedjourney import config

FILE = config.PATH


@click.command()
@config.option("report")
@click.option("--systems", type=FILE, required=True, help="Input: systems table.")
@click.option("--ablations", type=FILE, required=True, help="Input: ablations table.")
@click.option("--beyond", type=FILE, required=True, help="Input: beyond table.")
@click.option("--soundness", type=FILE, help="Input: soundness table, where the main model takes a registered prior.")
@click.option("--judges", type=FILE, help="Input: judges table, where there is a second set of judges.")
@click.option("--findings", type=FILE, required=True, help="Input: findings table.")
@click.option("--subgroups", type=FILE, required=True, help="Input: subgroups table.")
@click.option("--scores", type=FILE, required=True, help="Input: scores table.")
@click.option("--training", type=FILE, required=True, help="Input: training table of all runs.")
@click.option("--guidance", type=FILE, help="Input: guidance table, where scales were swept.")
@click.option("--samplers", type=FILE, help="Input: samplers table, where samplers were compared.")
@click.option("--cohort", type=FILE, required=True, help="Input: cohort table.")
@click.option("--triples", type=FILE, required=True, help="Input: triples table of all writers.")
@click.option("--studies", type=FILE, required=True, help="Input: studies table.")
@click.option("--registrations", type=FILE, required=True, help="Input: registrations table.")
@click.option(
    "--pixels", type=FILE, required=True, multiple=True, help="Input: pixels table; repeat it for each shard."
)
@click.option(
    "--registered", type=FILE, required=True, multiple=True, help="Input: registered table; repeat it for each shard."
)
@click.option(
    "--generated", type=FILE, required=True, multiple=True, help="Input: generated table of biomedjourney; repeat it."
)
@click.option("--benchmarks", type=FILE, help="Input: the folder in which Snakemake wrote the time of each job.")
@click.option("--out", type=FILE, required=True, help="Output: folder of the page, the main table and the pictures.")
def command(settings: dict[str, Any], out: Path, **inputs: Any) -> None:
    """Write the report: one self-contained page, the main table as text, the picture grid and the curves.

    \b
    Example: cd results/tables && biomedjourney report --config ../../config.yaml \\
      --systems systems.parquet --ablations ablations.parquet --beyond beyond.parquet --soundness soundness.parquet \\
      --findings findings.parquet --subgroups subgroups.parquet --scores scores.parquet --training training.parquet \\
      --guidance guidance.parquet --cohort cohort.parquet --triples triples.parquet --studies studies.parquet \\
      --registrations registrations.parquet --pixels ../pixels/0.parquet \\
      --registered ../registered/forward/0.parquet --generated ../generated/biomedjourney/0.parquet \\
      --out ../report
    """
    from biomedjourney.report.page import write

    click.echo(write(inputs, settings, out))
