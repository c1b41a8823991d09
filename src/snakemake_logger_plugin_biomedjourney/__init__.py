"""Mistakes in Snakemake's ``--config`` and ``--configfile`` as one line each.

Snakemake reads both before the Snakefile, so that no rule file can check them, and prints a traceback. Only its plugins
are loaded earlier: every installed package whose name begins like this one's. This plugin handles no log messages. For
this project's Snakefile it puts its own functions in the place of two of Snakemake's; other workflows are left alone.
"""

import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from snakemake import cli
from snakemake.common import configfile
from snakemake.settings import types
from snakemake_interface_logger_plugins.base import LogHandlerBase as LogHandler

from biomedjourney.config import read
from biomedjourney.errors import UserError

__all__ = ["LogHandler"]

_parse_config = cli.parse_config


def _parse_config_or_exit(entries: list[str] | None) -> dict[str, Any]:
    given, parsed = entries or [], dict[str, Any]()
    for number, entry in enumerate(given, 1):
        try:
            parsed = _parse_config(given[:number])
        except Exception:
            sys.exit(f"error: --config {entry}: {_remedy(entry)}")
    return parsed


def _remedy(entry: str) -> str:
    key, equals, value = entry.partition("=")
    first, *others = key.split(".")
    if not equals or not others:
        return "no NAME=VALUE with the name of a section, as in --config seed=1"
    for name in reversed(others):
        value = f"{{{name}: {value}}}"
    return f"no name of a section: write '{first}: {value}' into a file of yours and give it with --configfile"


def _load_configfile_or_exit(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        settings = read(path)
    except UserError as error:
        sys.exit(f"error: {error}")
    return settings  # not Snakemake's own reading, which runs what a file with the key __use_yte__ holds as Python


def _is_ours(arguments: list[str]) -> bool:
    """Whether Snakemake's command line runs this project's Snakefile."""
    after_option = [value for option, value in pairwise(arguments) if option in ("-s", "--snakefile")]
    with_option = [argument.partition("=")[2] for argument in arguments if argument.startswith("--snakefile=")]
    rules = Path([*after_option, *with_option, "Snakefile"][0]).parent / "workflow" / "rules" / "common.smk"
    return rules.is_file() and "biomedjourney" in rules.read_text(encoding="utf-8")


if _is_ours(sys.argv):
    cli.parse_config = _parse_config_or_exit
    configfile.load_configfile = types.load_configfile = _load_configfile_or_exit
