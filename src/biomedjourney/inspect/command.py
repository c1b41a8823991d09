"""`biomedjourney inspect`: what the tables hold, as text, as pictures and as a page to leaf through."""

from pathlib import Path

import click

from biomedjourney.config import PATH, for_the_owner
from biomedjourney.errors import UserError


@click.command()
@click.argument("table", type=PATH, required=False)
@click.option(
    "--sql",
    help="Query in SQL (DuckDB) over all tables by name, such as pairs; a table of several files also has the column "
    "filename.",
)
@click.option(
    "--results", type=PATH, default="results", show_default=True, help="Folder of the run whose tables are meant."
)
@click.option(
    "--rows", type=click.IntRange(0), help="Number of rows to show; by default 5 of a table, 40 of an answer or a page."
)
@click.option("--pictures", type=PATH, help="Folder to which the pictures of these rows are written as PNG files.")
@click.option(
    "--html", "page", type=PATH, help="Page to write: films and reports of the pairs that these rows name by pair_id."
)
@click.option("--check", is_flag=True, help="Read everything in the results once, and say what is damaged.")
def command(
    table: Path | None,
    sql: str | None,
    results: Path,
    rows: int | None,
    pictures: Path | None,
    page: Path | None,
    check: bool,
) -> None:
    """Explain the columns of TABLE, a Parquet file of this project, and show its first rows.

    Without TABLE all tables of a run are listed with their rows and their age. --pictures and --html write what only
    you can read: pictures and texts of patients, if the data are of patients. Do not pass them on.

    \b
    Example: biomedjourney inspect results/tables/pairs.parquet --rows 3
    biomedjourney inspect --check
    biomedjourney inspect --sql "select split, count(*) from pairs group by split"
    biomedjourney inspect --sql "select * from triples where not accepted" --html refused.html
    """
    from biomedjourney import tables
    from biomedjourney.inspect import describe, pairs
    from biomedjourney.inspect.found import find
    from biomedjourney.inspect.pictures import draw
    from biomedjourney.inspect.query import ask, connection

    if table is not None and sql is not None:
        raise click.UsageError("Give either TABLE or --sql.")
    if pictures is not None and (page is not None or (table is None and sql is None)):
        raise click.UsageError("Give --pictures with TABLE or --sql, and without --html.")
    if check:
        if any(option is not None for option in (table, sql, pictures, page)):
            raise click.UsageError("Give --check alone, or with --results.")
        from biomedjourney.inspect import check as checks

        click.echo(checks.check(results))
        return
    if page is not None:
        found = find(results)
        if table is None and sql is None and "pairs" not in found:
            raise UserError(f"{results}: has no table pairs yet: run `snakemake --cores all`, or give TABLE or --sql")
        with connection(found) as database:
            pair_ids = pairs.of_table(table) if table is not None else pairs.of_query(database, sql or pairs.ALL)
            with for_the_owner():
                count = pairs.write(found, database, pair_ids[: 40 if rows is None else rows], page)
        click.echo(f"{page}: {count:,} of {len(pair_ids):,} pairs, for your eyes: only you can read the file")
        return
    key: list[str] = []
    if sql is not None:
        with connection(find(results)) as database:
            shown, has_more = ask(database, sql, 40 if rows is None else rows)
        click.echo(describe.answer(shown, has_more))
    elif table is not None:
        number = 5 if rows is None else rows
        click.echo(describe.describe(table, number))
        with describe.opened(table) as file:
            key = tables.metadata(file.schema_arrow).get("key", "").split(",")
            shown = describe.first_rows(file, number) if pictures is not None else []
    else:
        click.echo(describe.listing(find(results)))
        return
    if pictures is not None:
        with for_the_owner():
            click.echo(f"\n{len(draw(shown, pictures, key)):,} pictures in {pictures}")
