"""Starts a SLURM cluster of one node on this machine, to try a profile out, and stops it at Ctrl-C.

sudo python tools/slurm_node.py [GPUS]    # with so many GPUs that SLURM counts but nobody has; 2 if left out

On Debian: apt-get install munge slurmctld slurmd slurm-client. Memory limits are watched (a job that takes more is
ended) and there is no accounting. A machine that has a slurm.conf of its own is refused.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIGURATION = Path("/etc/slurm")  # a job's step drops the variable SLURM_CONF, so the files lie where SLURM looks
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
MARK = "# written by tools/slurm_node.py of biomedjourney"
PATIENCE = 60  # seconds to wait for the node
GPU_FILES = [path for path in ("/dev/null", "/dev/zero", "/dev/full", "/dev/random") if os.path.exists(path)]


def obstacle() -> str | None:
    """What keeps this machine from running such a cluster, and the remedy; None where nothing does."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            return f"{program} is not installed: apt-get install munge slurmctld slurmd slurm-client"
    if os.geteuid() != 0:
        return "SLURM's programs are started as root only: use sudo"
    file = CONFIGURATION / "slurm.conf"
    if file.exists() and not file.read_text().startswith(MARK):
        return f"{file}: this machine has a SLURM cluster already: use that one"
    return None


@contextmanager
def cluster(state: Path, gpus: int) -> Iterator[None]:
    """A cluster of one node, this machine, that keeps its files in the folder ``state``; it ends with the block.

    SLURM counts device files as GPUs and never opens them, so any will do.
    """
    state.chmod(0o755)
    (state / "ctld").mkdir()
    (state / "d").mkdir()
    CONFIGURATION.mkdir(parents=True, exist_ok=True)
    written = {"slurm.conf": settings(state, gpus), "gres.conf": [f"Name=gpu File={file}" for file in GPU_FILES[:gpus]]}
    for name, lines in written.items():
        (CONFIGURATION / name).write_text("\n".join([MARK, *lines]) + "\n")
    munge = start_munge(state)
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    daemons = [subprocess.Popen([name, "-D"], **silent) for name in ("slurmctld", "slurmd")]
    try:
        wait_for_node()
        yield
    finally:
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(PATIENCE)
        os.kill(munge, signal.SIGTERM)
        for name in written:
            (CONFIGURATION / name).unlink()


def settings(state: Path, gpus: int) -> list[str]:
    """The lines of slurm.conf."""
    host = socket.gethostname().split(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    node = f"NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory={memory} State=UNKNOWN"
    return [
        *("ClusterName=one", f"SlurmctldHost={host}(127.0.0.1)", "SlurmUser=root", "AuthType=auth/munge"),
        *(f"StateSaveLocation={state}/ctld", f"SlurmdSpoolDir={state}/d"),
        *(f"SlurmctldPidFile={state}/slurmctld.pid", f"SlurmdPidFile={state}/slurmd.pid"),
        *(f"SlurmctldLogFile={state}/slurmctld.log", f"SlurmdLogFile={state}/slurmd.log"),
        *("ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none"),
        *("SelectType=select/cons_tres", "SelectTypeParameters=CR_Core_Memory"),
        # there are no cgroups: SLURM itself adds up the memory of a job's processes, and ends a job that has too much
        *("JobAcctGatherType=jobacct_gather/linux", "JobAcctGatherFrequency=2", "JobAcctGatherParams=OverMemoryKill"),
        *("ReturnToService=2", "GresTypes=gpu", f"{node} Gres=gpu:{gpus}"),
        f"PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP",
    ]


def start_munge(state: Path) -> int:
    """Starts the service by which SLURM's programs know each other, with a key of its own; returns its process id."""
    key = state / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    Path("/run/munge").mkdir(exist_ok=True)
    options = [f"--{what}-file={state}/munged.{what}" for what in ("pid", "log", "seed")]
    subprocess.run(["munged", f"--key-file={key}", *options, "--force"], check=True)
    return int((state / "munged.pid").read_text())


def wait_for_node() -> None:
    """Waits until the node takes jobs. It can only be asked again and again: SLURM tells nobody."""
    deadline = time.monotonic() + PATIENCE
    while "idle" not in (shown := subprocess.run(["sinfo", "-h"], text=True, capture_output=True)).stdout:
        if time.monotonic() > deadline:
            raise TimeoutError(f"SLURM does not come up: {shown.stdout}{shown.stderr}")
        time.sleep(0.5)


if __name__ == "__main__":
    if reason := obstacle():
        sys.exit(f"error: {reason}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, cluster(Path(folder), int((sys.argv[1:] or [2])[0])):
        print("the cluster runs: `sinfo` shows it, Ctrl-C stops it", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopped", flush=True)
