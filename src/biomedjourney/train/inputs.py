"""The files that training and generation read, as options of a command."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from biomedjourney.errors import UserError

MEANING = {
    "singles": "Table singles.",
    "pairs": "Table pairs; for runs and systems on pairs.",
    "registrations": "Table registrations; with --pairs.",
    "progressions": "Table progressions; with --pairs.",
    "latents": "Table latents of the pictures.",
    "prior_latents": "Table latents of the registered priors; for prior: registered.",
    "texts": "Table texts.",
    "first_stage": "Folder of the first stage.",
}


@dataclass(frozen=True)
class Inputs:
    """Paths by the option that gives them; None where it was not given."""

    singles: Path | None = None
    pairs: Path | None = None
    registrations: Path | None = None
    progressions: Path | None = None
    latents: Path | None = None
    prior_latents: Path | None = None
    texts: Path | None = None
    first_stage: Path | None = None

    def need(self, name: str, reason: str) -> Path:
        """The path; raises UserError with the option to add where it is absent."""
        path: Path | None = getattr(self, name)
        if path is None:
            raise UserError(f"--{name.replace('_', '-')} is missing: {reason} reads it ({MEANING[name]})")
        return path


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds one option for each field of `Inputs`."""
    for name, meaning in reversed(MEANING.items()):
        command = click.option(f"--{name.replace('_', '-')}", type=click.Path(path_type=Path), help=meaning)(command)
    return command
