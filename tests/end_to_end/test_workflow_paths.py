"""Folders with spaces, quotes and letters beyond ASCII: of the checkout, of the run and in the configuration."""

import os
import shlex
from pathlib import Path

import pytest

from biomedjourney import tables
from tests.helpers import REPOSITORY
from tests.helpers.workflow_runs import SMOKE, snakemake

pytestmark = pytest.mark.workflow

NAME = 'it\'s a "földer" & $HOME ☺'
MINE = """
data:
  images: "~/raw films' é/mimic-cxr-jpg"
  reports: "~/raw films' é/mimic-cxr/mimic-cxr-reports.zip"
  demographics: "~/raw films' é/mimic-iv/hosp"
phantom: {patients: 12, image_size: 64}
rewrite: {openai: {cache: "~/a cache"}}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The workflow in a folder of that name, with `mine.yaml` beside the Snakefile."""
    folder = tmp_path / NAME / "check out"
    folder.mkdir(parents=True)
    for name in ("Snakefile", "config.yaml", "workflow", "envs"):
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / "mine.yaml").write_text(MINE)
    return folder


def environment(folder: Path) -> dict[str, str]:
    return dict(os.environ) | {"HOME": str(folder)}


def test_raw_files_become_pairs(checkout: Path) -> None:
    home = checkout / "my home"
    home.mkdir()
    words = ["pair_studies", "--cores", "2", "--configfile", "mine.yaml"]
    result = snakemake(checkout, *words, snakefile=checkout / "Snakefile", environment=environment(home))
    assert result.returncode == 0, result.stdout[-3000:]
    assert not (checkout / "~").exists()
    assert (home / "raw films' é" / "PHANTOM.txt").is_file()
    assert len(tables.read(checkout / "results" / "tables" / "pairs.parquet", "pairs")) > 5
    assert "12 phantom patients" in (checkout / "logs" / "phantom.log").read_text()
    again = snakemake(checkout, *words, snakefile=checkout / "Snakefile", environment=environment(home))
    assert "Nothing to be done" in again.stdout


def test_every_command_gets_its_paths_whole(tmp_path: Path) -> None:
    """The commands of a dry run, split as a shell does it; here the rules' own folders have a space."""
    rules = tmp_path / "workflow" / "rules"
    rules.mkdir(parents=True)
    for path in (REPOSITORY / "workflow" / "rules").iterdir():
        text = path.read_text()
        for folder in ("results/", "logs/"):
            text = text.replace(folder, f"its {folder}")
        (rules / path.name).write_text(text)
    (tmp_path / "workflow" / "report").symlink_to(REPOSITORY / "workflow" / "report")
    for name in ("config.yaml", "envs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "Snakefile").write_text((REPOSITORY / "Snakefile").read_text().replace("results/", "its results/"))
    (tmp_path / "mine.yaml").write_text(MINE)
    words = ["--dry-run", "--printshellcmds", "--configfile", str(SMOKE), "mine.yaml"]
    result = snakemake(tmp_path, *words, snakefile=tmp_path / "Snakefile", environment=environment(tmp_path))
    assert result.returncode == 0, result.stdout[-3000:]
    lines = [line.partition("biomedjourney ") for line in result.stdout.splitlines() if "biomedjourney --log" in line]
    commands = [shlex.split(command) for _, _, command in lines]
    verbs = {next(word for word in command[2:] if not word.startswith("-")) for command in commands}
    assert verbs == {
        *("phantom", "ingest", "pair", "rewrite", "preprocess", "register", "gather", "pretrain", "encode", "train"),
        *("generate", "evaluate", "report"),
    }
    for command in commands:
        assert command[0] == "--log"
        # the rule of train shields tee from signals, in brackets
        assert command[-2:] == ["-a", command[1]] or command[-2:] == ["-a", f"{command[1]})"]
        assert "tee" in command[-4:]
        for word in command:
            assert not word.startswith(("results/", "logs/", "films'", "é")), command
        assert sum(word.startswith("its logs/") for word in command) == 2
        assert any(word.startswith("its results/") for word in command), command


def test_an_unexpected_error_of_a_rule_is_one_line_and_its_traceback_is_in_the_rule_s_log(tmp_path: Path) -> None:
    """Each run writes its log anew."""
    (tmp_path / "sitecustomize.py").write_text(
        "from biomedjourney.phantom import files\n"
        "def write(*_, **__):\n"
        "    raise LookupError('nobody\\nthought of this')\n"
        "files.write = write\n"
    )
    variables = dict(os.environ)
    variables["PYTHONPATH"] = os.pathsep.join([str(tmp_path), variables.get("PYTHONPATH", "")])
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "phantom.log").write_text("of the run before")
    result = snakemake(tmp_path, "draw_phantom", "--cores", "1", "--configfile", str(SMOKE), environment=variables)
    assert result.returncode != 0
    assert "Traceback" not in result.stdout
    said = "error: unexpected LookupError: nobody thought of this in phantom/command.py, line "
    lines = [line for line in result.stdout.splitlines() if "LookupError" in line]
    assert lines[0].startswith(said)
    assert "the traceback is in logs/phantom.log" in lines[0]
    assert lines[1:] == [f"logs/phantom.log: {lines[0]}"], "once when it happens, and once at the end"
    log = (tmp_path / "logs" / "phantom.log").read_text()
    assert log.count("Traceback (most recent call last)") == 1
    assert said in log
    assert "of the run before" not in log


def test_a_mistake_of_the_user_is_one_line_in_the_log_too(tmp_path: Path) -> None:
    folder = tmp_path / "resources" / "phantom"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("not a phantom")
    result = snakemake(tmp_path, "draw_phantom", "--cores", "1", "--configfile", str(SMOKE))
    assert result.returncode != 0
    log = (tmp_path / "logs" / "phantom.log").read_text()
    assert log.startswith("error: resources/phantom: holds files that are not a phantom")
    assert log.count("\n") == 1
    assert not (tmp_path / "logs" / "errors.log").exists()
