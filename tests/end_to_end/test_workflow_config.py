"""What the workflow says of a configuration before it runs anything."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.helpers import REPOSITORY, published
from tests.helpers.workflow_runs import PAPER, paper_files, snakemake, without_ablations

pytestmark = pytest.mark.workflow

CHECKED = "results/models/checked.json"


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
        (
            "resources: {trian: {threads: 1, mem_mb: 1, minutes: 1}}",
            "resources: unknown key 'trian': did you mean 'train'?",
        ),
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
    assert any("rewrite.openai.base_url" in error and "public network" in error for error in errors)


@pytest.mark.parametrize(
    ("openai", "said"),
    [
        ("zero_data_retention_confirmed_by: {name: A. Reader, date: '2026-11-24'}", "needs a key: set OPENAI_API_KEY"),
        ("base_url: model-server/v1", "rewrite.openai.base_url: an address like https:"),
    ],
)
def test_a_missing_key_or_endpoint_is_named_before_anything_runs(tmp_path: Path, openai: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"rewrite: {{openai: {{{openai}}}}}")
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    words = ("--dry-run", "--configfile", str(PAPER), str(path))
    result = snakemake(tmp_path, *words, environment=environment)
    assert result.returncode != 0
    assert "Traceback" not in result.stdout
    assert any(said in line for line in result.stdout.splitlines() if line.startswith("error: "))


def test_paper_configuration_plans_every_step_once_the_files_are_there(tmp_path: Path) -> None:
    """Configuration alone makes the difference: with the named paths in place, the same rules are planned."""
    mine = paper_files(tmp_path)
    result = snakemake(tmp_path, "--dry-run", "--configfile", str(PAPER), str(mine))
    assert result.returncode == 0, result.stdout[-3000:]
    for rule in ("ingest_raw_files", "register_priors", "train_stage", "evaluate_systems"):
        assert rule in result.stdout
    assert "draw_phantom" not in result.stdout
    for part in ("results/progressions/openai/forward.parquet", "results/triples/openai/forward.parquet"):
        assert part in result.stdout
    for system in ("one-stage", "rules-text", "backward-journeys", "instruct-pix2pix-finetuned", "instruct-pix2pix"):
        assert f"results/scores/{system}.parquet" in result.stdout
    assert "results/progressions/rules/forward.parquet" in result.stdout
    assert "results/progressions/rules/backward.parquet" not in result.stdout
    few = tmp_path / "few.yaml"
    few.write_text(yaml.safe_dump(without_ablations()))
    result = snakemake(tmp_path, "--dry-run", "--configfile", str(PAPER), str(mine), str(few))
    assert result.returncode == 0, result.stdout[-3000:]
    assert "backward" not in result.stdout
    assert "results/progressions/rules" not in result.stdout
    inputs = dict(re.findall(r"^(?:local)?rule (\w+):\n    input: (.*)$", result.stdout, re.MULTILINE))
    for part in ("first_stage", "text_tower", "judges", "second_judges", "segmenter"):
        read = inputs[f"pretrain_{part}"].split(", ")
        assert all(file.startswith("resources/weights/") for file in read), "a given part needs no data"


@pytest.mark.parametrize(
    ("overlay", "spoil", "said"),
    [
        ("diffusion: {unet: {weights: w}}", lambda w: w.mkdir(), "w/config.json: not a UNet"),
        ("diffusion: {unet: {weights: w}}", lambda w: w.touch(), "w: a file, but the UNet is a folder"),
        ("pretrain: {first_stage: {weights: w}}", lambda w: w.mkdir(), "w/config.json: not a first stage"),
        ("pretrain: {text_tower: {weights: w}}", lambda w: w.mkdir(), "w/open_clip_config.json: cannot be read"),
        (
            "train: {runs: {stage1: {weights: w}}}",
            lambda w: (published.unet(w) / "diffusion_pytorch_model.safetensors").unlink(),
            "w: the UNet cannot be read (no diffusion_pytorch_model.safetensors or .bin",
        ),
        (
            "pretrain: {text_tower: {weights: w}}",
            lambda w: (published.biomedclip(w) / "open_clip_pytorch_model.bin").unlink(),
            "w/open_clip_pytorch_model.bin: the weights are missing",
        ),
    ],
)
def test_missing_files_of_weights_are_named_before_anything_is_planned(
    tmp_path: Path, overlay: str, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(tmp_path / "w")
    [line] = errors_of(tmp_path, overlay)
    assert said in line


def test_weights_that_do_not_fit_end_the_workflow_before_its_first_job(tmp_path: Path) -> None:
    published.unet(tmp_path / "unet", published.UNET | {"in_channels": 9})
    published.unet(tmp_path / "own", published.INSTRUCT_PIX2PIX | {"out_channels": 3})
    (tmp_path / "mine.yaml").write_text(
        "diffusion: {unet: {weights: unet}}\ntrain: {runs: {stage1: {weights: own}}}\nphantom: {patients: 10}"
    )
    result = snakemake(tmp_path, "--cores", "2", "--configfile", "mine.yaml")
    assert result.returncode != 0
    lines = [line for line in result.stdout.splitlines() if line.startswith("error: configuration, ")]
    assert [line.split(": ")[1] for line in lines] == [
        "configuration, diffusion.unet.weights",
        "configuration, train.runs.stage1.weights",
    ]
    assert not (tmp_path / "resources").exists(), "nothing else was begun"
    assert not (tmp_path / CHECKED).exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["data.images=/films"],
            "error: --config data.images=/films: no name of a section: write 'data: {images: /films}'",
        ),
        (["train.runs.stage2.steps=5"], "write 'train: {runs: {stage2: {steps: 5}}}' into a file of yours"),
        (["data.images="], "--config data.images=: no name of a section"),
        (["seed=1", "results/tables/pairs.parquet"], "--config results/tables/pairs.parquet: no NAME=VALUE"),
        (["seed"], "--config seed: no NAME=VALUE with the name of a section, as in --config seed=1"),
        (["=1"], "--config =1: no NAME=VALUE"),
        (["a b=1"], "--config a b=1: no NAME=VALUE"),
        (["1seed=1"], "--config 1seed=1: no NAME=VALUE"),
        (["data=5"], "configuration, data: 5 is not of type 'object'"),
        (["data="], "configuration, data: None is not of type 'object'"),
        (["data={images"], "configuration, data: '{images' is not of type 'object'"),
        (["data=[1, 2]"], "configuration, data: ['1', '2'] is not of type 'object'"),
        (["data={imagse: x}"], "data: unknown key 'imagse': did you mean 'images'?"),
        (["train={runs: {stage2: 5}}"], "train.runs.stage2: '5' is not of type 'object'"),
        (["dta={images: x}"], "top level: unknown key 'dta': did you mean 'data'?"),
        (["seed=many"], "seed: 'many' is not of type 'integer'"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(tmp_path: Path, words: list[str], said: str) -> None:
    result = snakemake(tmp_path, "--dry-run", "--config", *words)
    assert result.returncode != 0
    assert "Traceback" not in result.stdout
    [line] = [line for line in result.stdout.splitlines() if not line.startswith("Config file ")]
    assert line.startswith("error: ")
    assert said in line


def test_sections_on_the_command_line_still_count(tmp_path: Path) -> None:
    result = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--config", "seed=3", "data={images: 'my films/jpg'}")
    assert result.returncode == 0, result.stdout[-3000:]
    assert "--out 'my films'" in result.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "configuration cannot be read (No such file or directory)"),
        (b"a: [1", "not valid YAML"),
        (b"seed: 1\n\tdata: 2", "not valid YAML"),
        (b"- 1\n- 2", "a configuration is a mapping of sections"),
        (b"5", "a configuration is a mapping of sections"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"seed: 1\nseed: 2", "the key 'seed' stands twice"),
        (b"evaluate: {bootstrap: 100, bootstrap: 200}", "the key 'bootstrap' stands twice"),
        (b"seed: 2026-99-99", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "my file.yaml"
    if content is not None:
        path.write_bytes(content)
    result = snakemake(tmp_path, "--dry-run", "--configfile", str(path))
    assert result.returncode != 0
    [line] = result.stdout.splitlines()
    assert line.startswith(f"error: {path}: ")
    assert said in line


def test_a_configuration_runs_no_python(tmp_path: Path) -> None:
    """Snakemake's own reading would, for the sake of a template language, where a file has this key."""
    path, made = tmp_path / "mine.yaml", tmp_path / "made"
    path.write_text(f"__use_yte__: true\nseed: ?__import__('pathlib').Path('{made}').touch() or 1\n")
    result = snakemake(tmp_path, "--dry-run", "--configfile", str(path))
    assert result.returncode != 0
    assert "__use_yte__" in result.stdout
    assert not made.exists()


def test_a_folder_in_place_of_a_file_and_a_broken_default_are_one_line(tmp_path: Path) -> None:
    result = snakemake(tmp_path, "--dry-run", "--configfile", str(tmp_path))
    assert result.stdout.startswith(f"error: {tmp_path}: configuration cannot be read (Is a directory)")
    for name in ("Snakefile", "workflow", "envs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "config.yaml").write_text("seed: [")
    (tmp_path / "empty.yaml").write_text("# nothing yet")
    for words in ([], ["--configfile", "empty.yaml"]):
        result = snakemake(tmp_path, "--dry-run", *words, snakefile=tmp_path / "Snakefile")
        [line] = result.stdout.splitlines()
        assert line.startswith(f"error: {tmp_path}/config.yaml: not valid YAML")


def test_a_file_in_place_of_an_output_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    result = snakemake(tmp_path, "--dry-run")
    assert result.returncode != 0
    [line] = [line for line in result.stdout.splitlines() if not line.startswith("Config file ")]
    assert line == "error: logs: a file, but the workflow writes a folder of that name: rename the file"


def test_another_projects_workflow_keeps_snakemakes_own_messages(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text("rule all:\n    shell: 'true'\n")
    (tmp_path / "twice.yaml").write_text("a: 1\na: 2\n")
    result = snakemake(tmp_path, "--dry-run", "--configfile", "twice.yaml", snakefile=tmp_path / "Snakefile")
    assert result.returncode == 0, result.stdout
