"""GPUs of one machine, handed out to the commands that run on it at the same time.

A rule starts its command as ``python -m biomedjourney.devices COUNT COMMAND...``. Each GPU has a lock file. The command
holds the locks of its GPUs as long as it lives, and the system gives them back when it ends, however it ends.
"""

import fcntl
import os
import random
import sys
import time
from contextlib import suppress
from pathlib import Path

import click

from biomedjourney.errors import UserError

VARIABLE = "CUDA_VISIBLE_DEVICES"
# One folder for all users of the machine, whatever their TMPDIR is.
FOLDER = Path("/tmp")
# Everyone may read, which is enough to lock. Where systemd deletes old files from /tmp, it spares those with this bit.
MODE = 0o1444


def visible() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them, or numbered where it is not set."""
    if VARIABLE not in os.environ:
        import torch

        return [str(number) for number in range(torch.cuda.device_count())]
    names = []
    for name in os.environ[VARIABLE].split(","):
        name = name.strip()
        if not name.isdecimal() and not name.startswith(("GPU-", "MIG-")):
            break  # as CUDA reads it: -1 and SLURM's NoDevFiles end the list
        names.append(name)
    return list(dict.fromkeys(names))


def take(count: int, names: list[str]) -> list[str]:
    """Waits until ``count`` of the GPUs are free, and returns them; they are this process's until it ends.

    A program that takes this one's place (`os.execvp`) keeps them. It is all or none: a process that waits for a second
    GPU does not hold a first one, so that two of them cannot wait for each other.
    """
    if count > len(names):
        raise UserError(
            f"the job asks for {count} GPUs, but there are {len(names)} ({', '.join(names)}): set resources.VERB.gpus "
            f"in the configuration to {len(names)} or less, or give snakemake --resources gpu={len(names)}"
        )
    waiting = False
    while True:
        taken: dict[str, int] = {}
        for name in names:
            if len(taken) < count and (lock := _lock(name)) is not None:
                taken[name] = lock
        if len(taken) == count:
            return list(taken)
        for lock in taken.values():
            os.close(lock)
        if not waiting:
            click.echo(f"waiting for {count} of the GPUs {', '.join(names)}: other jobs use them", err=True)
            waiting = True
        time.sleep(random.uniform(0.5, 1.5))  # at random, so that two that take each other's GPU do so but once


def _lock(name: str) -> int | None:
    """The open file that locks a GPU, which a child that replaces this process inherits; None where another has it."""
    # two jobs of SLURM may both call their GPU 0, and mean different ones
    job = os.environ.get("SLURM_JOB_ID", "")
    path = FOLDER / "-".join(("biomedjourney-gpu", *filter(None, [job]), name.replace("/", "_")))
    with suppress(FileExistsError):
        made = os.open(path, os.O_CREAT | os.O_EXCL)
        os.fchmod(made, MODE)
        os.close(made)
    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    os.set_inheritable(lock, True)
    return lock


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("count", type=click.IntRange(1))
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def main(count: int, command: tuple[str, ...]) -> None:
    """Runs COMMAND with COUNT GPUs of this machine that no other such command uses; waits until they are free.

    COMMAND sees no other GPU. Where none is visible at all, COMMAND runs on the CPU.
    """
    try:
        names = visible()
        if names:
            os.environ[VARIABLE] = ",".join(take(count, names))
        else:
            click.echo("no GPU is visible on this machine: the job runs on the CPU", err=True)
        os.execvp(command[0], command)
    except UserError as error:
        click.echo(f"error: {error}", err=True)
    except OSError as error:
        click.echo(f"error: {error.filename or command[0]}: {error.strerror}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
