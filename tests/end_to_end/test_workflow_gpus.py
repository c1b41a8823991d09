"""GPUs of one machine: how many a job gets, which ones, and a process for each of them. There need not be any GPU."""

import os
import re
import shlex
import signal
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from biomedjourney import devices
from tests.helpers import REPOSITORY, training_jobs
from tests.helpers.workflow_runs import SMOKE, snakemake

pytestmark = pytest.mark.workflow

# Stands where the command `biomedjourney` is looked for: it tells what it was given and writes empty outputs. With
# NEIGHBOURS it first waits until so many run at the same time.
STAND_IN = """#!/usr/bin/env python
import os, pathlib, sys, time
words = dict(zip(sys.argv, sys.argv[1:]))
given = [os.environ.get(name, "-") for name in ("RANK", "WORLD_SIZE", "CUDA_VISIBLE_DEVICES")]
with open("given.txt", "a") as file:
    file.write(" ".join([words["--run"], *given]) + "\\n")
while open("given.txt").read().count("\\n") < int(os.environ.get("NEIGHBOURS", 0)):
    time.sleep(0.1)
pathlib.Path(words["--out"]).mkdir(parents=True, exist_ok=True)
pathlib.Path(words["--training"]).touch()
"""


def commands(folder: Path, overlay: str, *arguments: str) -> dict[str, str]:
    """What each rule runs, by a dry run; of the jobs of one rule any one."""
    path = folder / "over.yaml"
    path.write_text(overlay)
    options = ("--dry-run", "--printshellcmds", "--configfile", str(SMOKE), str(path))
    result = snakemake(folder, *options, *arguments)
    assert result.returncode == 0, result.stdout[-3000:]
    jobs = re.split(r"^(?:local)?rule (\w+):$", result.stdout, flags=re.MULTILINE)[1:]
    found = {}
    for rule, text in zip(jobs[::2], jobs[1::2], strict=True):
        if command := re.search(r"^Shell command: (.*)$", text, re.MULTILINE):
            found[rule] = command[1]
    return found


VERBS = ("pretrain", "encode", "train", "generate", "evaluate")
USE_A_GPU = {
    *("pretrain_text_tower", "pretrain_judges", "encode_images", "encode_priors", "encode_reports"),
    *("encode_descriptions", "train_stage", "generate_sweep", "generate_pictures", "evaluate_guidance"),
    *("generate_samplers", "evaluate_samplers", "evaluate_real", "evaluate_scores"),
    *("generate_soundness", "evaluate_soundness"),
    *("pretrain_second_judges", "evaluate_second_scores"),
}
SECOND_JUDGES = "pretrain: {second_judges: {weights: null}}\n"


def test_each_job_asks_for_the_gpus_of_the_table_and_others_see_none(tmp_path: Path) -> None:
    one_each = SECOND_JUDGES + f"resources: {{{', '.join(f'{verb}: {{gpus: 1}}' for verb in VERBS)}}}"
    with_gpus, without = commands(tmp_path, one_each), commands(tmp_path, SECOND_JUDGES)
    capped = commands(tmp_path, one_each, "--resources", "gpu=0")
    for rule in USE_A_GPU:
        assert "python -P -m biomedjourney.devices 1 biomedjourney --log" in with_gpus[rule], rule
        for command in (without[rule], capped[rule]):
            assert re.match(r"(trap : TERM USR1; )?CUDA_VISIBLE_DEVICES= biomedjourney --log", command), rule
    asking = {rule for rule, command in with_gpus.items() if "biomedjourney.devices" in command}
    assert asking == USE_A_GPU


def test_several_gpus_start_accelerate_and_no_more_than_snakemake_may_use(tmp_path: Path) -> None:
    overlay = "resources: {train: {gpus: 8, signal_seconds: 300}}"
    command = commands(tmp_path, overlay)["train_stage"]
    launch = f"accelerate launch --config_file {REPOSITORY}/workflow/accelerate.yaml --num_processes 8 --no_python"
    assert f"biomedjourney.devices 8 {launch} biomedjourney --log" in command
    assert "PET_SHUTDOWN_TIMEOUT=300" in command
    assert "--num_processes 2 " in commands(tmp_path, overlay, "--resources", "gpu=2")["train_stage"]
    local = ("--profile", str(REPOSITORY / "workflow" / "profiles" / "local"))  # it says gpu=1
    assert "biomedjourney.devices 1 biomedjourney" in commands(tmp_path, overlay, *local)["train_stage"]
    assert "--num_processes 4 " in commands(tmp_path, overlay, *local, "--resources", "gpu=4")["train_stage"]


def test_the_path_of_the_workflow_may_hold_spaces_and_quotes(tmp_path: Path) -> None:
    checkout = tmp_path / 'it\'s a "check out" & $HOME'
    checkout.mkdir()
    for name in ("Snakefile", "config.yaml", "workflow", "envs"):
        (checkout / name).symlink_to(REPOSITORY / name)
    overlay = checkout / "two.yaml"
    overlay.write_text("resources: {train: {gpus: 2}}")
    words = ("--dry-run", "--printshellcmds", "--configfile", str(overlay))
    result = snakemake(tmp_path, *words, snakefile=checkout / "Snakefile")
    assert result.returncode == 0, result.stdout[-3000:]
    [command] = set(re.findall(r"--config_file (.*) --num_processes", result.stdout))
    assert shlex.split(command) == [str(checkout / "workflow" / "accelerate.yaml")]


def run_stand_in(folder: Path, overlay: dict[str, Any], runs: list[str], **variables: str) -> list[list[str]]:
    """What each started command was given: run, rank, number of ranks and GPUs."""
    program = folder / "bin" / "biomedjourney"
    program.parent.mkdir(parents=True)
    program.write_text(STAND_IN)
    program.chmod(0o755)
    file = training_jobs.prepare(folder, overlay)
    environment = {key: value for key, value in os.environ.items() if key != "SLURM_JOB_ID"} | variables
    environment["PATH"] = f"{program.parent}:{environment['PATH']}"
    result = snakemake(folder, "--cores", "4", *training_jobs.words(file, *runs), environment=environment)
    assert result.returncode == 0, result.stdout[-6000:]
    given = [line.split(" ") for line in (folder / "given.txt").read_text().splitlines()]
    for path in devices.FOLDER.glob("biomedjourney-gpu-*"):
        if path.name.endswith(tuple(variables["CUDA_VISIBLE_DEVICES"].split(","))):
            path.unlink()
    return given


def test_two_jobs_on_one_machine_get_different_gpus(tmp_path: Path) -> None:
    runs = {"stage1": {"steps": 6}, "again": training_jobs.tiny.SINGLES}
    overlay = {"train": {"runs": runs}, "resources": {"train": {"threads": 1, "mem_mb": 500, "gpus": 1}}}
    names = [f"GPU-{uuid.uuid4()}" for _ in range(2)]
    # no --resources gpu=2, which a user may forget
    given = run_stand_in(tmp_path, overlay, [*runs], CUDA_VISIBLE_DEVICES=",".join(names), NEIGHBOURS="2")
    assert sorted(run for run, *_ in given) == ["again", "stage1"]
    assert sorted(gpu for *_, gpu in given) == sorted(names)
    assert {(rank, count) for _, rank, count, _ in given} == {("-", "-")}


def test_a_job_on_two_gpus_is_one_process_for_each_whatever_the_user_set_up(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "accelerate").mkdir(parents=True)
    (home / "accelerate" / "default_config.yaml").write_text(
        "{compute_environment: LOCAL_MACHINE, distributed_type: 'NO', num_processes: 5, gpu_ids: '3', use_cpu: true}"
    )
    names = [f"GPU-{uuid.uuid4()}" for _ in range(3)]
    overlay = {"resources": {"train": {"gpus": 2}}}
    variables = {"CUDA_VISIBLE_DEVICES": ",".join(names), "HF_HOME": str(home)}
    given = run_stand_in(tmp_path / "work", overlay, ["stage1"], **variables)
    assert sorted(given) == [["stage1", rank, "2", ",".join(names[:2])] for rank in "01"]


@pytest.fixture
def process(tmp_path: Path) -> Any:
    """Snakemake that trains a run without end, in a process group of its own."""
    overlay = {"train": training_jobs.ENDLESS, "resources": {"train": {"threads": 1}}}
    file = training_jobs.prepare(tmp_path, overlay)
    command = ["snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "1", "--rerun-incomplete"]
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [*command, *training_jobs.words(file, "stage1")],
                cwd=tmp_path,
                start_new_session=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return started[-1]

    yield start
    for job in started:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
        with job:
            pass


@pytest.mark.long
def test_a_signal_to_all_processes_of_the_rule_saves_a_checkpoint(process: Any, tmp_path: Path) -> None:
    """The shell and tee get it too: they wait for the last words. The second run goes on where the first one ended."""
    step = 0
    for number in (signal.SIGUSR1, signal.SIGTERM):
        job = process()
        deadline = time.monotonic() + 300
        while not any(saved_step(path) > step for path in checkpoints(tmp_path)):
            assert job.poll() is None, job.communicate()[0][-6000:]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        os.killpg(job.pid, number)
        output, _ = job.communicate(timeout=120)
        assert job.returncode == 1, output[-6000:]
        log = (tmp_path / "logs" / "train" / "stage1.log").read_text()
        assert f"from step {step}\n" in log or step == 0
        [reached] = re.findall(rf"^stage1: stopped by {number.name} after step (\d+) of ", log, re.MULTILINE)
        assert f"stopped by {number.name} after step {reached}" in output
        assert [saved_step(path) for path in checkpoints(tmp_path)] == [int(reached)]
        assert int(reached) > step
        step = int(reached)


def checkpoints(folder: Path) -> list[Path]:
    return list(folder.glob("results/checkpoints/stage1-*/state-*.pt"))


def saved_step(path: Path) -> int:
    return int(path.stem.removeprefix("state-"))
