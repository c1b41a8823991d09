"""``biomedjourney prefetch``: the published weights that a configuration names, from where they are published."""

from typing import Any

import click

from biomedjourney import config


@click.command()
@config.option("prefetch")
@click.option("--list", "only_list", is_flag=True, help="Say what would be fetched from where, without a network.")
def command(settings: dict[str, Any], only_list: bool) -> None:
    """Fetch the published weights that a configuration names, for machines without internet access.

    From the Hugging Face hub, at the revisions of the section prefetch, and torchxrayvision's files from its releases.
    A fetch that was interrupted goes on where it ended. The first fetch records size and sha256 of each file in
    PATH.fetched.json; a later one compares the files with it.

    Example: biomedjourney prefetch --config config.yaml --config workflow/configs/paper.yaml
    """
    from biomedjourney.prefetch import fetch

    for line in fetch.listing(settings) if only_list else fetch.fetch(settings):
        click.echo(line)
