import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from biomedjourney import tables
from tests.helpers import REPOSITORY, training_jobs
from tests.helpers.workflow_runs import SMOKE, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.system, pytest.mark.long]

PROFILE = ("--profile", str(REPOSITORY / "workflow" / "profiles" / "slurm"))
QUICK = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10")


def test_first_steps_run_as_jobs_of_a_real_cluster(slurm: None, tmp_path: Path) -> None:
    result = snakemake(tmp_path, *PROFILE, *QUICK, "--configfile", str(SMOKE), "--until", "pair_studies")
    assert result.returncode == 0, result.stdout[-6000:]
    assert "has been submitted with SLURM jobid" in result.stdout
    pairs = tables.read(tmp_path / "results" / "tables" / "pairs.parquet", "pairs")
    assert len(pairs) > 0


def test_training_on_two_gpus_is_launched_once_and_saves_before_its_time_limit(slurm: None, tmp_path: Path) -> None:
    """A site's profile may ask for one task per job: with GPUs that would be one per GPU, each of which sees its own.

    The limit is drawn near when training is under way, however long that takes on a busy machine.
    """
    job = {"threads": 2, "mem_mb": 3000, "minutes": 60, "gpus": 2, "signal_seconds": 150}
    file = training_jobs.prepare(tmp_path, {"train": training_jobs.ENDLESS, "resources": {"train": job}})
    options = ("--default-resources", "tasks=1", "--retries", "0", "--verbose")
    command = [*PROFILE, *QUICK, *options, *training_jobs.words(file, "stage1")]
    with ThreadPoolExecutor() as background:
        running = background.submit(snakemake, tmp_path, *command)
        while not list(tmp_path.glob("results/checkpoints/stage1-*/state-*.pt")):
            assert not running.done(), running.result().stdout[-6000:]
            time.sleep(1)
        [number, elapsed] = query("squeue", "--noheader", "--format=%A %M").split()
        minutes = int(elapsed.split(":")[-2]) + 4
        query("scontrol", "update", f"JobId={number}", f"TimeLimit={minutes}")
        result = running.result()
    assert result.returncode != 0
    [submitted] = re.findall(r"^sbatch call: (.*?) --wrap", result.stdout, re.MULTILINE)
    assert "--gpus=2" in submitted
    assert "ntasks-per-gpu" not in submitted
    log = (tmp_path / "logs" / "train" / "stage1.log").read_text()
    assert len(re.findall(r"^stage1: \d+ examples of .* on 2 x cpu", log, re.MULTILINE)) == 1, log[-3000:]
    [step] = re.findall(r"^stage1: stopped by SIGUSR1 after step (\d+) of ", log, re.MULTILINE)
    assert [path.name for path in tmp_path.glob("results/checkpoints/stage1-*/state-*")] == [f"state-{step}.pt"]
    shown = query("scontrol", "show", "job", number)
    assert "JobState=FAILED" in shown, f"the job is to end by itself, before its time limit: {shown}"


def query(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
