"""`biomedjourney inspect`: what a table is and what its columns mean."""

from pathlib import Path

import click

from biomedjourney.config import PATH


@click.command()
@click.argument("table", type=PATH)
@click.option("--rows", type=click.IntRange(0), default=5, show_default=True, help="number of rows to show")
def command(table: Path, rows: int) -> None:
    """Explain the columns of TABLE, a Parquet file of this project, and show its first rows.

    Example: biomedjourney inspect results/tables/pairs.parquet --rows 3
    """
    from biomedjourney.inspect.describe import describe

    click.echo(describe(table, rows))
