"""The real workflow, run once in miniature for all end-to-end tests, and a SLURM cluster of one node."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.helpers.workflow_runs import run_smoke

SLURM_CONF = Path("/etc/slurm/slurm.conf")
GRES_CONF = SLURM_CONF.with_name("gres.conf")
FAKE_GPUS = ("/dev/null", "/dev/zero")  # SLURM counts device files and never opens them
MARK = "# written by the tests of biomedjourney"


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
    for program in ("munged", "slurmctld", "slurmd", "sbatch"):
        if shutil.which(program) is None:
            pytest.skip(f"needs a system package: {program} is not installed")
    if os.geteuid() != 0:
        pytest.skip("needs a system package set up: SLURM daemons are started as root only")
    if SLURM_CONF.exists() and not SLURM_CONF.read_text().startswith(MARK):
        pytest.skip("needs a machine of its own: this one has a SLURM cluster already")
    state = tmp_path_factory.mktemp("slurm")
    host = socket.gethostname().split(".")[0]
    SLURM_CONF.parent.mkdir(parents=True, exist_ok=True)
    SLURM_CONF.write_text(
        f"""{MARK}
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/d
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory=8000 Gres=gpu:{len(FAKE_GPUS)} State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
    )
    GRES_CONF.write_text(MARK + "\n" + "".join(f"Name=gpu File={device}\n" for device in FAKE_GPUS))
    (state / "ctld").mkdir()
    (state / "d").mkdir()
    _start_munge(state)
    daemons = [
        subprocess.Popen([name, "-D"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name in ("slurmctld", "slurmd")
    ]
    try:
        deadline = time.monotonic() + 60
        # sinfo can only be asked again and again: SLURM tells nobody when a node becomes idle
        while "idle" not in (shown := subprocess.run(["sinfo", "-h"], text=True, capture_output=True)).stdout:
            assert time.monotonic() < deadline, f"SLURM does not come up: {shown.stdout}{shown.stderr}"
            time.sleep(0.5)
        yield
    finally:
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)
        os.kill(int((state / "munged.pid").read_text()), signal.SIGTERM)
        SLURM_CONF.unlink()
        GRES_CONF.unlink()


def _start_munge(state: Path) -> None:
    state.chmod(0o755)
    key = state / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    Path("/run/munge").mkdir(exist_ok=True)
    options = [f"--{what}-file={state}/munged.{what}" for what in ("pid", "log", "seed")]
    subprocess.run(["munged", f"--key-file={key}", *options, "--force"], check=True)
