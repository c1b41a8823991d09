"""What docs/faults.md promises of a clock that jumps back, two runs in one folder, and kills, by the real command."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY
from tests.helpers.workflow_runs import SMOKE, snakemake

pytestmark = pytest.mark.workflow

TABLES = ("results/tables/studies.parquet", "results/tables/pairs.parquet")
WORDS = (*TABLES, "--cores", "2", "--configfile", str(SMOKE))


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the workflow has run up to the table `pairs`."""
    folder = tmp_path_factory.mktemp("paired")
    result = snakemake(folder, *WORDS)
    assert result.returncode == 0, result.stdout[-3000:]
    return folder


@pytest.fixture
def copied(paired: Path, tmp_path: Path) -> Path:
    return shutil.copytree(paired, tmp_path / "run", symlinks=True)


@pytest.mark.parametrize("name", ["studies", "images"])
def test_a_file_from_the_future_ends_the_run_and_the_manual_s_remedy_mends_it(name: str, copied: Path) -> None:
    pairs, table = (copied / "results" / "tables" / f"{name}.parquet" for name in ("pairs", name))
    before, later = pairs.read_bytes(), time.time() + 3600
    os.utime(table, (later, later))
    result = snakemake(copied, *WORDS, "--forcerun", "pair_studies")
    assert result.returncode == 1
    assert f"has older modification time ({time.strftime('%Y-')}" in result.stdout
    assert f"than input results/tables/{name}.parquet" in result.stdout
    assert not pairs.exists(), "a result that Snakemake would make again and again"
    table.touch()
    again = snakemake(copied, *WORDS)
    assert again.returncode == 0, again.stdout[-3000:]
    assert pairs.read_bytes() == before
    assert "Nothing to be done" in snakemake(copied, *WORDS).stdout


# Stands where the command `biomedjourney` is looked for: it begins when the file `go` is there.
HELD = """#!/usr/bin/env python
import pathlib, time
from biomedjourney.cli import main

if __name__ == "__main__":
    pathlib.Path("waits").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.1)
    main()
"""


@pytest.fixture
def held(copied: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that makes the raw tables anew in the folder ``copied``, with a first job that waits for the file `go`."""
    program = copied / "bin" / "biomedjourney"
    program.parent.mkdir()
    program.write_text(HELD)
    program.chmod(0o755)
    command = ["snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), *WORDS, "--forcerun", "ingest_raw_files"]
    environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    joined = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    with subprocess.Popen(command, cwd=copied, env=environment, **joined) as process:
        try:
            deadline = time.monotonic() + 120
            while not (copied / "waits").exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_a_second_run_in_one_folder_is_refused_and_the_first_one_goes_on(
    held: subprocess.Popen[str], copied: Path
) -> None:
    second = snakemake(copied, *WORDS)
    assert second.returncode == 1
    assert "LockException" in second.stdout
    assert str(copied) in second.stdout
    (copied / "go").touch()
    said, _ = held.communicate(timeout=300)
    assert held.returncode == 0, said[-3000:]
    assert "Nothing to be done" in snakemake(copied, *WORDS).stdout


def test_a_run_that_was_killed_goes_on_by_the_manual_s_two_commands(
    held: subprocess.Popen[str], copied: Path, paired: Path
) -> None:
    os.killpg(held.pid, signal.SIGKILL)
    held.communicate()
    assert "LockException" in snakemake(copied, *WORDS).stdout
    assert snakemake(copied, *WORDS, "--unlock").returncode == 0
    again = snakemake(copied, *WORDS, "--rerun-incomplete")
    assert again.returncode == 0, again.stdout[-3000:]
    assert "ingest_raw_files" in again.stdout
    for name in TABLES:
        assert (copied / name).read_bytes() == (paired / name).read_bytes()
