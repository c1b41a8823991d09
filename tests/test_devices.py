import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from biomedjourney import devices
from biomedjourney.errors import UserError

# Says which GPUs it was given, and runs until its standard input is closed.
JOB = [sys.executable, "-c", "import os, sys; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); sys.stdin.read()"]


@pytest.fixture
def names() -> Iterator[list[str]]:
    """Three GPUs that no other test knows."""
    names = [f"GPU-{uuid.uuid4()}" for _ in range(3)]
    yield names
    for path in devices.FOLDER.glob("biomedjourney-gpu-*"):
        if path.name.endswith(tuple(names)):
            path.unlink()


class Jobs:
    """Jobs that run at the same time on one machine; all are killed at the end."""

    def __init__(self, names: list[str]) -> None:
        self.environment = {key: value for key, value in os.environ.items() if key != "SLURM_JOB_ID"}
        self.environment["CUDA_VISIBLE_DEVICES"] = ",".join(names)
        self.started: list[subprocess.Popen[str]] = []

    def start(self, count: int, command: list[str] = JOB, **variables: str) -> subprocess.Popen[str]:
        job = subprocess.Popen(
            [sys.executable, "-P", "-m", "biomedjourney.devices", str(count), *command],
            env=self.environment | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(job)
        return job


@pytest.fixture
def jobs(names: list[str]) -> Iterator[Jobs]:
    jobs = Jobs(names)
    yield jobs
    for job in jobs.started:
        job.kill()
        with job:
            pass  # closes its pipes and waits for it


def given(job: subprocess.Popen[str]) -> list[str]:
    """The GPUs of a job; waits until it has some."""
    assert job.stdout is not None
    return job.stdout.readline().strip().split(",")


def said(job: subprocess.Popen[str]) -> str:
    assert job.stderr is not None
    return job.stderr.readline()


def test_jobs_at_the_same_time_get_different_gpus_and_one_too_many_waits(jobs: Jobs, names: list[str]) -> None:
    running = [jobs.start(1) for _ in range(3)]
    assert sorted(given(job)[0] for job in running) == sorted(names)
    fourth = jobs.start(1)
    assert said(fourth) == f"waiting for 1 of the GPUs {', '.join(names)}: other jobs use them\n"
    running[1].communicate()  # closes its standard input, so that it ends
    assert given(fourth)[0] in names
    assert fourth.poll() is None


def test_a_killed_job_frees_its_gpus(jobs: Jobs, names: list[str]) -> None:
    first = jobs.start(3)
    assert given(first) == names
    waiting = jobs.start(2)
    assert said(waiting).startswith("waiting for 2 of the GPUs")
    first.send_signal(signal.SIGKILL)
    assert set(given(waiting)) < set(names)


def test_two_jobs_that_want_the_same_two_gpus_run_one_after_the_other(jobs: Jobs, names: list[str]) -> None:
    """Each finds the GPUs in another order, so that each could hold what the other one waits for."""
    command = [sys.executable, "-c", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"]
    pairs = [[names[0], names[1]], [names[1], names[0]]]
    for _ in range(3):
        together = [jobs.start(2, command, CUDA_VISIBLE_DEVICES=",".join(pair)) for pair in pairs]
        for job, pair in zip(together, pairs, strict=True):
            assert job.communicate(timeout=60)[0].strip().split(",") == pair
            assert job.returncode == 0


def test_a_job_that_waits_for_two_holds_none(jobs: Jobs, names: list[str]) -> None:
    jobs.environment["CUDA_VISIBLE_DEVICES"] = ",".join(names[:2])
    assert given(jobs.start(1)) == names[:1]
    assert "waiting for 2" in said(jobs.start(2))
    assert given(jobs.start(1)) == names[1:2]


def test_a_process_that_the_job_left_behind_keeps_its_gpu(jobs: Jobs, names: list[str]) -> None:
    """A worker process that reads batches may outlive its killed parent, and its GPU with it."""
    leaves_a_child = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n    os.close(1); os.close(2); sys.stdin.read(); os._exit(0)\n"
        "print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); os._exit(0)"
    )
    first = jobs.start(3, [sys.executable, "-c", leaves_a_child])
    assert given(first) == names
    first.wait()
    second = jobs.start(1)
    assert "waiting for 1" in said(second)
    assert first.stdin is not None
    first.stdin.close()  # ends the child
    assert given(second) == names[:1]


def test_jobs_of_slurm_may_call_different_gpus_by_one_name(jobs: Jobs, names: list[str]) -> None:
    jobs.environment["CUDA_VISIBLE_DEVICES"] = names[0]
    assert given(jobs.start(1, SLURM_JOB_ID="1")) == names[:1]
    assert given(jobs.start(1, SLURM_JOB_ID="2")) == names[:1]
    assert "waiting for 1" in said(jobs.start(1, SLURM_JOB_ID="1"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0,1", ["0", "1"]),
        (" 3 , 1", ["3", "1"]),
        ("1,1,0", ["1", "0"]),
        ("GPU-3f,MIG-GPU-3f/1/0", ["GPU-3f", "MIG-GPU-3f/1/0"]),
        ("2,-1,3", ["2"]),
        ("-1", []),
        ("NoDevFiles", []),
        ("", []),
    ],
)
def test_the_variable_is_read_as_cuda_reads_it(
    value: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert devices.visible() == expected


def test_without_the_variable_the_gpus_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert devices.visible() == ["0", "1", "2"]


def test_more_gpus_than_there_are_is_one_line(jobs: Jobs, names: list[str]) -> None:
    job = jobs.start(4)
    output, errors = job.communicate()
    assert job.returncode == 1
    assert output == ""
    assert re.fullmatch(r"error: the job asks for 4 GPUs, but there are 3 .*--resources gpu=3\n", errors)
    with pytest.raises(UserError, match="asks for 2 GPUs, but there are 1"):
        devices.take(2, names[:1])


def test_without_a_gpu_the_job_runs_and_says_so(jobs: Jobs) -> None:
    job = jobs.start(2, CUDA_VISIBLE_DEVICES="")
    output, errors = job.communicate()
    assert (job.returncode, output, errors) == (0, "\n", "no GPU is visible on this machine: the job runs on the CPU\n")


def test_the_command_keeps_its_words_and_its_status(jobs: Jobs, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print(sys.argv[1:]); sys.exit(7)", "--help", "a b", "--", "-1"]
    job = jobs.start(1, command)
    output, _ = job.communicate()
    assert (job.returncode, output) == (7, "['--help', 'a b', '--', '-1']\n")
    missing = jobs.start(1, [str(tmp_path / "nothing")])
    assert missing.communicate()[1] == f"error: {tmp_path}/nothing: No such file or directory\n"
    assert missing.returncode == 1


def test_a_signal_reaches_the_command_itself(jobs: Jobs) -> None:
    command = [sys.executable, "-c", "import signal; print('ready', flush=True); signal.sigwait([signal.SIGUSR1])"]
    job = jobs.start(1, command)
    assert given(job) == ["ready"]
    job.send_signal(signal.SIGUSR1)
    assert job.wait(10) in (0, -signal.SIGUSR1)


def test_everyone_may_lock_a_gpu_and_no_cleaner_deletes_it(jobs: Jobs, names: list[str]) -> None:
    given(jobs.start(1))
    path = devices.FOLDER / f"biomedjourney-gpu-{names[0]}"
    assert oct(path.stat().st_mode & 0o7777) == oct(0o1444)
