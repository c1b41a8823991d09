import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from biomedjourney.cli import COMMANDS, commands

HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "open_clip",
    "torchxrayvision",
    "SimpleITK",
    "sklearn",
    "matplotlib",
)


def run(*words: str, folder: str | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from biomedjourney.cli import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)


def leaves(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[click.Command, tuple[str, ...]]]:
    yield command, words
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            child = command.get_command(click.Context(command), name)
            assert child is not None
            yield from leaves(child, (*words, name))


@pytest.mark.parametrize("verb", COMMANDS)
def test_help_imports_nothing_heavy(verb: str) -> None:
    code = (
        "import sys; from biomedjourney.cli import commands\n"
        f"commands([{verb!r}, '--help'], prog_name='biomedjourney', standalone_mode=False)\n"
        f"heavy = [m for m in {HEAVY!r} if m in sys.modules]; assert not heavy, heavy\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    assert f"biomedjourney {verb}" in shown.stdout


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_has_an_example_that_names_it_and_explains_its_options(verb: str) -> None:
    verb_command = commands.get_command(click.Context(commands), verb)
    assert verb_command is not None
    for command, words in leaves(verb_command, (verb,)):
        assert command.help, words
        if not isinstance(command, click.Group):
            text = " ".join(f"{command.help} {command.epilog or ''}".split())
            assert "Example:" in text, words
            assert f"biomedjourney {' '.join(words)} " in text, words
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help or parameter.name in ("threads", "processes"), (words, parameter.name)
                assert parameter.opts[0].startswith("--"), (words, parameter.name)


def test_the_first_page_lists_every_command() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    for verb, meaning in COMMANDS.items():
        assert verb in shown.stdout
        assert meaning in shown.stdout
    assert "not for clinical use" in shown.stdout


def test_the_version_is_printed() -> None:
    assert "0.1.0" in run("--version").stdout


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (("fly",), 2, "No such command 'fly'"),
        (("inspect",), 2, "Missing argument 'TABLE'"),
        (("inspect", "none.parquet"), 1, "error: none.parquet: no such file"),
        (("gather", "fish"), 2, "No such command 'fish'"),
        (("gather", "parts", "fish", "a.parquet", "--out", "b.parquet"), 1, "error: there is no table 'fish'"),
        (("gather", "triples", "--writer", "rules"), 2, "Missing option '--pairs'"),
        (("report", "--config", "none.yaml"), 1, "error: none.yaml: configuration cannot be read"),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(words: tuple[str, ...], status: int, expected: str, tmp_path) -> None:
    result = run(*words, folder=str(tmp_path))
    assert result.returncode == status
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    if status == 1:
        assert result.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []
