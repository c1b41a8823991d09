"""``biomedjourney rewrite``."""

from pathlib import Path
from typing import Any

import click

from biomedjourney import config

FILE = click.Path(path_type=Path)
TABLES = Path("results/tables")


@click.command()
@config.option("rewrite")
@click.option("--pairs", type=FILE, default=TABLES / "pairs.parquet", show_default=True, help="Table pairs.")
@click.option("--studies", type=FILE, default=TABLES / "studies.parquet", show_default=True, help="Table studies.")
@click.option(
    "--progressions",
    type=FILE,
    default=TABLES / "progressions.parquet",
    show_default=True,
    help="Table progressions to write; with --audit, to read.",
)
@click.option("--dry-run", is_flag=True, help="Tell requests, tokens, price and time; send and write nothing.")
@click.option("--audit", type=click.IntRange(min=1), metavar="N", help="Write a sheet of N descriptions to be judged.")
@click.option("--sheet", type=FILE, default=Path("results/audit.csv"), show_default=True, help="The sheet of --audit.")
@click.option("--score", type=FILE, metavar="FILE", help="Tell how far the readers of a sheet agree.")
def command(
    settings: dict[str, Any],
    pairs: Path,
    studies: Path,
    progressions: Path,
    dry_run: bool,
    audit: int | None,
    sheet: Path,
    score: Path | None,
) -> None:
    """Write a progression description for each pair of reports, and check each.

    Example: biomedjourney rewrite --pairs results/tables/pairs.parquet
    --studies results/tables/studies.parquet --progressions results/tables/progressions.parquet
    """
    from biomedjourney import tables
    from biomedjourney.rewrite import audit as audits
    from biomedjourney.rewrite import checks, model_writer, writers

    if score:
        click.echo(audits.score(score))
        return
    chosen = tables.read(pairs, "pairs", ["pair_id", "prior_study_id", "study_id"])
    if audit:
        written = tables.read(progressions, "progressions")
        written = written[written["writer"] == settings["rewrite"]["writer"]]
        chosen = chosen[chosen["pair_id"].isin(written["pair_id"])]
    known = writers.studies_by_id(studies, {*chosen["prior_study_id"], *chosen["study_id"]})
    if audit:
        count = audits.write(sheet, audit, written, chosen, known)
        click.echo(f"rewrite: {count} descriptions in {sheet}: fill in reader_1, then --score {sheet}")
        return
    if dry_run:
        if settings["rewrite"]["writer"] != "openai":
            click.echo(f"rewrite: {len(chosen)} pairs, the writer {settings['rewrite']['writer']} sends nothing")
            return
        click.echo(model_writer.plan(writers.pairs_of(chosen, known), settings["rewrite"], seed=settings["seed"]))
        return
    rows = writers.write(chosen, known, settings)
    tables.write(progressions, "progressions", rows)
    failing = {name: int((~rows[name]).sum()) for name in checks.CHECKS if not rows[name].all()}
    shown = f", failing {failing}" if failing else ""
    left = int(rows["fallback_reason"].notna().sum())
    shown += f", {left} left to the rules" if left else ""
    click.echo(f"rewrite: {rows['valid'].mean():.1%} of {len(rows)} descriptions valid{shown}")
