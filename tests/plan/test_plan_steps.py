"""The plan of a full run beside the limits of its jobs, and what it follows in the configuration and in the folder."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from click.testing import CliRunner

from biomedjourney import config, tables
from biomedjourney.cli import commands
from biomedjourney.plan import counts
from biomedjourney.plan.text import describe
from tests.helpers import REPOSITORY
from tests.helpers.plans import plan_of, settings_of
from tests.helpers.workflow_runs import PAPER, SMOKE

SETTINGS = settings_of(PAPER)
HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, in which nothing is done yet."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(overlay: dict[str, Any]) -> dict[str, Any]:
    return settings_of(PAPER, overlay)


def run_here(outputs: list[str], benchmark: str, seconds: float, core_seconds: float) -> None:
    """Leaves what a job leaves: its files and its benchmark."""
    for name in outputs:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    path = Path("benchmarks", f"{benchmark}.tsv")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}{seconds}\t0:00:00\t2048\t0\t0\t0\t0\t0\t0\t{core_seconds}\n")


@pytest.mark.parametrize("checksums", [False, True])
def test_every_job_has_twice_the_planned_time_and_more_than_the_planned_memory(checksums: bool) -> None:
    plan = plan_of(changed({"ingest": {"checksums": checksums}})).values()
    assert {step.verb for step in plan} == {*SETTINGS["resources"], "gather"} - {"cap", "phantom"}
    for step in plan:
        if step.verb != "gather":
            limits = SETTINGS["resources"][step.verb]
            assert limits["minutes"] >= 2 * step.minutes, step.rule
            assert limits["mem_mb"] >= 1.25 * step.gib * 1024, step.rule


def test_twice_the_steps_pictures_or_seeds_take_twice_as_long() -> None:
    once = plan_of(SETTINGS)
    longer = {"train": {"runs": {"more": SETTINGS["train"]["runs"]["stage1"] | {"steps": 120_000}}}}
    assert plan_of(changed(longer))["train_stage more"].minutes > 1.9 * once["train_stage stage1"].minutes > 600
    slower = plan_of(changed({"generate": {"seeds": [0, 1], "steps": 100}}))
    assert slower["generate_pictures"].gpu_hours() > 3.7 * once["generate_pictures"].gpu_hours()
    twice = plan_of(changed({"train": {"seeds": 2}}))
    assert len(twice["train_stage stage1"].jobs) == 2
    assert twice["train_stage stage1"].gpu_hours() == pytest.approx(2 * once["train_stage stage1"].gpu_hours())
    of_one = {name: step.gpu_hours() for name, step in once.items()}
    assert twice["generate_pictures"].gpu_hours() > 1.4 * of_one["generate_pictures"], "pipelines are drawn once"
    assert twice["generate_sweep"].gpu_hours() == pytest.approx(of_one["generate_sweep"])


def test_several_gpus_take_less_time_and_no_gpu_takes_the_processor() -> None:
    one = plan_of(SETTINGS)["train_stage stage1"]
    eight = plan_of(changed({"resources": {"train": {"gpus": 8}}}))["train_stage stage1"]
    assert one.minutes / 8 < eight.minutes < one.minutes / 5
    assert eight.gpu_hours() > one.gpu_hours()
    none = plan_of(changed({"resources": {"train": {"gpus": 0}}}))["train_stage stage1"]
    assert none.gpu_hours() == 0
    assert none.core_hours() > 1000


def test_what_costs_money_is_what_the_model_is_asked() -> None:
    said = describe(changed({"rewrite": {"openai": {"price": {"input": 2.0, "output": 0.0}}}}))
    ((requests, read),) = re.findall(r"^([\d,]+) requests .* about ([\d.]+) million tokens read", said, re.MULTILINE)
    assert int(requests.replace(",", "")) == counts.MIMIC.all_pairs + counts.MIMIC.pairs["train"]
    (dollars,) = re.findall(r"about \$([\d.]+), at most", said)
    assert float(dollars) == pytest.approx(2 * float(read), abs=0.2)
    assert "tokens" not in describe(changed(FEW | {"rewrite": {"writers": ["rules"]}})).partition("Counts")[0]


FEW: dict[str, Any] = {
    "train": {"runs": {name: {"writer": "rules"} for name, run in SETTINGS["train"]["runs"].items() if run["writer"]}}
}


def test_a_job_is_done_when_all_its_files_are_there() -> None:
    settings = settings_of(SMOKE)
    before = plan_of(settings)["register_priors"]
    assert (len(before.jobs), before.done) == (4, 0)
    files = ["results/registered/forward/0.parquet", "results/registrations/forward/0.parquet"]
    run_here(files[:1], "register/forward/0", 1, 1)
    assert plan_of(settings)["register_priors"].done == 0
    run_here(files, "register/forward/0", 1, 1)
    step = plan_of(settings)["register_priors"]
    assert step.done == 1
    left = sum(each.cost.core_seconds for each in step.jobs[1:]) / sum(each.cost.core_seconds for each in step.jobs)
    assert step.core_hours(left=True) == pytest.approx(left * step.core_hours())


def test_what_jobs_took_here_counts_more_than_the_rates() -> None:
    settings = settings_of(SMOKE)
    counted = counts.count(settings)
    by_rates = plan_of(settings, counted)["register_priors"]
    cost = by_rates.jobs[0].cost
    files = ["results/registered/forward/0.parquet", "results/registrations/forward/0.parquet"]
    run_here(files, "register/forward/0", 3 * cost.seconds, 2 * cost.core_seconds)
    here = plan_of(settings, counted)["register_priors"]
    assert here.pace == pytest.approx(3)
    assert here.minutes == pytest.approx(3 * by_rates.minutes)
    assert here.core_hours() == pytest.approx(2 * by_rates.core_hours())
    assert here.gib == 2
    assert "this folder, 3.0 times the rates" in describe(settings)
    Path(files[0]).unlink()  # its benchmark is one of other settings, perhaps
    assert plan_of(settings, counted)["register_priors"].pace is None
    run_here(files, "register/forward/0", 3, 2)
    benchmark = Path("benchmarks/register/forward/0.tsv")
    benchmark.write_text(benchmark.read_text().replace("2048", "NA"))
    assert plan_of(settings, counted)["register_priors"].pace is None, "too short to be measured"


def test_the_command_takes_overlays_and_names_what_is_wrong(empty_folder: Path) -> None:
    (empty_folder / "mine.yaml").write_text(yaml.safe_dump({"train": {"runs": {"stage2": {"steps": 4000}}}}))
    sources = ["--config", str(REPOSITORY / "config.yaml"), "--config", str(SMOKE), "--config", "mine.yaml"]
    result = CliRunner().invoke(commands, ["plan", *sources], catch_exceptions=False)
    assert result.exit_code == 0
    assert re.search(r"^train_stage stage2 +1 .* 32,000 ", result.output, re.MULTILINE), "4000 steps of 8"
    assert not any(path.name != "mine.yaml" for path in empty_folder.iterdir()), "nothing is written"
    for text, said in (("{train: {runs: {stage2: {start: stage9}}}}", "no run 'stage9'"), ("{sead: 1}", "'sead'")):
        result = CliRunner().invoke(commands, ["plan", *sources, "--config", text])
        assert said in str(result.exception)
    result = CliRunner().invoke(commands, ["plan", "--config", str(SMOKE)])
    assert "lacks the section 'seed' that plan reads: add --config config.yaml" in str(result.exception)


def test_the_page_has_the_table_of_the_present_configuration() -> None:
    page = (REPOSITORY / "docs" / "full-size.md").read_text()
    table = describe(SETTINGS).split("\n\n")[0]
    assert table in page, f"put this table into the page:\n{table}"


def test_without_the_rows_that_the_page_leaves_out_a_run_takes_as_long_as_it_says(empty_folder: Path) -> None:
    page = (REPOSITORY / "docs" / "full-size.md").read_text()
    (empty_folder / "mine.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    settings = settings_of(PAPER, empty_folder / "mine.yaml")
    assert set(settings["train"]["runs"]) == {"stage1", "stage2", "untrained"}
    plan = plan_of(settings).values()
    hours, disk = sum(step.gpu_hours() for step in plan), sum(step.disk() for step in plan)
    assert f"**{hours:.0f} GPU hours** and {disk:.0f} GB:" in page
    config.check(settings)


def test_counts_are_those_of_the_tables_once_they_are_there(empty_folder: Path) -> None:
    settings = settings_of(SMOKE)
    drawn = counts.count(settings)
    assert "the phantom" in drawn.source
    for name in ("patients", "studies", "images", "singles", "pairs"):
        splits = ["train"] * 3 + ["test"] * 2 + ["validation"]
        write_some(name, splits)
    found = counts.count(settings)
    assert (found.patients, found.studies, found.images, found.singles, found.test_singles) == (6, 6, 6, 6, 2)
    assert found.pairs == {"train": 3, "validation": 1, "test": 2}
    assert found.in_direction("backward") == 3
    assert found.lines[1].endswith("results/tables")


def write_some(name: str, splits: list[str]) -> None:
    """A table of six rows with what is needed to count them; every other column holds one value."""
    declared = tables.table(name)
    schema = declared.schema([column.name for column in declared.columns if not column.is_family])
    values = {
        field.name: pa.array([str(i) if pa.types.is_string(field.type) else i for i in range(6)]).cast(field.type)
        for field in schema
        if not pa.types.is_list(field.type)
    }
    if "split" in values:
        values["split"] = pa.array(splits)
    tables.write(Path("results/tables") / f"{name}.parquet", name, pa.table(values, schema=schema))
