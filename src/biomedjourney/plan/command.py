"""``biomedjourney plan``."""

from typing import Any

import click

from biomedjourney import config


@click.command(epilog="Example: biomedjourney plan --config config.yaml --config workflow/configs/paper.yaml")
@config.option("plan")
def command(settings: dict[str, Any]) -> None:
    """Say what a configuration takes, step by step, before anything starts, and what of it is done in this folder.

    Time, memory, disk, requests and money come from measured rates, which are named, and from the benchmarks of this
    folder where it has some. The data and the weights need not be there. Nothing is written or sent.
    """
    from biomedjourney.plan.text import describe

    click.echo(describe(settings))
