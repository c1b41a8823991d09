"""The command ``biomedjourney``: one sub-command per verb; each is loaded when it is called."""

import os
import select
import sys
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

import click

from biomedjourney import __version__, workers
from biomedjourney.config import PATH
from biomedjourney.errors import UserError, full_disk, no_space, out_of_reach, unexpected

COMMANDS = {
    "phantom": "Draw the embedded cohort as raw files in MIMIC's layout.",
    "ingest": "Read, check and join the raw files.",
    "pair": "Make pairs of consecutive studies, or list the images for that.",
    "rewrite": "Write a progression description for each pair of reports.",
    "preprocess": "Bring every image needed into canonical form.",
    "register": "Bring each prior image onto the later one.",
    "pretrain": "Load or train the parts that stay frozen later.",
    "encode": "Encode pictures and texts once, for training.",
    "train": "Train the diffusion model, stage by stage.",
    "generate": "Draw one counterfactual per test pair.",
    "evaluate": "Score the counterfactuals.",
    "report": "Write the report.",
    "plan": "Say what each step takes, and what is done.",
    "prefetch": "Fetch the published weights that a configuration names.",
    "edit": "Draw a counterfactual of one picture.",
    "gather": "Join the parts of tables, and all that belongs to a pair.",
    "app": "Open a local web page to edit films.",
    "inspect": "List, explain and query the tables; show pictures and pairs.",
}

LOG = Path("logs/errors.log")
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
@click.option(
    "--log",
    type=PATH,
    default=LOG,
    show_default=True,
    help="File to which the traceback of an unexpected error is added; emptied at the start if it is given.",
)
@click.pass_context
def commands(context: click.Context, log: Path) -> None:
    """BiomedJourney in the open: from raw MIMIC-CXR to the paper's tables, step by step.

    For research, not for clinical use.
    """
    if "LOCAL_RANK" in os.environ:
        workers.end_with_launcher()
    if context.get_parameter_source("log") is not click.core.ParameterSource.DEFAULT:
        if log.suffix != ".log":
            raise UserError(f"{log}: --log empties its file: give one whose name ends in .log")
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            if os.environ.get("RANK", "0") == "0":  # of several processes the first one empties it for all
                log.write_bytes(b"")
        except OSError as error:
            raise UserError(f"{log}: cannot be written ({error.strerror}): give another file as --log") from None


def main() -> None:
    if "prefetch" not in sys.argv:  # nothing else may reach the hub, whatever a library makes of a missing file
        os.environ["HF_HUB_OFFLINE"] = "1"
    with ExitStack() as stack:  # what the context set, such as the umask, holds until an error is told
        status = _run(stack)
    sys.exit(status)


def _run(stack: ExitStack) -> int:
    """Runs the command, tells its error, and returns the exit status."""
    log, status = LOG, 1
    try:
        context = stack.enter_context(commands.make_context("biomedjourney", sys.argv[1:]))
        log = context.params["log"]
        commands.invoke(context)
        status = 0
    except click.exceptions.Exit as end:
        status = end.exit_code
    except click.ClickException as error:
        status = error.exit_code
        if workers.is_first_to_fail():
            error.show()
    except UserError as error:
        _fail(str(error))
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted: what was finished is kept", err=True)
        status = 130
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            _drop_output()
        elif reason := full_disk(error):
            _drop_output()
            name = error.filename2 or error.filename if isinstance(error, OSError) else None
            _fail(str(no_space(name or "standard output or a temporary file", reason)))
        elif unreached := out_of_reach(error):
            _fail(str(unreached))
        elif workers.is_first_to_fail():
            click.echo(f"error: {unexpected(error, log)}", err=True)
    return status


def _fail(reason: str) -> None:
    if workers.is_first_to_fail():
        click.echo(f"error: {reason}", err=True)


def _reader_is_gone() -> bool:
    """Whether nobody reads standard output any more, as in ``biomedjourney inspect TABLE | head``."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def _drop_output() -> None:
    """Keeps Python from a second complaint, at its end, about standard output that cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
