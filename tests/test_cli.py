import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from biomedjourney.cli import COMMANDS, commands
from biomedjourney.errors import SHOW_TEXTS

HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "open_clip",
    "torchxrayvision",
    "SimpleITK",
    "sklearn",
    "matplotlib",
    "gradio",
)


SHOWN = {SHOW_TEXTS: "1"}
MAIN = "from biomedjourney.cli import main; main()"
# `biomedjourney inspect` with another body, and a body for each way to end
FAILING = """
import sys
from biomedjourney.inspect import describe

def fail(*_):
    raise {error}

describe.describe = fail
"""


def run(
    *words: str, folder: str | Path | None = None, code: str = MAIN, **variables: str
) -> subprocess.CompletedProcess:
    environment = os.environ | variables
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=60)


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


def test_every_command_without_a_configuration_hides_what_it_writes() -> None:
    """The others do as `readers` says. These four have their own way: docs/privacy.md."""
    without = set()
    for verb in COMMANDS:
        verb_command = commands.get_command(click.Context(commands), verb)
        assert verb_command is not None
        for command, words in leaves(verb_command, (verb,)):
            if not isinstance(command, click.Group) and "settings" not in {option.name for option in command.params}:
                without.add(words)
    gather = {("gather", name) for name in ("parts", "triples", "cohort")}
    assert without == gather | {("edit",), ("inspect",), ("app",)}


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
        (("gather", "parts"), 2, "Missing argument 'TABLE'"),
        (("inspect",), 1, "error: results: no table is here: run `snakemake --cores all`"),
        (("inspect", "a.parquet", "--sql", "select 1"), 2, "Give either TABLE or --sql."),
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


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("KeyError('a key\\nof two lines')", "KeyError: 'a key\\nof two lines'"),
        ("ValueError('two\\nlines')", "ValueError: two lines"),
        ("RuntimeError('long ' * 1000)", "RuntimeError: long long long"),
        ("EOFError('Compressed file ended')", "EOFError: Compressed file ended"),  # which click calls an abort
        ("BrokenPipeError(32, 'of a worker')", "BrokenPipeError: [Errno 32] of a worker"),
        ("MemoryError", "MemoryError in"),
        ("AssertionError", "AssertionError in"),
        ("ExceptionGroup('both', [ValueError(1), KeyError(2)])", "ExceptionGroup: both"),
        ("UnicodeEncodeError('utf-8', '\\ud800', 0, 1, 'no')", "UnicodeEncodeError"),
    ],
)
def test_an_unexpected_error_is_one_line_and_its_traceback_is_in_the_log(
    error: str, shown: str, tmp_path: Path
) -> None:
    code = FAILING.format(error=error) + MAIN
    result = run("inspect", "a b", folder=tmp_path, **SHOWN, code=code)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: unexpected {shown}")
    assert result.stderr.count("\n") == 1
    assert len(result.stderr) < 500
    assert "inspect/command.py, line " in result.stderr
    assert "logs/errors.log" in result.stderr
    assert result.stdout == ""
    log = (tmp_path / "logs" / "errors.log").read_text()
    assert "biomedjourney 0.1.0: inspect 'a b'\n" in log.splitlines(keepends=True)[0]
    assert "Traceback (most recent call last):" in log
    assert ", in fail\n" in log

    run("inspect", "a b", folder=tmp_path, **SHOWN, code=code)
    assert (tmp_path / "logs" / "errors.log").read_text().count("inspect 'a b'") == 2, "the first entry is gone"


def test_a_log_that_is_named_is_emptied_and_gets_the_traceback_with_its_causes(tmp_path: Path) -> None:
    (tmp_path / "a run.log").write_text("of the run before")
    assert run("--log", "a run.log", "inspect", "nowhere", folder=tmp_path).returncode == 1
    assert (tmp_path / "a run.log").read_text() == ""
    failing = FAILING.format(error="RuntimeError('what followed') from ZeroDivisionError('the cause')")
    result = run("--log", "a run.log", "inspect", "nowhere", folder=tmp_path, **SHOWN, code=failing + MAIN)
    assert "a run.log" in result.stderr
    assert result.stderr.count("\n") == 1
    log = (tmp_path / "a run.log").read_text()
    assert log.index("ZeroDivisionError: the cause") < log.index("RuntimeError: what followed")
    assert os.listdir(tmp_path) == ["a run.log"]


@pytest.mark.parametrize(
    "error",
    [
        "ValueError(sys.argv[2])",
        "KeyError(sys.argv[2]) from ValueError(sys.argv[2])",
        "UnicodeEncodeError('utf-8', sys.argv[2], 0, 1, sys.argv[2])",
        "ExceptionGroup(sys.argv[2], [ValueError(sys.argv[2])])",
        "type('Odd', (Exception,), {'__str__': lambda self: sys.argv[2], '__notes__': [sys.argv[2]]})",
    ],
)
def test_what_an_unexpected_error_says_is_told_nowhere(error: str, tmp_path: Path) -> None:
    """It may quote a report; so may a text among the command's words.

    The errors take it from there, since a newer Python shows the lines of the code in the traceback.
    """
    off = {SHOW_TEXTS: "0"}
    result = run("inspect", "of a zebra", folder=tmp_path, code=FAILING.format(error=error) + MAIN, **off)
    log = (tmp_path / "logs" / "errors.log").read_text()
    assert result.returncode == 1
    assert "zebra" not in result.stdout + result.stderr + log
    kind = error.split("(")[0].replace("type", "Odd")
    assert re.match(rf"error: unexpected {kind} in inspect/command\.py, line \d+: the traceback is in ", result.stderr)
    assert f"{SHOW_TEXTS}=1" in result.stderr
    assert result.stderr.count("\n") == 1
    assert "inspect ..." in log
    assert ", in fail\n" in log
    assert log.endswith(f"\n{kind}\n")


def test_of_an_error_in_another_process_the_places_are_in_the_log_and_not_its_words(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def work(item):\n    raise ValueError(f'a zebra\\nwith {item}')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import broken\n"
        "from biomedjourney import workers\nfrom biomedjourney.inspect import describe\n"
        "describe.describe = lambda *_: list(workers.map_ordered(broken.work, range(4), 2))\n"
        "if __name__ == '__main__':\n    " + MAIN
    )
    result = run(
        "inspect", "nowhere", folder=tmp_path, code=code, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    )
    log = (tmp_path / "logs" / "errors.log").read_text()
    assert "zebra" not in result.stdout + result.stderr + log
    assert f'File "{tmp_path}/broken.py", line 2, in work' in log
    assert result.stderr.startswith("error: unexpected ValueError in ")


@pytest.mark.parametrize("readers", ["owner", "group"])
def test_the_log_of_an_error_is_hidden_like_all_else(readers: str, tmp_path: Path) -> None:
    """Also one that was there before."""
    (tmp_path / "mine.log").touch(0o644)
    failing = (
        "import os; os.umask(0o022)\nfrom biomedjourney.phantom import files\n"
        "def fail(*_, **__):\n    raise ValueError\nfiles.write = fail\n"
    )
    settings = "{seed: 0, readers: READERS, phantom: {patients: 12, image_size: 64, organ_masks: 1}}"
    for log in ("mine.log", "new/own.log"):
        words = ["--log", log, "phantom", "--config", settings.replace("READERS", readers)]
        result = run(*words, folder=tmp_path, code=failing + MAIN)
        assert "unexpected ValueError" in result.stderr
        assert (tmp_path / log).stat().st_mode & 0o777 == {"owner": 0o600, "group": 0o640}[readers]


def test_of_several_processes_the_first_one_empties_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rank, expected in (("1", "of the first one"), ("0", "")):
        monkeypatch.setenv("RANK", rank)
        (tmp_path / "a run.log").write_text("of the first one")
        assert run("--log", "a run.log", "inspect", "nowhere", folder=tmp_path).returncode == 1
        assert (tmp_path / "a run.log").read_text() == expected


def test_a_log_that_is_no_log_file_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1")
    result = run("--log", "config.yaml", "inspect", "nowhere", folder=tmp_path)
    assert result.returncode == 1
    assert "config.yaml: --log empties its file: give one whose name ends in .log" in result.stderr
    assert (tmp_path / "config.yaml").read_text() == "seed: 1"


def test_a_traceback_is_never_lost(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder would be")
    code = f"import tempfile; tempfile.tempdir = {str(tmp_path)!r}\n" + FAILING.format(error="KeyError(1)") + MAIN
    result = run("inspect", "nowhere", folder=tmp_path, **SHOWN, code=code)
    assert result.stderr.count("\n") == 1
    assert f"{tmp_path}/biomedjourney-errors.log" in result.stderr
    assert "KeyError: 1" in (tmp_path / "biomedjourney-errors.log").read_text()
    code = "import tempfile; tempfile.tempdir = '/proc'\n" + FAILING.format(error="KeyError(1)") + MAIN
    result = run("inspect", "nowhere", folder=tmp_path, **SHOWN, code=code)
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: unexpected KeyError: 1 in ")
    result = run("--log", "logs/x.log", "inspect", "nowhere", folder=tmp_path)
    assert result.stderr.startswith("error: logs/x.log: cannot be written (")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        ("KeyboardInterrupt", 130, "interrupted: what was finished is kept\n"),
        ("OSError(28, 'No space left on device', '/tmp/x/file')", 1, "error: /tmp/x/file: cannot be written (No space"),
        ("OSError(122, 'Disk quota exceeded')", 1, "error: standard output or a temporary file: cannot be written ("),
        ("SystemExit(3)", 3, ""),
    ],
)
def test_other_ends_have_no_traceback_anywhere(error: str, status: int, expected: str, tmp_path: Path) -> None:
    result = run("inspect", "nowhere", folder=tmp_path, code=FAILING.format(error=error) + MAIN)
    assert result.returncode == status
    assert result.stderr.startswith(expected)
    assert result.stderr.count("\n") == (1 if expected else 0)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("place", "expected"), [("> >(true)", ""), ("> /dev/full", "No space left on device")])
def test_a_reader_that_stops_and_a_full_output_are_no_python_errors(place: str, expected: str, tmp_path: Path) -> None:
    code = "import time; time.sleep(0.2)\n" + MAIN  # until `true` has ended
    shell = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} inspect --help {place}; echo $? > status"
    result = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (tmp_path / "status").read_text() == "1\n"
    assert os.listdir(tmp_path) == ["status"]
    assert result.stderr.count("\n") == (1 if expected else 0)
    assert expected in result.stderr


def test_a_full_disk_in_another_process_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    config = "{seed: 0, phantom: {patients: 10, image_size: 64, organ_masks: 3}}"
    words = ["phantom", "--config", config, "--out", "raw files", "--truth", "truth.parquet", "--processes", "2"]
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))\n" + MAIN
    result = run(*words, folder=tmp_path, code=limited)
    assert result.returncode == 1
    errors = [line for line in result.stderr.splitlines() if not line.startswith("drawing films")]
    assert len(errors) == 1
    assert errors[0].startswith("error: raw files: cannot be written (File too large; space left in /")
    assert os.listdir(tmp_path) == []


def test_a_path_may_begin_with_the_home_folder_and_hold_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a command gets them from ``--out=~/x`` and from ``--out "~/x"``, in which the shell leaves them alone."""
    monkeypatch.setenv("HOME", str(tmp_path / "a hömé"))
    (tmp_path / "a hömé").mkdir()
    (tmp_path / "a hömé" / "mine.yaml").write_text("{seed: 0, phantom: {patients: 10, image_size: 64, organ_masks: 3}}")
    words = ["--config=~/mine.yaml", "--out=~/my films", "--truth", "~/truth ü.parquet", "--organs=~/organs.parquet"]
    result = run("phantom", *words, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert sorted(os.listdir(tmp_path / "a hömé")) == ["mine.yaml", "my films", "organs.parquet", "truth ü.parquet"]
    assert os.listdir(tmp_path) == ["a hömé"]
    assert "subject_id" in run("inspect", "~/truth ü.parquet", folder=tmp_path).stdout


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_path_of_a_command_may_begin_with_the_home_folder(verb: str) -> None:
    verb_command = commands.get_command(click.Context(commands), verb)
    assert verb_command is not None
    for command, words in leaves(verb_command, (verb,)):
        for parameter in command.params:
            if isinstance(parameter.type, click.Path):
                converted = parameter.type.convert("~/x", parameter, click.Context(command))
                assert converted == Path.home() / "x", (words, parameter.name)
