"""``biomedjourney rewrite``."""

from pathlib import Path
from typing import Any

import click
import pandas as pd

from biomedjourney import config, tables
from biomedjourney.errors import UserError
from biomedjourney.pair.directions import DIRECTIONS, in_direction
from biomedjourney.rewrite import audit as audit_sheet
from biomedjourney.rewrite import checks, model_writer, writers

FILE = config.PATH
TABLES = Path("results/tables")


@click.command(
    epilog="Example: biomedjourney rewrite --writer rules --pairs results/tables/pairs.parquet "
    "--studies results/tables/studies.parquet --progressions rules.parquet"
)
@config.option("rewrite")
@click.option("--writer", type=click.Choice(writers.WRITERS), required=True, help="Who writes the descriptions.")
@click.option(
    "--direction",
    type=click.Choice(DIRECTIONS),
    default="forward",
    show_default=True,
    help="How the pairs are read in time; backward: the training pairs, from the later study to the earlier one.",
)
@click.option("--pairs", type=FILE, default=TABLES / "pairs.parquet", show_default=True, help="Input: pairs table.")
@click.option(
    "--studies", type=FILE, default=TABLES / "studies.parquet", show_default=True, help="Input: studies table."
)
@click.option("--progressions", type=FILE, help="Output: progressions table; with --audit, input.")
@click.option("--dry-run", is_flag=True, help="Print requests, tokens, price and time; send and write nothing.")
@click.option("--audit", type=click.IntRange(min=1), metavar="N", help="Write a sheet of N descriptions to be judged.")
@click.option("--sheet", type=FILE, help="Output of --audit: CSV file.")
@click.option("--score", type=FILE, metavar="SHEET", help="Print how far the readers of a sheet agree.")
def command(
    settings: dict[str, Any],
    writer: str,
    direction: str,
    pairs: Path,
    studies: Path,
    progressions: Path | None,
    dry_run: bool,
    audit: int | None,
    sheet: Path | None,
    score: Path | None,
) -> None:
    """Write a progression description for each pair of reports, by one writer, and check each description."""
    if score is not None:
        click.echo(audit_sheet.score(score))
        return
    if dry_run:
        click.echo(_plan(_read(pairs, direction), studies, writer, settings, direction))
        return
    path = _required(progressions, "--progressions")
    if audit is not None:
        sheet_path = _required(sheet, "--sheet")
        click.echo(_audit(path, audit, sheet_path, _read(pairs, direction), studies, writer, direction))
        return
    read_pairs = _read(pairs, direction)
    rows = writers.write(read_pairs, _studies_of(read_pairs, studies), writer, settings, direction)
    tables.write(path, "progressions", rows)
    click.echo(_summary(rows))


def _required(path: Path | None, option: str) -> Path:
    if path is None:
        raise click.UsageError(f"Missing option '{option}'.")
    return path


def _read(pairs: Path, direction: str) -> pd.DataFrame:
    return in_direction(tables.read(pairs, "pairs", ["pair_id", "prior_study_id", "study_id", "split"]), direction)


def _studies_of(pairs: pd.DataFrame, studies: Path) -> dict[int, writers.Study]:
    return writers.studies_by_id(studies, {*pairs["prior_study_id"], *pairs["study_id"]})


def _plan(pairs: pd.DataFrame, studies: Path, writer: str, settings: dict[str, Any], direction: str) -> str:
    if writer != "openai":
        return f"rewrite: {len(pairs)} pairs, the writer {writer} sends nothing"
    texts = writers.pairs_of(pairs, _studies_of(pairs, studies))
    return model_writer.plan(texts, settings["rewrite"], seed=settings["seed"], direction=direction)


def _audit(
    progressions: Path, count: int, sheet: Path, pairs: pd.DataFrame, studies: Path, writer: str, direction: str
) -> str:
    rows = tables.read(progressions, "progressions")
    rows = rows[(rows["writer"] == writer) & rows["pair_id"].isin(pairs["pair_id"])]
    if rows.empty:
        raise UserError(
            f"{progressions}: no row of the writer {writer!r} for a pair read {direction}: "
            f"give the table that rewrite wrote with --writer {writer} --direction {direction}"
        )
    pairs = pairs[pairs["pair_id"].isin(rows["pair_id"])]
    written = audit_sheet.write(sheet, count, rows, pairs, _studies_of(pairs, studies))
    return f"rewrite: {written} descriptions in {sheet}: fill in reader_1, then --score {sheet}"


def _summary(rows: pd.DataFrame) -> str:
    failing = {name: int((~rows[name]).sum()) for name in checks.CHECKS if not rows[name].all()}
    fallbacks = int(rows["fallback_reason"].notna().sum())
    return (
        f"rewrite: {int(rows['valid'].sum())} of {len(rows)} descriptions valid"
        + (f", failing {failing}" if failing else "")
        + (f", {fallbacks} written by the rules instead" if fallbacks else "")
    )
