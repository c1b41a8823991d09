"""Why a job failed, and what it gets next: by texts that SLURM wrote, and with jobs of a real Snakemake."""

import re
from pathlib import Path

import pytest

from biomedjourney.errors import MORE_MEMORY
from biomedjourney.failures import Cause, cause_of, grown
from tests.helpers.workflow_runs import snakemake

BY_ITS_ACCOUNTING = """\
srun: Job step aborted: Waiting up to 32 seconds for job step to finish.
slurmstepd-node: error: *** STEP 6.0 ON node CANCELLED AT 2026-11-26T15:34:14 ***
slurmstepd-node: error: StepId=6.0 exceeded memory limit (761843712 > 314572800), being killed
"""
BY_THE_KERNEL = (
    "slurmstepd: error: Detected 1 oom_kill event in StepId=12.0. Some of the step tasks have been OOM Killed."
)
AT_THE_LIMIT = "slurmstepd: error: *** JOB 5 ON node CANCELLED AT 2026-11-26T15:34:14 DUE TO TIME LIMIT ***"
CANCELLED = "slurmstepd: error: *** JOB 5 ON node CANCELLED AT 2026-11-26T15:34:14 ***"
STEP_CANCELLED = "slurmstepd: error: *** STEP 12.0 ON node CANCELLED AT 2026-11-26T15:34:14 DUE TO PREEMPTION ***"
OF_A_TASK = "srun: error: n1: task 0: Out Of Memory"
TAKEN_AWAY = ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "CANCELLED", "DEADLINE")
SAVED = "stage1: stopped by {} after step 20 of 300, saved in results/checkpoints/stage1-1: start the command again"
STATUS = "SLURM-job '6' failed, SLURM status is: '{}'. Detailed failure reason unavailable"
SHELL = "Command 'set -euo pipefail; biomedjourney …' returned non-zero exit status {}."


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (STATUS.format("OUT_OF_MEMORY"), Cause.MEMORY),
        (STATUS.format("FAILED") + "\n" + BY_ITS_ACCOUNTING, Cause.MEMORY),
        (STATUS.format("FAILED") + "\n" + BY_THE_KERNEL, Cause.MEMORY),
        (SHELL.format(137), Cause.MEMORY),
        (f"error: a process of this step ended abruptly: {MORE_MEMORY}", Cause.MEMORY),
        (BY_THE_KERNEL + "\nerror: unexpected OSError", Cause.MEMORY),
        (STATUS.format("TIMEOUT"), Cause.TIME),
        (STATUS.format("FAILED") + "\n" + AT_THE_LIMIT, Cause.TIME),
        (STATUS.format("FAILED") + "\n" + SAVED.format("SIGUSR1"), Cause.TIME),
        (STATUS.format("FAILED") + "\nerror: images.csv, row 3: no number", Cause.FAULT),
        (STATUS.format("FAILED") + "\n" + SAVED.format("SIGTERM"), Cause.OUTSIDE),
        (STATUS.format("CANCELLED") + "\n" + CANCELLED, Cause.OUTSIDE),
        (STATUS.format("NODE_FAIL"), Cause.OUTSIDE),
        *((STATUS.format(status) + "\nerror: a file that only half came", Cause.OUTSIDE) for status in TAKEN_AWAY),
        (STATUS.format("FAILED") + "\n" + STEP_CANCELLED + "\nerror: a file that only half came", Cause.OUTSIDE),
        (STATUS.format("FAILED") + "\n" + STEP_CANCELLED + "\n" + SHELL.format(137), Cause.OUTSIDE),
        (STATUS.format("FAILED") + "\n" + OF_A_TASK, Cause.MEMORY),
        # SLURM kills what does not end in time after its signal
        (STATUS.format("FAILED") + "\n" + AT_THE_LIMIT + "\n" + SHELL.format(137), Cause.TIME),
        (STATUS.format("CANCELLED") + "\n" + CANCELLED + "\n" + SHELL.format(137), Cause.OUTSIDE),
        (STATUS.format("PREEMPTED") + "\n" + CANCELLED + "\nerror: a file that only half came", Cause.OUTSIDE),
        (SHELL.format(137) + "\nerror: another process of the step has ended", Cause.MEMORY),
        (SHELL.format(1), Cause.OUTSIDE),
        ("slurmstepd: error: something else", Cause.OUTSIDE),
        ("", Cause.OUTSIDE),
    ],
)
def test_cause(said: str, cause: Cause) -> None:
    assert cause_of(said) == cause


@pytest.mark.parametrize(
    ("value", "times", "cap", "result"),
    [(2000, 0, 16000, 2000), (2000, 1, 16000, 4000), (2000, 2, 16000, 8000), (6000, 2, 16000, 16000), (64, 3, 16, 64)],
)
def test_growth(value: int, times: int, cap: int, result: int) -> None:
    assert grown(value, times, cap) == result


RULES = """
from snakemake_logger_plugin_biomedjourney import retries

from biomedjourney.failures import Cause, Failures

failures = Failures({"mem_mb": 300, "minutes": 40})
retries.attach(failures)

def fails_until(resource, enough, last_words):
    return (
        "echo {rule} {wildcards} {resources.mem_mb} {resources.runtime} >> attempts.txt; "
        f"[ {{resources.{resource}}} -ge {enough} ] || {{{{ echo '{last_words}' > {{log}}; exit 1; }}}}; "
        "touch {output}"
    )

rule all:
    input: "outside", expand("{name}.{rule}", name=["a", "b"], rule=["memory", "capped", "time", "fault"])
"""
RULE = """
rule {rule}:
    output: "{{name}}.{rule}"
    log: "logs/{{name}}.{rule}.log"
    resources:
        mem_mb=failures.request(Cause.MEMORY, {mem_mb}), runtime=failures.request(Cause.TIME, 10)
    shell: fails_until({resource!r}, {enough}, {last_words!r}) + " # {{wildcards.name}}"
"""
KILLED = """
rule outside:
    output: "outside"
    log: "logs/outside.log"
    shell: "echo {rule} >> attempts.txt; exit 1"

onerror:
    print("\\n".join(["FINAL", *sorted(failures.final.values())]))
"""


@pytest.mark.workflow
def test_jobs_are_sent_again_by_the_cause_of_their_failure(tmp_path: Path) -> None:
    rules = [
        RULE.format(rule="memory", mem_mb=50, resource="mem_mb", enough=200, last_words=f"error: x: {MORE_MEMORY}"),
        RULE.format(rule="capped", mem_mb=200, resource="mem_mb", enough=400, last_words=f"error: x: {MORE_MEMORY}"),
        RULE.format(rule="time", mem_mb=50, resource="runtime", enough=40, last_words=SAVED.format("SIGUSR1")),
        RULE.format(rule="fault", mem_mb=50, resource="mem_mb", enough=200, last_words="error: row 3: no number"),
    ]
    (tmp_path / "Snakefile").write_text("".join([RULES, *rules, KILLED]))
    # what an earlier run said is no reason of this one
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "outside.log").write_text("error: an old one\n")
    options = ("--cores", "1", "--keep-going", "--retries", "2")
    result = snakemake(tmp_path, *options, snakefile=tmp_path / "Snakefile")
    assert result.returncode == 1, result.stdout
    attempts = (tmp_path / "attempts.txt").read_text().splitlines()
    for name in "ab":
        asked = {
            rule: [line.split()[2:] for line in attempts if line.startswith(f"{rule} name={name}")]
            for rule in ("memory", "capped", "time", "fault")
        }
        assert asked == {
            "memory": [["50", "10"], ["100", "10"], ["200", "10"]],
            "capped": [["200", "10"], ["300", "10"]],
            "time": [["50", "10"], ["50", "20"], ["50", "40"]],
            "fault": [["50", "10"]],
        }
        for line in (
            f"logs/{name}.memory.log: ran out of memory (50 MB): sent again with 100 MB",
            f"logs/{name}.capped.log: ran out of memory (200 MB): sent again with 300 MB",
            f"logs/{name}.capped.log: ran out of memory (300 MB): raise resources.VERB.mem_mb, or resources.cap.mem_mb",
            f"logs/{name}.time.log: ran out of time (20 minutes): sent again with 40 minutes",
            f"logs/{name}.fault.log: error: row 3: no number (the job's own fault: not sent again)",
        ):
            assert line in result.stdout
    assert attempts.count("outside") == 3
    assert result.stdout.count("logs/outside.log: was ended from outside, or never started: sent again\n") == 2
    final = result.stdout.split("FINAL\n")[1].splitlines()[:5]
    names = [re.match(r"logs/(\S+)\.log: .*(?<!sent again)$", line)[1] for line in final]
    assert names == ["a.capped", "a.fault", "b.capped", "b.fault", "outside"]
