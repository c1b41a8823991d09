"""The rows of tables.yaml, by the real command: all planned, and some run in a few steps with two training seeds."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml

from biomedjourney import config, tables
from tests.helpers import REPOSITORY
from tests.helpers.workflow_runs import SMOKE, TABLES, snakemake

pytestmark = pytest.mark.workflow

DEFAULT = config.read(REPOSITORY / "config.yaml")
SETTINGS = config.merge(DEFAULT, config.read(TABLES))
FEW = {"steps": 4, "batch_size": 4}
LEFT_OUT = ("one-stage", "no-registration", "no-registration-one-stage", "text-only", "untrained")
# Two training seeds of the main row, and of an ablation with the run that it is compared with.
OVERLAY = {
    "train": {"seeds": 2, "runs": dict.fromkeys(("short-stage1", "short", "impression-text"), FEW)},
    "systems": {},
    "generate": {"seeds": DEFAULT["generate"]["seeds"], "guidance": {"sweep": {"systems": ["biomedjourney"]}}},
}
OVERLAY["train"]["runs"] |= dict.fromkeys(LEFT_OUT)  # type: ignore[index]
OVERLAY["systems"] |= dict.fromkeys(LEFT_OUT)
MODELS = ["biomedjourney", "biomedjourney-short", "impression-text"]


@pytest.fixture(scope="module")
def trained_twice(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The finished run of smoke.yaml with the rows of the overlay added, and what Snakemake said."""
    folder = shutil.copytree(smoke, tmp_path_factory.mktemp("tables") / "smoke", symlinks=True)
    (folder / "few.yaml").write_text(yaml.safe_dump(OVERLAY))
    result = snakemake(folder, "--cores", "2", "--configfile", str(TABLES), str(SMOKE), "few.yaml")
    assert result.returncode == 0, result.stdout[-6000:]
    return folder, result.stdout


def table(folder: Path, name: str) -> pd.DataFrame:
    return tables.read(folder / "results" / "tables" / f"{name}.parquet", name)


def test_every_row_is_planned_and_the_longest_run_may_come_first(tmp_path: Path) -> None:
    first = ("--prioritize", "results/models/stage2", "results/models/text-only")
    assert " ".join(first) in (REPOSITORY / "Makefile").read_text()
    result = snakemake(tmp_path, "--dry-run", "--configfile", str(TABLES), *first)
    assert result.returncode == 0, result.stdout[-3000:]
    for system, row in SETTINGS["systems"].items():
        assert f"results/scores/{system}.parquet" in result.stdout
        assert "run" not in row or f"results/models/{row['run']}\n" in result.stdout.replace(", ", "\n")


def test_main_rows_are_four_times_as_long_as_the_default_run_and_ablations_as_long() -> None:
    def steps(run: str) -> int:
        settings = SETTINGS["train"]["runs"][run]
        return int(settings["steps"] + (steps(settings["start"]) if settings["start"] else 0))

    default = sum(DEFAULT["train"]["runs"][run]["steps"] for run in ("stage1", "stage2"))
    runs = {system: row["run"] for system, row in SETTINGS["systems"].items() if "run" in row}
    assert {name: steps(run) for name, run in runs.items() if name in ("biomedjourney", "text-only")} == {
        "biomedjourney": 4 * default,
        "text-only": 4 * default,
    }
    ablations = [name for name, row in SETTINGS["systems"].items() if "ablation_of" in row]
    assert len(ablations) >= 4
    assert {steps(runs[name]) for name in ["biomedjourney-short", *ablations]} == {default}
    assert {SETTINGS["systems"][name]["ablation_of"] for name in ablations} == {"biomedjourney-short"}


@pytest.mark.long
def test_another_training_seed_runs_nothing_again_but_what_it_adds(trained_twice: tuple[Path, str]) -> None:
    folder, said = trained_twice
    jobs = Counter(re.findall(r"^Job \d+: .*\((\w+)", said, re.MULTILINE))
    assert jobs == {
        **{"train_stage": 8, "train_stand_in": 2},  # stage1 and stage2 are there
        **{"generate_pictures": 10, "evaluate_scores": 5, "gather_parts": 2, "evaluate_systems": 1},
        **{"generate_soundness": 1, "evaluate_soundness": 1},
        **{"pretrain_second_judges": 1, "evaluate_second_scores": 7, "evaluate_judges": 1},
        **{"write_report": 1, "all": 1},
    }
    again = snakemake(folder, "--cores", "2", "--configfile", str(TABLES), str(SMOKE), "few.yaml")
    assert "Nothing to be done" in again.stdout


@pytest.mark.long
def test_every_training_seed_starts_from_the_stage_before_of_its_own(trained_twice: tuple[Path, str]) -> None:
    folder, _ = trained_twice
    weights = set()
    for run, start in (("stage1", None), ("stage2", "stage1"), ("short", "short-stage1")):
        for seed in (0, 1):
            model = folder / "results" / "models" / config.training_name(run, seed)
            facts = json.loads((model / "run.json").read_text())
            assert (facts["run"], facts["training_seed"]) == (run, seed)
            if start:
                assert (facts["start"]["run"], facts["start"]["training_seed"]) == (start, seed)
            weights.add((model / "unet" / "diffusion_pytorch_model.safetensors").read_bytes())
    assert len(weights) == 6
    trained = table(folder, "training")[["run", "training_seed"]].drop_duplicates()
    assert trained.groupby("run")["training_seed"].agg(list).map(sorted).eq([[0, 1]] * 5).all()


@pytest.mark.long
def test_the_tables_hold_every_training_seed_and_their_spread(trained_twice: tuple[Path, str]) -> None:
    folder, _ = trained_twice
    scores = table(folder, "scores")
    seeds = scores.groupby("system")["training_seed"].agg(set).to_dict()
    once = ("instruct-pix2pix", "stable-diffusion", "copy-prior", "real-follow-up")
    assert seeds == {name: {0, 1} if name in MODELS else {0} for name in (*MODELS, *once)}
    assert scores.groupby(["system", "training_seed"])["pair_id"].agg(frozenset).nunique() == 1
    spread = table(folder, "systems").set_index("system")["age_r_seeds_least"]
    assert set(spread.index[spread.notna()]) == set(MODELS)
    ablations = table(folder, "ablations").set_index("system")
    assert ablations["ablation_of"].dropna().to_dict() == {"impression-text": "biomedjourney-short"}
    assert list(ablations.index) == ["biomedjourney-short", "impression-text"]
    assert pd.notna(ablations.loc["impression-text", "age_r_difference"])
    judges = table(folder, "judges").set_index("judges")
    assert set(judges.loc["second", "system"]) == set(judges.loc["first", "system"]) == {*MODELS, *once}
    assert not judges.loc["second", "age_r"].equals(judges.loc["first", "age_r"])
    assert "one training seed" in (folder / "results" / "report" / "main-table.txt").read_text()
