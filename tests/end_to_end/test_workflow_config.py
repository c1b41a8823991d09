"""What the workflow says of a configuration before it runs anything."""

from pathlib import Path

import pytest
import yaml
from workflow_runs import REPOSITORY, snakemake

pytestmark = pytest.mark.workflow

PAPER = REPOSITORY / "workflow" / "configs" / "paper.yaml"


def errors_of(folder: Path, overlay: str) -> list[str]:
    path = folder / "overlay.yaml"
    path.write_text(overlay)
    result = snakemake(folder, "--dry-run", "--configfile", str(path))
    assert result.returncode != 0
    assert "Traceback" not in result.stdout
    return [line for line in result.stdout.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        ("sead: 3", "unknown key 'sead': did you mean 'seed'?"),
        ("train: {learning_rte: 1}", "train: unknown key 'learning_rte': did you mean 'learning_rate'?"),
        ("seed: many", "seed: 'many' is not of type 'integer'"),
        ("systems: {biomedjourney: {run: stage3}}", "systems.biomedjourney.run: there is no run 'stage3'"),
        ("train: {runs: {stage2: {start: stage9}}}", "train.runs.stage2.start: there is no run 'stage9'"),
        ("diffusion: {unet: {weights: nowhere/unet}}", "diffusion.unet.weights: nowhere/unet does not exist"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, overlay: str, said: str) -> None:
    errors = errors_of(tmp_path, overlay)
    assert len(errors) == 1
    assert said in errors[0]


def test_paper_configuration_names_all_that_is_missing(tmp_path: Path) -> None:
    result = snakemake(tmp_path, "--dry-run", "--configfile", str(PAPER))
    assert result.returncode != 0
    errors = [line for line in result.stdout.splitlines() if line.startswith("error: ")]
    for key in ("data.images", "data.reports", "data.demographics", "pretrain.first_stage", "diffusion.unet"):
        assert any(key in error for error in errors), key


def test_paper_configuration_plans_every_step_once_the_files_are_there(tmp_path: Path) -> None:
    """Configuration alone makes the difference: with the named paths in place, the same rules are planned."""
    folders = ["mimic-cxr-jpg/2.1.0", "mimic-cxr/2.1.0", "mimic-iv/3.1/hosp", "weights/stable-diffusion-v1-5/vae"]
    folders += ["weights/stable-diffusion-v1-5/unet", "weights/biomedclip", "weights/torchxrayvision"]
    for folder in folders:
        (tmp_path / "resources" / folder).mkdir(parents=True)
    files = [f"mimic-cxr-jpg/2.1.0/mimic-cxr-2.0.0-{part}.csv.gz" for part in ("metadata", "split", "chexpert")]
    files += ["mimic-cxr/2.1.0/mimic-cxr-reports.zip"]
    files += [f"mimic-iv/3.1/hosp/{part}.csv.gz" for part in ("patients", "admissions")]
    weights = yaml.safe_load(PAPER.read_text())["pretrain"]["judges"]["weights"].values()
    for file in [*(f"resources/{file}" for file in files), *weights]:
        (tmp_path / file).touch()
    result = snakemake(tmp_path, "--dry-run", "--configfile", str(PAPER))
    assert result.returncode == 0, result.stdout[-3000:]
    for rule in ("ingest_raw_files", "register_priors", "train_stage", "evaluate_systems"):
        assert rule in result.stdout
    assert "draw_phantom" not in result.stdout
