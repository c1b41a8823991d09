"""Whether Snakemake sends a job that failed again: it does so with every job, whatever the cause, and asks nobody."""

from typing import Any

from snakemake.jobs import Job
from snakemake.logging import logger
from snakemake_interface_executor_plugins.executors.base import AbstractExecutor

from biomedjourney.failures import Failures


def attach(failures: Failures) -> None:
    """Makes Snakemake tell ``failures`` of each job that fails, and send again what it allows.

    What is said of a job is printed, unless it ran here and failed for good: that is for the end of the run.
    """
    report = AbstractExecutor.report_job_error

    def report_job_error(executor: Any, job_info: Any, msg: str | None = None, **others: Any) -> None:
        jobs = job_info.job.jobs if job_info.job.is_group() else [job_info.job]
        cluster_logs = others.get("aux_logs") or []
        lines = [failures.add(job, msg, cluster_logs) for job in jobs]
        report(executor, job_info, msg, **others)
        for job, line in zip(jobs, lines, strict=True):
            if cluster_logs or failures.restart_times(job):  # what a job on this machine said was seen already
                logger.error(line)

    AbstractExecutor.report_job_error = report_job_error
    Job.restart_times = property(failures.restart_times)
