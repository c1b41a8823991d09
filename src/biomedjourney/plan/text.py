"""The plan as text."""

import os
from typing import Any

from biomedjourney.inspect.describe import aligned
from biomedjourney.plan import asking, counts
from biomedjourney.plan.jobs import Jobs
from biomedjourney.plan.rates import RATES
from biomedjourney.plan.steps import BENCHMARKS, Step, steps
from biomedjourney.rewrite import endpoint
from biomedjourney.rewrite.model_writer import Requests

TITLES = ("step", "jobs", "done", "pairs", "images", "CPU h", "GPU h", "longest", "GiB a job", "disk GB", "planned by")
STARTS = {"start", "import", "published start"}  # rates of every job
NOTES = (
    "CPU h, GPU h: hours of all jobs; on a GPU a job keeps one core busy. longest: of the jobs, by the clock. images:",
    "training counts one each time that it is seen. GiB a job: memory of the largest job. done: the files of a job are",
    "there; `snakemake --dry-run` says which jobs run again because the configuration or the code has changed since.",
)


def describe(settings: dict[str, Any]) -> str:
    """The plan of a whole configuration in this folder: a table, requests and money, and what the figures stand on."""
    counted = counts.count(settings)
    requests, sources = {}, {}
    if "openai" in settings["rewrite"]["writers"]:
        for direction in Jobs(settings).directions_of("openai"):
            requests[direction], sources[direction] = asking.requests_of(settings, counted, direction)
    plan = steps(settings, counted, requests)
    lines = [*_table(plan), "", *NOTES]
    hours, cores = sum(step.core_hours(left=True) for step in plan), len(os.sched_getaffinity(0))
    if hours and not any(step.gpu_hours() for step in plan):
        lines.append(
            f"On the {cores} cores of this machine what is left takes at least {_short_span(60 * hours / cores)}."
        )
    asked = [each for step in plan for each in step.requests]
    if asked:
        lines += [
            "",
            *_money(asked, settings["rewrite"]["openai"]),
            f"  counted from: {'; '.join(dict.fromkeys(sources.values()))}",
        ]
    lines += ["", "Counts", *(f"  {line}" for line in counted.lines), "", "Rates", *_rates(plan)]
    return "\n".join(lines)


def _table(plan: list[Step]) -> list[str]:
    rows = [list(TITLES), *(_row(step) for step in plan)]
    for title, left in (("all", False), ("left to do", True)):
        jobs = sum(len(step.jobs) - (step.done if left else 0) for step in plan)
        cores, gpus = sum(step.core_hours(left=left) for step in plan), sum(step.gpu_hours(left=left) for step in plan)
        disk = sum(step.disk(left=left) for step in plan)
        rows.append([title, f"{jobs:,}", "", "", "", _number(cores), _number(gpus), "", "", _number(disk), ""])
    columns = [[row[place] for row in rows] for place in range(len(TITLES))]
    right = [[cell.rjust(max(map(len, column))) for cell in column] for column in columns[1:-1]]
    return aligned([list(row) for row in zip(columns[0], *right, columns[-1], strict=True)])


def _row(step: Step) -> list[str]:
    return [
        f"{step.rule} {step.name}".rstrip(),
        f"{len(step.jobs):,}",
        f"{step.done:,}" if step.done else "",
        f"{step.pairs:,}" if step.pairs else "",
        f"{step.images:,}" if step.images else "",
        _number(step.core_hours()),
        _number(step.gpu_hours()) if step.gpu_hours() else "",
        _short_span(step.minutes),
        f"{step.gib:.1f}",
        _number(step.disk()),
        ", ".join(sorted(step.rates - STARTS))
        if step.pace is None
        else f"this folder, {step.pace:.1f} times the rates",
    ]


def _number(value: float) -> str:
    """Hours or GB, with as many digits as say something."""
    if value < 0.0005:
        return "0"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:,.1f}"


def _short_span(minutes: float) -> str:
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _money(asked: list[Requests], openai: dict[str, Any]) -> list[str]:
    """Requests, tokens and money of what is left to ask."""
    count, read, written = (
        sum(getattr(each, name) for each in asked) for name in ("count", "tokens_read", "tokens_written")
    )
    typical, highest = (sum(each.dollars(openai)[place] for each in asked) for place in (0, 1))
    prices = openai["price"]
    return [
        f"{count:,} requests to {endpoint.host(openai['base_url'])}, model {openai['model']}: about {read / 1e6:,.1f} "
        f"million tokens read and {written / 1e6:,.1f} million written",
        f"  about ${typical:,.2f}, at most ${highest:,.2f}, by rewrite.openai.price (${prices['input']:g} and "
        f"${prices['output']:g} a million tokens); a few per cent more where the model is asked again",
    ]


def _rates(plan: list[Step]) -> list[str]:
    """The rates that the steps were planned by, and where each was measured."""
    used = {rate for step in plan if step.pace is None for rate in step.rates}
    rows = [[f"  {name}", rate.text, rate.what, rate.source] for name, rate in RATES.items() if name in used]
    if any(step.pace is not None for step in plan):
        rows.append(["  this folder", "", "what the jobs took here that are done", str(BENCHMARKS)])
    return aligned(rows)
