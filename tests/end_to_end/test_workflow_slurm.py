"""The workflow through a real SLURM: the whole chain, jobs that run short of memory or time, and jobs taken away."""

import hashlib
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from biomedjourney import config, tables
from biomedjourney.preprocess import rows
from tests.helpers import REPOSITORY, training_jobs
from tests.helpers.workflow_runs import SINGLE_FILES, SMOKE, TIME_COLUMNS, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.system]

PROFILE = ("--profile", "workflow/profiles/slurm")
QUICK = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10")
# Statistics of pictures that a network drew.
STATISTICS = {"guidance", "samplers", "systems", "ablations", "beyond", "soundness", "findings", "subgroups"}
GPUS = "resources: {train: {gpus: 2, mem_mb: 6000}, encode: {gpus: 1}, generate: {gpus: 1}, evaluate: {gpus: 1}}"


@pytest.mark.cluster
def test_single_steps_of_the_manual_are_jobs_and_together_the_whole_chain(
    slurm: None, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The page's commands one after the other, with the configuration of the miniature."""
    block = re.search(r"```console\n(snakemake \$SLURM .*?)```", (REPOSITORY / "docs" / "cluster.md").read_text(), re.S)
    assert block is not None
    steps = [shlex.split(line, comments=True)[2:] for line in block[1].splitlines()]
    assert len(steps) == 5
    (tmp_path / "workflow").symlink_to(REPOSITORY / "workflow")
    (tmp_path / "gpus.yaml").write_text(GPUS)
    options = [*PROFILE, *QUICK, "--verbose", "--configfile", str(SMOKE), "gpus.yaml"]
    options += ["--default-resources", "tasks=1", "--"]  # as a site's profile may have it
    at_once, said = 0, ""
    with ThreadPoolExecutor() as background:
        for step in steps:
            running = background.submit(snakemake, tmp_path, *options, *step)
            while not running.done():
                at_once = max(at_once, len(query("squeue", "--noheader", "--states=RUNNING").splitlines()))
                time.sleep(1)
            assert running.result().returncode == 0, running.result().stdout[-6000:]
            said += running.result().stdout
    assert at_once >= 2, "jobs that need not wait for each other ran one by one"
    submitted = re.findall(r"^sbatch call: (.*?) --wrap", said, re.MULTILINE)
    rules = [re.search(r"--comment rule_(\w+?)(?:_wildcards.*)? ", call)[1] for call in submitted]
    assert {"draw_phantom", "check_images", "register_priors", "train_stage", "evaluate_systems", "write_report"} <= {
        *rules
    }
    assert rules.count("register_priors") == 4, "two shards in each direction"
    assert not [call for call in submitted if "ntasks-per-gpu" in call], "each task would see GPUs of its own"
    for rule, call in zip(rules, submitted, strict=True):
        asked = re.search(r"--gpus=(\d)", call)
        assert (asked and asked[1]) == {"train_stage": "2", "encode_images": "1"}.get(rule, asked and asked[1])
    log = (tmp_path / "logs" / "train" / "stage1.log").read_text()
    assert "on 2 x cpu" in log
    assert (tmp_path / "results" / "report" / "index.html").is_file()
    nothing = snakemake(tmp_path, "--cores", "2", "--configfile", str(SMOKE), "gpus.yaml")
    assert "Nothing to be done" in nothing.stdout
    alone = request.getfixturevalue("smoke")  # not before: other tests make it while SLURM's jobs wait
    assert_same_tables(alone, tmp_path)


def assert_same_tables(alone: Path, through_slurm: Path) -> None:
    """All that no network was trained for is equal; the rest is close, since two processes round otherwise than one.

    Of statistics only what is counted is compared: in a subgroup of few pairs a last digit of two scores changes an AUC
    by as much as one rank.
    """
    for name in sorted(SINGLE_FILES):
        first, second = (
            tables.read(folder / "results" / "tables" / f"{name}.parquet", name).drop(
                columns=TIME_COLUMNS.get(name, [])
            )
            for folder in (alone, through_slurm)
        )
        if name == "scores":
            untrained = ~first["system"].isin(["biomedjourney", "text-only"])
            assert untrained.any()
            pd.testing.assert_frame_equal(first[untrained], second[untrained], check_exact=True, obj=name)
        if name in STATISTICS:
            pd.testing.assert_frame_equal(first.isna(), second.isna(), obj=name)
            first, second = (table.select_dtypes(exclude="floating") for table in (first, second))
        is_close = name in ("training", "scores")
        pd.testing.assert_frame_equal(first, second, check_exact=not is_close, atol=0.02 if is_close else 0, obj=name)


@pytest.mark.long
def test_a_job_short_of_memory_gets_more_and_a_faulty_shard_is_left_out(slurm: None, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(
        "resources: {phantom: {mem_mb: 300}, cap: {mem_mb: 2000}}\npreprocess: {shards: 3}"
    )
    words = [*PROFILE, *QUICK, "--verbose", "--configfile", str(SMOKE), "small.yaml", "--"]
    (tmp_path / "workflow").symlink_to(REPOSITORY / "workflow")
    names = {name: f"results/tables/{name}.parquet" for name in ("pairs", "singles", "images")}
    drawn = snakemake(tmp_path, *words, *names.values())
    assert drawn.returncode == 0, drawn.stdout[-6000:]
    asked = re.findall(r"^sbatch call: .*--comment rule_draw_phantom .*--mem (\d+) ", drawn.stdout, re.MULTILINE)
    assert asked[:2] == ["300", "600"]
    assert len(asked) <= 3
    assert "\nlogs/phantom.log: ran out of memory (300 MB): sent again with 600 MB\n" in drawn.stdout

    settings = config.merge(config.read(REPOSITORY / "config.yaml"), config.read(SMOKE))
    jobs = rows.jobs(
        **{name: tmp_path / path for name, path in names.items()},
        root=tmp_path / settings["data"]["images"],
        size=settings["preprocess"]["size"],
    )
    for job in rows.part_of(jobs, 1, 3):
        assert job.path is not None
        job.path.write_bytes(job.path.read_bytes()[:200])
    result = snakemake(tmp_path, *words, *(f"results/pixels/{shard}.parquet" for shard in range(3)))
    assert result.returncode == 1
    shards = re.findall(r"^sbatch call: .*rule_preprocess_images_wildcards_(\d) ", result.stdout, re.MULTILINE)
    assert sorted(shards) == ["0", "1", "2"], "each is sent once"
    assert sorted(path.name for path in (tmp_path / "results" / "pixels").iterdir()) == ["0.parquet", "2.parquet"]
    reason = r"^logs/preprocess/1\.log: error: .*films.* \(the job's own fault: not sent again\)$"
    assert len(re.findall(reason, result.stdout, re.MULTILINE)) == 2, "when it fails, and at the end"


# Stands where the command `biomedjourney` is looked for. It saves a state every five steps, and rests after each until
# the file `hurry` is there: time enough to be interrupted.
UNHURRIED = """#!/usr/bin/env python
import pathlib, time
from biomedjourney.cli import main
from biomedjourney.train import checkpoint

save = checkpoint.save

def save_and_wait(folder, state):
    save(folder, state)
    if not pathlib.Path("hurry").exists():
        time.sleep(6)

checkpoint.save = save_and_wait
main()
"""
STEPS = 300


@pytest.mark.long
def test_training_that_is_taken_away_three_times_ends_with_the_same_weights(slurm: None, tmp_path: Path) -> None:
    """SIGTERM with time to save, SLURM's own requeue, and a time limit; beside it a run that nothing disturbs.

    A site's profile may ask for one task per job: with GPUs that would be one per GPU.
    """
    training = training_jobs.ENDLESS | {"runs": {"stage1": {"steps": STEPS}}}
    job = {"threads": 1, "mem_mb": 3000, "minutes": 60, "gpus": 1, "signal_seconds": 150}
    for name in ("quiet", "disturbed"):
        training_jobs.prepare(tmp_path / name, {"train": training, "resources": {"train": job}})
    quiet, folder = tmp_path / "quiet", tmp_path / "disturbed"
    words = training_jobs.words(Path("training.yaml"), "stage1")
    assert snakemake(quiet, "--cores", "1", *words).returncode == 0

    (folder / "workflow").symlink_to(REPOSITORY / "workflow")
    program = folder / "bin" / "biomedjourney"
    program.parent.mkdir()
    program.write_text(UNHURRIED)
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    options = [*PROFILE, *QUICK, "--verbose", "--default-resources", "tasks=1"]
    with ThreadPoolExecutor() as background:
        running = background.submit(snakemake, folder, *options, *words, environment=environment)
        try:
            wait_until(running, lambda: bool(saved_step(folder)))
            number = the_job()
            query("scancel", "--signal=TERM", number)
            wait_until(running, lambda: the_job() not in ("", number))
            [said_there] = folder.glob(f".snakemake/slurm_logs/rule_train_stage/*/{number}.log")
            [last] = re.findall(
                r"^stage1: stopped by SIGTERM after step (\d+) of ", said_there.read_text(), re.MULTILINE
            )
            wait_until(running, lambda: saved_step(folder) > int(last))
            assert f", from step {last}\n" in (folder / "logs" / "train" / "stage1.log").read_text()

            query("scontrol", "requeue", the_job())
            # SLURM lets a job that was sent back wait for two minutes
            wait_until(running, lambda: "JobState=PENDING" in query("scontrol", "show", "job", the_job()))
            query("scontrol", "update", f"JobId={the_job()}", "StartTime=now")
            before = saved_step(folder)
            wait_until(running, lambda: saved_step(folder) > before)

            number, elapsed = query("squeue", "--noheader", "--format=%A %M").split()
            query("scontrol", "update", f"JobId={number}", f"TimeLimit={int(elapsed.split(':')[-2]) + 3}")
            wait_until(running, lambda: the_job() not in ("", number))
        finally:
            (folder / "hurry").touch()
        result = running.result()
    assert result.returncode == 0, result.stdout[-6000:]
    submitted = re.findall(r"^sbatch call: (.*?) --wrap", result.stdout, re.MULTILINE)
    assert len(submitted) == 3
    assert all("--gpus=1" in call and "ntasks-per-gpu" not in call for call in submitted)
    said = re.findall(r"^logs/train/stage1\.log: (.*)$", result.stdout, re.MULTILINE)
    assert said == [
        "was ended from outside, or never started: sent again",
        "ran out of time (60 minutes): sent again with 120 minutes",
    ]
    assert weights(folder) == weights(quiet)


def wait_until(running: Future[Any], is_so: Callable[[], bool]) -> None:
    """Waits while the workflow runs: a file or a job of SLURM can only be looked at again and again."""
    deadline = time.monotonic() + 300
    while not is_so():
        assert not running.done(), running.result().stdout[-6000:]
        assert time.monotonic() < deadline
        time.sleep(0.3)


def saved_step(folder: Path) -> int:
    """The step of the last state that is saved; 0 where there is none."""
    paths = folder.glob("results/checkpoints/stage1-*/state-*.pt")
    return max((int(path.stem.removeprefix("state-")) for path in paths), default=0)


def the_job() -> str:
    """The number of the one job that waits or runs; empty while there is none."""
    return query("squeue", "--noheader", "--format=%A").strip()


def weights(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of the trained network."""
    files = sorted((folder / "results" / "models" / "stage1").rglob("*.safetensors"))
    assert files
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def query(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
