"""Why a job of the workflow failed, whether it is sent again, and what it asks for then.

SLURM's status alone says little, above all without accounting: a job that was killed for want of memory, one that saved
its state before its time limit and one with a wrong input file are all FAILED. The logs tell them apart.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

from biomedjourney.errors import MORE_MEMORY


class Cause(StrEnum):
    """Why a job failed, in words."""

    MEMORY = "ran out of memory"
    TIME = "ran out of time"
    FAULT = "failed by a fault of its own"
    OUTSIDE = "was ended from outside, or never started"


ERROR = r"^error: .*"
# In this order: what SLURM itself says comes first, since a process that it kills may leave an error or a status.
SIGNS = (
    (Cause.MEMORY, rf"'OUT_OF_MEMORY'|oom.?kill|: Out Of Memory$|xceeded .*memory|{re.escape(MORE_MEMORY)}"),
    (Cause.TIME, r"'TIMEOUT'|DUE TO TIME LIMIT|: stopped by SIGUSR1 after step "),
    (Cause.OUTSIDE, r"\*\*\* (JOB|STEP) .* CANCELLED AT |'(NODE_FAIL|BOOT_FAIL|PREEMPTED|CANCELLED|DEADLINE)'"),
    # Snakemake names the exit status of a shell: 137 where a process was killed, as the system does for want of memory
    (Cause.MEMORY, r"exit status 137\b"),
    (Cause.FAULT, ERROR),
)
# What grows after a failure: its name in the configuration, in Snakemake, and its unit.
GROWS = {Cause.MEMORY: ("mem_mb", "mem_mb", "MB"), Cause.TIME: ("minutes", "runtime", "minutes")}


def cause_of(said: str) -> Cause:
    """The cause by all that the cluster and the logs say about a job."""
    return next((cause for cause, sign in SIGNS if re.search(sign, said, re.MULTILINE)), Cause.OUTSIDE)


def grown(value: int, times: int, cap: int) -> int:
    """``value``, doubled ``times`` times, but no more than ``cap``; a value above the cap stays as it is."""
    return max(value, min(value * 2**times, cap))


class Failures:
    """The failures of the jobs of one run of Snakemake. ``cap``: ``resources.cap`` of the configuration."""

    def __init__(self, cap: dict[str, int]) -> None:
        self.cap = cap
        self.start = time.time()
        self.counts: Counter[tuple[Cause, str, str]] = Counter()
        self.final: dict[tuple[str, str], str] = {}

    def request(self, cause: Cause, value: int) -> Callable[..., int]:
        """A function for ``resources`` of a rule: ``value``, and more for a job that has failed by the cause."""

        def ask(wildcards: Any, rulename: str) -> int:
            return grown(value, self.counts[cause, rulename, _text(wildcards)], self.cap[GROWS[cause][0]])

        return ask

    def add(self, job: Any, message: str | None, cluster_logs: Iterable[str]) -> str:
        """Notes a job's failure, and returns a line for the user: the cause, and what happens next.

        ``message``: what Snakemake's executor says of it.
        """
        own_logs = [path for path in map(Path, job.log) if path.is_file() and path.stat().st_mtime >= self.start]
        logs = [*map(Path, cluster_logs), *own_logs]
        said = "\n".join([message or "", *(log.read_text(errors="replace") for log in logs if log.is_file())])
        cause = cause_of(said)
        line = f"{', '.join(job.log) or job.rule.name}: "
        is_sent_again = job.rule.restart_times > job.attempt - 1
        if cause in GROWS:
            key, resource, unit = GROWS[cause]
            had = job.resources.get(resource)
            self.counts[cause, *_names(job)] += 1
            gets = job.rule.expand_resources(job.wildcards_dict, job.input, job.attempt).get(resource)
            is_sent_again = is_sent_again and (gets != had or cause == Cause.TIME)
            remedy = f"raise resources.VERB.{key}, or resources.cap.{key}"
            line += f"{cause} ({had} {unit}): " + (f"sent again with {gets} {unit}" if is_sent_again else remedy)
        elif cause == Cause.FAULT:
            line += re.findall(ERROR, said, re.MULTILINE)[-1]
            line += " (the job's own fault: not sent again)" * is_sent_again
            is_sent_again = False
        else:
            line += cause + ": sent again" * is_sent_again
        if not is_sent_again:
            self.final[_names(job)] = line
        return line

    def restart_times(self, job: Any) -> int:
        """How often a job may be sent again: never where it would fail in the same way."""
        return 0 if _names(job) in self.final else job.rule.restart_times


def _names(job: Any) -> tuple[str, str]:
    return job.rule.name, _text(job.wildcards)


def _text(wildcards: Any) -> str:
    return str(dict(wildcards.items()))
