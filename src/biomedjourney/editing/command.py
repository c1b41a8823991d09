"""`biomedjourney edit`: a counterfactual of one picture, or of a table of them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from biomedjourney.config import PATH, for_the_owner

if TYPE_CHECKING:
    from biomedjourney.editing import edits

MODEL = Path("results/models/biomedjourney")
TABLES = (".csv", ".parquet")


@click.command()
@click.argument("prior", type=PATH)
@click.argument("text", required=False)
@click.option("--out", type=PATH, required=True, help="File to write (.png, .jpg, .dcm); for a table a folder.")
@click.option("--model", type=PATH, default=MODEL, show_default=True, help="Folder that generate export wrote.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, another picture.")
@click.option("--samples", type=click.IntRange(1), default=1, show_default=True, help="Pictures: seed, seed + 1, ...")
@click.option("--text-scale", type=click.FloatRange(0), help="How strongly the text is followed; else the model's own.")
@click.option("--image-scale", type=click.FloatRange(0), help="How closely the prior is kept; else the model's own.")
@click.option("--steps", type=click.IntRange(1), help="Sampling steps; else the model's own.")
@click.option("--difference", type=PATH, help="PNG file to write: denser in red, less dense in blue.")
@click.option("--raw", is_flag=True, help="The model's own square, in place of the changed film.")
@click.option("--mark/--no-mark", default=True, help="Write SYNTHETIC into a corner; the metadata always say it.")
@click.option("--judges", type=PATH, help="Folder of the judges; else the folder judges beside the model, if any.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
def command(
    prior: Path,
    text: str | None,
    out: Path,
    model: Path,
    seed: int,
    samples: int,
    text_scale: float | None,
    image_scale: float | None,
    steps: int | None,
    difference: Path | None,
    raw: bool,
    mark: bool,
    judges: Path | None,
    threads: int,
) -> None:
    """Draw what the film PRIOR (JPEG, PNG or DICOM) might look like after the progression that TEXT describes.

    The film comes back at its own size, with what the model changed. PRIOR may also be a table (.csv, .parquet) with
    the columns path and text: then TEXT is left out, and --out is a folder. Only you can read what is written. For
    research, not for clinical use.

    \b
    Example: biomedjourney edit PRIOR.png "new small left pleural effusion" --out EDITED.png
             biomedjourney edit CASES.csv --out EDITED
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.editing import edits

    seeds = range(seed, seed + samples)
    settings = edits.Settings(seeds, text_scale, image_scale, steps, raw, mark, judges)
    if prior.suffix.lower() in TABLES:
        if text is not None or difference is not None:
            raise click.UsageError("a table of films has its own texts, and no --difference is drawn of it")
        with for_the_owner():
            _edit_table(prior, out, model, settings)
    elif text is None:
        raise click.UsageError("Missing argument 'TEXT'.")
    else:
        with for_the_owner():
            _edit_film(prior, text, out, difference, model, settings)


def _edit_film(
    prior: Path, text: str, out: Path, difference: Path | None, model: Path, settings: "edits.Settings"
) -> None:
    from biomedjourney.editing import run

    result = run.run(prior, text, model, settings, out, difference)
    for caution in result.cautions:
        click.echo(f"warning: {caution}", err=True)
    for one, file in zip(result.edited, result.files, strict=True):
        rows, columns = one.pixels.shape[:2]
        changed = "" if one.floor is None else f", {one.share:.0%} of them changed (noise floor {one.floor:.3f})"
        click.echo(f"{file}: {columns} x {rows} pixels{changed}, synthetic, not for clinical use", err=True)
    if result.sheet:
        click.echo(f"{result.sheet}: the film and its samples side by side", err=True)


def _edit_table(cases: Path, folder: Path, model: Path, settings: "edits.Settings") -> None:
    from biomedjourney.editing import table
    from biomedjourney.errors import UserError

    results = table.run(cases, folder, model, settings)
    written = folder / f"edits{cases.suffix.lower()}"
    failed = results[results["error"] != ""]
    if len(failed) == len(results):
        raise UserError(f"{cases}: every row failed, the first one with: {failed['error'].iloc[0]} (see {written})")
    click.echo(
        f"{written}: {len(results) - len(failed)} pictures, {len(failed)} failures, "
        f"{(results['warning'] != '').sum()} with a warning; synthetic, not for clinical use",
        err=True,
    )
