"""`biomedjourney gather parts | triples | cohort`."""

from pathlib import Path

import click

from biomedjourney.config import PATH, hidden_like_inputs
from biomedjourney.pair.directions import DIRECTIONS


@click.group()
def command() -> None:
    """Put the parts of a table into one file, and join what was made for each pair.

    Example: biomedjourney gather triples --help
    """


@command.command("parts")
@click.argument("table")
@click.argument("parts", nargs=-1, required=True, type=PATH)
@click.option("--out", type=PATH, required=True, help="Output: the whole table.")
@hidden_like_inputs
def parts(table: str, parts: tuple[Path, ...], out: Path) -> None:
    """Put the PARTS of a table, named TABLE in the project, into one file.

    \b
    Example: biomedjourney gather parts registrations results/registrations/forward/0.parquet \\
      results/registrations/forward/1.parquet --out results/tables/registrations.parquet
    """
    from biomedjourney.gather.parts import gather

    click.echo(f"{out}: {gather(table, list(parts), out)} rows")


@command.command("triples")
@click.option("--writer", required=True, metavar="NAME", help="Who wrote the progressions.")
@click.option(
    "--direction", type=click.Choice(DIRECTIONS), default="forward", show_default=True, help="How the pairs are read."
)
@click.option("--pairs", type=PATH, required=True, help="Input: pairs table.")
@click.option("--pixels", type=PATH, required=True, multiple=True, help="Input: pixels table; repeat it.")
@click.option(
    "--registrations",
    type=PATH,
    required=True,
    multiple=True,
    help="Input: registrations table of the direction; repeat it.",
)
@click.option("--progressions", type=PATH, required=True, help="Input: progressions table of one writer and direction.")
@click.option(
    "--first-progressions",
    type=PATH,
    required=True,
    help="Input: forward progressions table of the first configured writer, which decides what all systems draw.",
)
@click.option("--out", type=PATH, required=True, help="Output: triples table.")
@hidden_like_inputs
def triples(
    writer: str,
    direction: str,
    pairs: Path,
    pixels: tuple[Path, ...],
    registrations: tuple[Path, ...],
    progressions: Path,
    first_progressions: Path,
    out: Path,
) -> None:
    """Join prior image, description and new image of every pair: accepted, or with the reason why not.

    \b
    Example: biomedjourney gather triples --writer rules --pairs results/tables/pairs.parquet \\
      --pixels results/pixels/0.parquet --registrations results/registrations/forward/0.parquet \\
      --progressions results/progressions/rules/forward.parquet \\
      --first-progressions results/progressions/rules/forward.parquet --out results/triples/rules/forward.parquet
    """
    from biomedjourney import tables
    from biomedjourney.gather.triples import join

    joined = join(writer, direction, pairs, pixels, registrations, progressions, first_progressions)
    tables.write(out, "triples", joined)
    click.echo(f"{out}: {len(joined)} triples, {joined['accepted'].sum()} accepted")


@command.command("cohort")
@click.option("--pair-cohort", type=PATH, required=True, help="Input: cohort table of `pair`.")
@click.option("--pair-exclusions", type=PATH, required=True, help="Input: exclusions table of `pair`.")
@click.option("--singles", type=PATH, required=True, help="Input: singles table.")
@click.option("--pixels", type=PATH, required=True, multiple=True, help="Input: pixels table; repeat it.")
@click.option("--triples", type=PATH, required=True, multiple=True, help="Input: triples table, first writer first.")
@click.option("--cohort", type=PATH, required=True, help="Output: cohort table, from raw rows to training examples.")
@click.option("--exclusions", type=PATH, required=True, help="Output: exclusions table, of all steps.")
@hidden_like_inputs
def cohort(
    pair_cohort: Path,
    pair_exclusions: Path,
    singles: Path,
    pixels: tuple[Path, ...],
    triples: tuple[Path, ...],
    cohort: Path,
    exclusions: Path,
) -> None:
    """Continue the account of the cohort from the pairs to the triples.

    \b
    Example: biomedjourney gather cohort --pair-cohort results/pair/cohort.parquet \\
      --pair-exclusions results/pair/exclusions.parquet --singles results/tables/singles.parquet \\
      --pixels results/pixels/0.parquet --triples results/triples/rules/forward.parquet \\
      --cohort results/tables/cohort.parquet --exclusions results/tables/exclusions.parquet
    """
    import pyarrow as pa

    from biomedjourney import tables
    from biomedjourney.gather.cohort import account

    later = account(singles, pixels, triples)
    for name, earlier, rows, out in (
        ("cohort", pair_cohort, later.cohort(), cohort),
        ("exclusions", pair_exclusions, later.exclusions(), exclusions),
    ):
        parts = [tables.read_arrow(earlier, name), tables.conform(name, rows)]
        tables.write(out, name, pa.concat_tables(parts))
    click.echo(f"{cohort}: {tables.row_count(cohort, 'cohort')} rows")
