"""The whole chain with smoke.yaml, by the real command."""

import re
import subprocess
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from PIL import Image
from workflow_runs import SMOKE, run_smoke, snakemake

from biomedjourney import tables

pytestmark = pytest.mark.workflow

SINGLE_FILES = {
    "patients", "studies", "images", "singles", "pairs", "cohort", "exclusions", "progressions", "registrations",
    "training", "guidance", "scores", "systems", "ablations", "findings", "subgroups", "truth",
}  # fmt: skip
TIME_COLUMNS = {"training": ["seconds"]}


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
    for system in ("biomedjourney", "text-only", "no-registration", "untrained", "copy-prior", "real-follow-up"):
        assert system in page
    assert (smoke / "results" / "models" / "biomedjourney" / "unet").is_dir()


def test_second_run_has_nothing_to_do(smoke: Path) -> None:
    result = snakemake(smoke, "--cores", "2", "--configfile", str(SMOKE))
    assert result.returncode == 0
    assert "Nothing to be done" in result.stdout


@pytest.mark.parametrize(
    ("overlay", "again"),
    [
        ("evaluate: {bootstrap: 150}", {}),
        ("systems: {same-again: {run: stage2}}", {"generate_pictures": 1}),
        (
            "pretrain: {judges: {steps: 11}}",
            {"pretrain_judges": 1, "evaluate_guidance": 1, "generate_pictures": 3, "export_model": 1},
        ),
    ],
)
def test_change_of_a_setting_runs_only_what_reads_it(
    overlay: str, again: dict[str, int], smoke: Path, tmp_path: Path
) -> None:
    path = tmp_path / "more.yaml"
    path.write_text(overlay)
    result = snakemake(smoke, "--dry-run", "--configfile", str(SMOKE), str(path))
    assert result.returncode == 0, result.stdout
    counts = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", result.stdout, re.MULTILINE)}
    total = counts.pop("total")
    assert counts == again | {"evaluate_systems": 1, "write_report": 1, "all": 1}
    assert total == sum(counts.values())


def test_no_patient_is_on_two_sides(smoke: Path) -> None:
    pairs = tables.read(smoke / "results" / "tables" / "pairs.parquet", "pairs")
    singles = tables.read(smoke / "results" / "tables" / "singles.parquet", "singles")
    sides = pd.concat([pairs, singles]).groupby("subject_id")["split"].nunique()
    assert sides.max() == 1
    assert set(pairs["split"]) == set(tables.SPLITS)


def test_all_systems_answer_for_the_same_accepted_test_pairs(smoke: Path) -> None:
    folder = smoke / "results" / "tables"
    scores = tables.read(folder / "scores.parquet", "scores")
    registrations = tables.read(folder / "registrations.parquet", "registrations").set_index("pair_id")
    pairs = tables.read(folder / "pairs.parquet", "pairs").set_index("pair_id")
    by_system = scores.groupby("system")["pair_id"].agg(frozenset)
    assert by_system.nunique() == 1
    shared = list(by_system.iloc[0])
    assert registrations.loc[shared, "accepted"].all()
    assert (pairs.loc[shared, "split"] == "test").all()


def test_same_seed_gives_the_same_tables(smoke: Path, tmp_path: Path) -> None:
    again = run_smoke(tmp_path)
    for name in sorted(SINGLE_FILES):
        first, second = (
            tables.read(folder / "results" / "tables" / f"{name}.parquet", name).drop(
                columns=TIME_COLUMNS.get(name, [])
            )
            for folder in (smoke, again)
        )
        pd.testing.assert_frame_equal(first, second, check_exact=True, obj=name)


def test_edit_draws_with_the_exported_model(smoke: Path, tmp_path: Path) -> None:
    images = tables.read(smoke / "results" / "tables" / "images.parquet", "images")
    path = images.loc[images["view"] == "PA", "path"].iloc[0]
    prior = smoke / "resources" / "phantom" / "mimic-cxr-jpg" / path
    edited = tmp_path / "edited.png"
    command = ["biomedjourney", "edit", str(prior), "new small left pleural effusion", "--out", str(edited)]
    result = subprocess.run(command, cwd=smoke, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    with Image.open(edited) as picture:
        assert picture.size == (64, 64)
        assert len(picture.getcolors() or []) > 8
