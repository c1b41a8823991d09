"""The real workflow, run once in miniature for all end-to-end tests, and a SLURM cluster of one node."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.helpers.workflow_runs import run_smoke
from tools import slurm_node


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder in which the whole workflow has run once with smoke.yaml. Tests only read it; `smoke_copy` is a copy.

    With pytest-xdist, a session fixture is made once per worker: here the first worker that asks runs the workflow in
    the folder that all workers share, and the others wait for it.
    """
    if worker_id == "master":
        return run_smoke(tmp_path_factory.mktemp("smoke"))
    shared = tmp_path_factory.getbasetemp().parent
    folder, outcome = shared / "smoke", shared / "smoke-outcome.txt"
    with FileLock(shared / "smoke.lock"):
        if not outcome.exists():
            folder.mkdir()
            outcome.write_text("failed")  # stays if the run fails: the others then need not run it again
            run_smoke(folder)
            outcome.write_text("finished")
    assert outcome.read_text() == "finished", "the run of smoke.yaml failed in another worker: see the error there"
    return folder


@pytest.fixture
def smoke_copy(smoke: Path, tmp_path: Path) -> Path:
    """A copy of the folder for a test that runs Snakemake in it; files keep their times, which Snakemake compares."""
    return shutil.copytree(smoke, tmp_path / "smoke", symlinks=True)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A real SLURM cluster of one node with two fake GPUs, started for the tests and stopped after them."""
    if reason := slurm_node.obstacle():
        pytest.skip(f"needs a system package set up: {reason}")
    with slurm_node.cluster(tmp_path_factory.mktemp("slurm"), gpus=2):
        yield
