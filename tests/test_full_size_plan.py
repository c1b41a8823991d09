"""The limits of paper.yaml's jobs, and the table in docs/full-size.md, beside the plan of a full run."""

import re
from pathlib import Path

import pytest

from bench import full_size_plan
from biomedjourney import config
from tests.helpers import REPOSITORY

SETTINGS = full_size_plan.load()


@pytest.mark.parametrize("checksums", [False, True])
def test_every_job_has_twice_the_planned_time_and_more_than_the_planned_memory(checksums: bool) -> None:
    steps = list(full_size_plan.steps(config.merge(SETTINGS, {"ingest": {"checksums": checksums}})))
    assert {step.verb for step in steps} == set(SETTINGS["resources"]) - {"phantom"}
    for step in steps:
        limits = SETTINGS["resources"][step.verb]
        assert limits["minutes"] >= 2 * step.minutes, step
        assert limits["mem_mb"] >= 1.25 * step.gib * 1024, step


def test_the_plan_counts_every_run_and_every_picture_that_is_drawn() -> None:
    longer = {"train": {"runs": {"more": SETTINGS["train"]["runs"]["stage1"] | {"steps": 120_000}}}}
    steps = {step.what: step for step in full_size_plan.steps(config.merge(SETTINGS, longer))}
    assert steps["more"].minutes > 1.9 * steps["stage1"].minutes > 600
    slower = {"generate": {"seeds": [0, 1], "steps": 100}}
    assert {step.what: step for step in full_size_plan.steps(config.merge(SETTINGS, slower))}[
        "test pictures"
    ].minutes > 3.8 * (steps["test pictures"].minutes - 1)


def test_without_the_rows_that_the_docs_leave_out_a_run_takes_as_long_as_they_say(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "full-size.md").read_text()
    (tmp_path / "mine.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    settings = full_size_plan.load(tmp_path / "mine.yaml")
    config.check(settings)
    assert set(settings["train"]["runs"]) == {"stage1", "stage2", "untrained"}
    total = full_size_plan.table(settings).splitlines()[-1]
    hours, on_eight, disk = re.findall(r"\*\*(\d+)\*\*.*\*\*(\d+)\*\*.* (\d+) \|$", total)[0]
    assert f"**{hours} hours** on one card, {on_eight} on eight, and {disk} GB:" in page


def test_with_two_training_seeds_every_run_and_every_picture_is_made_twice() -> None:
    once, twice = (
        {step.what: step for step in full_size_plan.steps(config.merge(SETTINGS, {"train": {"seeds": seeds}}))}
        for seeds in (1, 2)
    )
    assert [twice[run].jobs for run in SETTINGS["train"]["runs"]] == [2] * len(SETTINGS["train"]["runs"])
    assert twice["test pictures"].minutes > 1.9 * (once["test pictures"].minutes - 1)
    assert twice["sweep of biomedjourney"] == once["sweep of biomedjourney"]


def test_the_table_in_the_docs_is_that_of_the_present_configuration() -> None:
    page = (REPOSITORY / "docs" / "full-size.md").read_text()
    assert full_size_plan.table(SETTINGS) in page, "run bench/full_size_plan.py and put its table into the page"
