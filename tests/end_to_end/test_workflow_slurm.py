import re
import subprocess
from pathlib import Path

import pytest

from biomedjourney import tables
from tests.helpers import REPOSITORY, training_jobs
from tests.helpers.workflow_runs import SMOKE, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.system]

PROFILE = ("--profile", str(REPOSITORY / "workflow" / "profiles" / "slurm"))
QUICK = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10")


def test_first_steps_run_as_jobs_of_a_real_cluster(slurm: None, tmp_path: Path) -> None:
    result = snakemake(tmp_path, *PROFILE, *QUICK, "--configfile", str(SMOKE), "--until", "pair_studies")
    assert result.returncode == 0, result.stdout[-6000:]
    assert "has been submitted with SLURM jobid" in result.stdout
    pairs = tables.read(tmp_path / "results" / "tables" / "pairs.parquet", "pairs")
    assert len(pairs) > 0


def test_training_on_two_gpus_is_launched_once_and_saves_before_its_time_limit(slurm: None, tmp_path: Path) -> None:
    """The signal comes up to a minute before its time, so between 120 and 180 seconds after the job's start.

    A site's profile may ask for one task per job; with GPUs that would be one per GPU, each of which sees its own only.
    """
    job = {"threads": 2, "mem_mb": 3000, "minutes": 5, "gpus": 2, "signal_seconds": 120}
    file = training_jobs.prepare(tmp_path, {"train": training_jobs.ENDLESS, "resources": {"train": job}})
    options = ("--default-resources", "tasks=1", "--retries", "0", "--verbose")
    result = snakemake(tmp_path, *PROFILE, *QUICK, *options, *training_jobs.words(file, "stage1"))
    assert result.returncode != 0
    [submitted] = re.findall(r"^sbatch call: (.*?) --wrap", result.stdout, re.MULTILINE)
    assert "--gpus=2" in submitted
    assert "ntasks-per-gpu" not in submitted
    log = (tmp_path / "logs" / "train" / "stage1.log").read_text()
    assert len(re.findall(r"^stage1: \d+ examples of .* on 2 x cpu", log, re.MULTILINE)) == 1, log[-3000:]
    [step] = re.findall(r"^stage1: stopped by SIGUSR1 after step (\d+) of ", log, re.MULTILINE)
    assert [path.name for path in tmp_path.glob("results/checkpoints/stage1-*/*")] == [f"state-{step}.pt"]
    number = re.search(r"submitted with SLURM jobid (\d+)", result.stdout)
    assert number is not None
    shown = subprocess.run(["scontrol", "show", "job", number[1]], capture_output=True, text=True, check=True).stdout
    assert "JobState=FAILED" in shown, "the job ended by itself, not at its time limit"
