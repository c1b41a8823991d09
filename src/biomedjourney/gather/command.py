"""`biomedjourney gather`: the parts of a table, one after the other."""

from pathlib import Path

import click


@click.command()
@click.argument("table")
@click.argument("parts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The whole table, to write.")
def command(table: str, parts: tuple[Path, ...], out: Path) -> None:
    """Put the PARTS of a table, named TABLE in the project, into one file.

    \b
    Example: biomedjourney gather registrations results/registered/0.registrations.parquet \\
      results/registered/1.registrations.parquet --out results/tables/registrations.parquet
    """
    from biomedjourney.gather.parts import gather

    click.echo(f"{out}: {gather(table, list(parts), out)} rows")
