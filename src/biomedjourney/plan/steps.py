"""The plan of a configuration: its jobs by step, what each step takes, and what of it is done in this folder."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from biomedjourney.plan.costs import Cost, Costs
from biomedjourney.plan.counts import Counts
from biomedjourney.plan.jobs import Job, Jobs
from biomedjourney.report import timing
from biomedjourney.rewrite.model_writer import Requests

BENCHMARKS = Path("benchmarks")
NAMED = {"rewrite_reports": "writer", "train_stage": "run"}  # rules whose steps are told apart, and by what


@dataclass(frozen=True)
class Planned:
    """A job, what it takes by the rates, whether its files are there, and what it took here, where that is known."""

    job: Job
    cost: Cost
    is_done: bool
    took: "Took | None" = None


@dataclass(frozen=True)
class Took:
    """What a job took in this folder, by its benchmark: ``seconds`` by the clock, of the processor, GiB of memory."""

    seconds: float
    core_seconds: float
    gib: float


@dataclass(frozen=True)
class Step:
    """The jobs of one rule, for one writer or run where there are several. Hours are of all jobs, or of those left."""

    rule: str
    name: str
    jobs: tuple[Planned, ...]

    @property
    def verb(self) -> str:
        return self.jobs[0].job.verb

    @property
    def done(self) -> int:
        return sum(planned.is_done for planned in self.jobs)

    @property
    def pace(self) -> float | None:
        """How many times as long as by the rates the jobs took that are done here; None where no benchmark tells."""
        timed = [(planned.took.seconds, planned.cost.seconds) for planned in self.jobs if planned.took is not None]
        return _ratio(timed) if timed else None

    @property
    def core_pace(self) -> float:
        """The same, by the processor's time: 1 where no benchmark tells."""
        timed = [(each.took.core_seconds, each.cost.core_seconds) for each in self.jobs if each.took is not None]
        return _ratio(timed) if timed else 1.0

    def core_hours(self, *, left: bool = False) -> float:
        """Hours of the processor."""
        return self.core_pace * sum(planned.cost.core_seconds for planned in self._jobs(left)) / 3600

    def gpu_hours(self, *, left: bool = False) -> float:
        """Hours of GPUs: those of a job by the clock, times its GPUs."""
        return (self.pace or 1) * sum(planned.cost.seconds * planned.job.gpus for planned in self._jobs(left)) / 3600

    @property
    def minutes(self) -> float:
        """Of the longest job, by the clock."""
        return (self.pace or 1) * max(planned.cost.seconds for planned in self.jobs) / 60

    @property
    def gib(self) -> float:
        """Memory of the largest job."""
        measured = [planned.took.gib for planned in self.jobs if planned.took is not None]
        return max(measured or [planned.cost.gib for planned in self.jobs])

    def disk(self, *, left: bool = False) -> float:
        """GB that stay."""
        return sum(planned.cost.disk for planned in self._jobs(left))

    @property
    def pairs(self) -> int:
        return round(sum(planned.cost.pairs for planned in self.jobs))

    @property
    def images(self) -> int:
        return round(sum(planned.cost.images for planned in self.jobs))

    @property
    def requests(self) -> list[Requests]:
        """To a language model, of the jobs that are left."""
        return [planned.cost.requests for planned in self._jobs(True) if planned.cost.requests is not None]

    @property
    def rates(self) -> set[str]:
        return set().union(*(planned.cost.rates for planned in self.jobs))

    def _jobs(self, left: bool) -> Iterable[Planned]:
        return (planned for planned in self.jobs if not (left and planned.is_done))


def steps(settings: dict[str, Any], counts: Counts, requests: dict[str, Requests]) -> list[Step]:
    """The plan, in the order of the workflow. ``requests``: to the language model, by direction.

    A step of which jobs are done here, and have left a benchmark, is planned by what those took.
    """
    costs, found = Costs(settings, counts, requests), timing.jobs(BENCHMARKS).set_index("name")
    grouped: dict[tuple[str, str], list[Planned]] = {}
    for job in Jobs(settings):
        name = job.of.get(NAMED.get(job.rule, ""), "")
        grouped.setdefault((job.rule, name), []).append(_planned(job, costs.of(job), found))
    return [Step(rule, name, tuple(planned)) for (rule, name), planned in grouped.items()]


def _planned(job: Job, cost: Cost, benchmarks: pd.DataFrame) -> Planned:
    is_done = all(Path(path).exists() for path in job.outputs)
    if not is_done or job.benchmark not in benchmarks.index:
        return Planned(job, cost, is_done)
    row = benchmarks.loc[[job.benchmark], ["s", "cpu_time", "max_rss"]].iloc[-1]  # the last of a repeated one
    if row.isna().any():
        return Planned(job, cost, is_done)
    return Planned(job, cost, is_done, Took(float(row["s"]), float(row["cpu_time"]), float(row["max_rss"]) / 1024))


def _ratio(timed: list[tuple[float, float]]) -> float:
    return sum(took for took, _ in timed) / sum(by_rates for _, by_rates in timed)
