"""`biomedjourney edit`: a counterfactual of one picture."""

from pathlib import Path

import click

from biomedjourney.config import PATH

MODEL = Path("results/models/biomedjourney")


@click.command()
@click.argument("prior", type=PATH)
@click.argument("text")
@click.option("--out", type=PATH, required=True, help="PNG file, to write.")
@click.option("--model", type=PATH, default=MODEL, show_default=True, help="Folder that generate export wrote.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, another picture.")
@click.option("--text-scale", type=click.FloatRange(0), help="How strongly the text is followed; else the model's own.")
@click.option("--image-scale", type=click.FloatRange(0), help="How closely the prior is kept; else the model's own.")
@click.option("--steps", type=click.IntRange(1), help="Sampling steps; else the model's own.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
def command(
    prior: Path,
    text: str,
    out: Path,
    model: Path,
    seed: int,
    text_scale: float | None,
    image_scale: float | None,
    steps: int | None,
    threads: int,
) -> None:
    """Draw what the film PRIOR (JPEG, PNG or DICOM) might look like after the progression that TEXT describes.

    For research, not for clinical use.

    \b
    Example: biomedjourney edit PRIOR.png "new small left pleural effusion" --out EDITED.png
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney import pixels, tables
    from biomedjourney.editing import edit
    from biomedjourney.errors import UserError

    if out.exists() and prior.exists() and out.samefile(prior):
        raise UserError(f"{out}: is the prior itself, which would be lost: give another file as --out")
    picture = edit(prior, text, model, seed=seed, text_scale=text_scale, image_scale=image_scale, steps=steps)
    with tables.atomic_path(out) as temporary:
        temporary.write_bytes(pixels.encode_png(picture))
    click.echo(f"{out}: {picture.shape[1]} x {picture.shape[0]} pixels, not for clinical use", err=True)
