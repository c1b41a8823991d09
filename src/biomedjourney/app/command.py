"""`biomedjourney app`: a local web page to edit films."""

from pathlib import Path

import click

from biomedjourney.config import PATH
from biomedjourney.editing.command import MODEL


@click.command()
@click.option("--model", type=PATH, default=MODEL, show_default=True, help="Folder that generate export wrote.")
@click.option("--judges", type=PATH, help="Folder of the judges; else the folder judges beside the model, if any.")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="0: any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; another one lets other machines in.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.pass_context
def command(context: click.Context, model: Path, judges: Path | None, port: int, host: str, threads: int) -> None:
    """Open a page in the browser: drop a film, say what changes, see the counterfactual.

    The page needs no network. What is dropped on it is deleted when its tab is closed, and when this command ends.
    For research, not for clinical use.

    \b
    Example: biomedjourney app --model results/models/biomedjourney
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney.app import server
    from biomedjourney.app.drawing import Studio
    from biomedjourney.editing.run import judges_beside

    assert context.parent is not None
    studio = Studio(model, judges or judges_beside(model))
    server.serve(studio, host, port, context.parent.params["log"])
