"""``biomedjourney rewrite``."""

from pathlib import Path
from typing import Any

import click

from biomedjourney import config

FILE = click.Path(path_type=Path)


@click.command()
@config.option("rewrite")
@click.option("--pairs", type=FILE, required=True, help="Table pairs.")
@click.option("--studies", type=FILE, required=True, help="Table studies.")
@click.option("--progressions", type=FILE, required=True, help="Table progressions to write.")
def command(settings: dict[str, Any], pairs: Path, studies: Path, progressions: Path) -> None:
    """Write a progression description for each pair of reports, and check each.

    Example: biomedjourney rewrite --pairs results/tables/pairs.parquet
    --studies results/tables/studies.parquet --progressions results/tables/progressions.parquet
    """
    from biomedjourney import tables
    from biomedjourney.rewrite import writers
    from biomedjourney.rewrite.checks import CHECKS

    chosen = tables.read(pairs, "pairs", ["pair_id", "prior_study_id", "study_id"])
    rows = writers.write(chosen, writers.studies_by_id(studies), settings["rewrite"]["writer"])
    tables.write(progressions, "progressions", rows)
    failing = {name: int((~rows[name]).sum()) for name in CHECKS if not rows[name].all()}
    shown = f", failing {failing}" if failing else ""
    click.echo(f"rewrite: {rows['valid'].mean():.1%} of {len(rows)} descriptions valid{shown}")
