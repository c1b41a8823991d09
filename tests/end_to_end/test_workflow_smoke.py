"""The whole chain with smoke.yaml, by the real command."""

import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from PIL import Image

from biomedjourney import tables
from biomedjourney.plan.text import describe
from tests.helpers.plans import settings_of
from tests.helpers.report_page import table_rows
from tests.helpers.workflow_runs import KEYS, SINGLE_FILES, SMOKE, snakemake

pytestmark = pytest.mark.workflow


def test_writes_every_table_and_each_opens_in_pandas_and_duckdb(smoke: Path) -> None:
    folder = smoke / "results" / "tables"
    assert {path.stem for path in folder.iterdir()} == SINGLE_FILES
    for name in SINGLE_FILES:
        path = folder / f"{name}.parquet"
        ours = tables.read(path, name)
        assert len(pd.read_parquet(path)) == len(ours)
        assert duckdb.sql(f"select count(*) from '{path}'").fetchall() == [(len(ours),)]
        assert name in {"exclusions"} or len(ours) > 0, name


def test_report_and_model_are_there(smoke: Path) -> None:
    page = (smoke / "results" / "report" / "index.html").read_text()
    assert "not for clinical use" in page
    systems = tables.read(smoke / "results" / "tables" / "systems.parquet", "systems").set_index("system")
    rows = table_rows(page, "main")
    assert list(rows) == list(systems.index)
    assert {"biomedjourney", "text-only", "untrained", "copy-prior", "real-follow-up"} <= set(rows)
    for name, cells in rows.items():
        assert cells[0] == f"{systems.loc[name, 'n']}"
        assert f"{100 * systems.loc[name, 'pathology_auc']:.2f}" in cells
    assert (smoke / "results" / "models" / "biomedjourney" / "unet").is_dir()


def test_second_run_has_nothing_to_do(smoke_copy: Path) -> None:
    result = snakemake(smoke_copy, "--cores", "2", "--configfile", str(SMOKE))
    assert result.returncode == 0
    assert "Nothing to be done" in result.stdout


def test_the_plan_of_a_finished_run_leaves_nothing_to_do(smoke: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(smoke)
    said = describe(settings_of(SMOKE))
    assert re.search(r"^left to do +0 ", said, re.MULTILINE)
    assert re.search(r"^train_stage stage2 +1 +1 .* this folder, ", said, re.MULTILINE)
    assert "images: results/tables" in said


def test_each_job_is_told_in_a_line_and_the_end_is_the_main_table(smoke: Path) -> None:
    said = (smoke / "said.txt").read_text()
    assert re.search(r"^Job \d+: Train the diffusion model \(train_stage stage2\)$", said, re.MULTILINE)
    assert "rule train_stage:" not in said
    end = said[said.index((smoke / "results" / "report" / "main-table.txt").read_text()) :].splitlines()
    assert f"report: {smoke / 'results' / 'report' / 'index.html'}" in end
    assert f"tables: {smoke / 'results' / 'tables'} (`biomedjourney inspect` lists them)" in end


def test_a_job_that_ran_before_says_how_long_it_took(smoke_copy: Path) -> None:
    benchmark = smoke_copy / "benchmarks" / "pair" / "tables.tsv"
    benchmark.write_text("s\th:m:s\n754.2\t0:12:34\n")
    target = "results/tables/pairs.parquet"
    result = snakemake(smoke_copy, target, "--cores", "2", "--configfile", str(SMOKE), "--forcerun", "pair_studies")
    assert result.returncode == 0
    line = "Make pairs of studies, and the split (pair_studies): 12 minutes and 34 seconds here before"
    assert f": {line}\n" in result.stdout
    assert "\nreport: " not in result.stdout
    assert "\ntables: " in result.stdout


def test_no_log_holds_a_sentence_of_a_report(smoke: Path) -> None:
    """Logs, benchmarks, Snakemake's own files and what it printed: texts belong into the tables alone."""
    studies = tables.read(smoke / "results" / "tables" / "studies.parquet", "studies")
    texts = pd.concat([studies["findings"], studies["impression"]])
    sentences = {line.strip() for text in texts for line in re.split(r"[.\n]", text) if len(line.strip()) > 40}
    assert len(sentences) > 50
    files = [smoke / "said.txt"]
    files += [
        file for name in ("logs", "benchmarks", ".snakemake") for file in (smoke / name).rglob("*") if file.is_file()
    ]
    assert len(files) > 100
    for file in files:
        said = " ".join(file.read_text(errors="replace").split())
        assert not [sentence for sentence in sentences if sentence in said], file


def test_no_file_of_a_run_holds_a_key(smoke: Path) -> None:
    files = [file for file in smoke.rglob("*") if file.is_file()]
    assert len(files) > 300
    for file in files:
        content = file.read_bytes()
        assert not [name for name, key in KEYS.items() if key.encode() in content], file


def test_nobody_but_the_owner_can_read_what_a_run_writes(smoke: Path) -> None:
    """`readers: owner` of smoke.yaml. What Snakemake wrote before it read that is in a folder that is closed."""
    folders = [smoke / name for name in ("results", "logs", "benchmarks", "resources", ".snakemake")]
    written = folders + [file for folder in folders[:-1] for file in folder.rglob("*")]
    assert len([file for file in written if file.is_file()]) > 200
    assert [file for file in written if not file.is_symlink() and file.stat().st_mode & 0o077] == []


def test_no_patient_is_on_two_sides(smoke: Path) -> None:
    pairs = tables.read(smoke / "results" / "tables" / "pairs.parquet", "pairs")
    singles = tables.read(smoke / "results" / "tables" / "singles.parquet", "singles")
    sides = pd.concat([pairs, singles]).groupby("subject_id")["split"].nunique()
    assert sides.max() == 1
    assert set(pairs["split"]) == set(tables.SPLITS)


def test_all_systems_answer_for_the_compared_test_triples(smoke: Path) -> None:
    folder = smoke / "results" / "tables"
    scores = tables.read(folder / "scores.parquet", "scores")
    triples = tables.read(folder / "triples.parquet", "triples")
    by_system = scores.groupby("system")["pair_id"].agg(frozenset)
    assert by_system.nunique() == 1
    compared = triples[triples["compared"] & (triples["split"] == "test")]
    assert by_system.iloc[0] == set(compared["pair_id"])
    assert compared["accepted"].all()
    assert (compared["direction"] == "forward").all()


def test_the_account_of_the_cohort_goes_from_raw_rows_to_training_examples(smoke: Path) -> None:
    folder = smoke / "results"
    cohort = tables.read(folder / "tables" / "cohort.parquet", "cohort")
    kept, dropped = cohort.groupby("step")["kept"].first(), cohort.groupby("step", sort=False)["dropped"].sum()
    for unit in ("images", "studies", "singles", "pairs"):
        steps = [step for step in dropped.index if step.startswith(f"{unit}:")]
        for before, after in pairwise(steps):
            if after != "pairs: a study and the one before it":
                assert kept[before] == kept[after] + dropped[after], after
    pairs = tables.read(folder / "tables" / "pairs.parquet", "pairs")
    assert kept["pairs: both images with a picture"] + dropped["pairs: both images with a picture"] == len(pairs)
    assert (
        kept["pairs: registration accepted"]
        == kept["triples by rules: description valid"] + dropped["triples by rules: description valid"]
    )
    in_training = kept["triples by rules in train: all"]
    backward = kept["triples by rules, read backward: training pairs"]
    left_out = dropped["triples by rules, read backward: training pairs"]
    assert backward + left_out == (pairs["split"] == "train").sum()
    for run, examples in (("stage1", kept["singles in train: all"]), ("stage2", in_training + backward)):
        facts = json.loads((folder / "models" / run / "run.json").read_text())
        assert (facts["examples"], facts["examples_without_latent"]) == (examples, 0), run
    assert (
        sum(kept[f"triples by rules in {split}: all"] for split in tables.SPLITS)
        == kept["triples by rules: description valid"]
    )


def test_edit_draws_with_the_exported_model(smoke: Path, tmp_path: Path) -> None:
    images = tables.read(smoke / "results" / "tables" / "images.parquet", "images")
    path = images.loc[images["view"] == "PA", "path"].iloc[0]
    prior = smoke / "resources" / "phantom" / "mimic-cxr-jpg" / path
    edited = tmp_path / "edited.png"
    command = ["biomedjourney", "edit", str(prior), "new small left pleural effusion", "--out", str(edited)]
    result = subprocess.run(command, cwd=smoke, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    with Image.open(edited) as picture, Image.open(prior) as film:
        assert picture.size == film.size
        assert len(picture.getcolors() or []) > 8
    assert "**This is the phantom's model.**" in (smoke / "results/models/biomedjourney/README.md").read_text()
