"""The command ``biomedjourney``: one sub-command per verb; each is loaded when it is called."""

import sys
from importlib import import_module

import click

from biomedjourney import __version__
from biomedjourney.errors import UserError

COMMANDS = {
    "phantom": "Draw the embedded cohort as raw files in MIMIC's layout.",
    "ingest": "Read, check and join the raw files.",
    "pair": "Make pairs of consecutive studies, singles and the split.",
    "rewrite": "Write a progression description for each pair of reports.",
    "preprocess": "Bring every image needed into canonical form.",
    "register": "Bring each prior image onto the later one.",
    "pretrain": "Load or train the parts that stay frozen later.",
    "encode": "Encode pictures and texts once, for training.",
    "train": "Train the diffusion model, stage by stage.",
    "generate": "Draw one counterfactual per test pair.",
    "evaluate": "Score the counterfactuals.",
    "report": "Write the report.",
    "edit": "Draw a counterfactual of one picture.",
    "gather": "Join the parts of tables, and all that belongs to a pair.",
    "inspect": "Explain a table and show its first rows.",
}

FOLDERS = {"edit": "editing"}  # a sub-module biomedjourney.edit would hide the function of that name


class _Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return import_module(f"biomedjourney.{FOLDERS.get(name, name)}.command").command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="biomedjourney")
def commands() -> None:
    """BiomedJourney in the open: from raw MIMIC-CXR to the paper's tables, step by step.

    For research, not for clinical use.
    """


def main() -> None:
    try:
        commands(prog_name="biomedjourney")
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("interrupted: what was finished is kept", err=True)
        sys.exit(130)
