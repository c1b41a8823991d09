"""The real command on a tiny problem: outputs, stages, a kill and a resume, what it reads and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny
from click.testing import CliRunner
from fabricated import config_text

from biomedjourney import config, tables
from biomedjourney.errors import UserError
from biomedjourney.train.command import command

SINGLES = ("singles", "latents", "texts", "first_stage")
PAIRS = ("pairs", "registrations", "progressions", "prior_latents", "latents", "texts", "first_stage")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return tiny.write(tmp_path_factory.mktemp("tables"))


def arguments(folder: Path, run: str, inputs: list[str], overlay: dict[str, Any] | None = None) -> list[str]:
    settings = config_text(**config.merge(tiny.OVERLAY, overlay or {}))
    outputs = ["--out", str(folder / run), "--training", str(folder / f"{run}.parquet")]
    return ["--config", settings, "--run", run, *inputs, "--checkpoints", str(folder / "checkpoints"), *outputs]


def train(folder: Path, run: str, inputs: list[str], overlay: dict[str, Any] | None = None) -> tuple[bytes, Any]:
    """Runs the command in this process; the weights' file and the table."""
    CliRunner().invoke(command, arguments(folder, run, inputs, overlay), catch_exceptions=False)
    weights = (folder / run / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    return weights, tables.read(folder / f"{run}.parquet", "training")


def test_two_stages_write_their_models_and_their_course(paths: dict[str, Path], tmp_path: Path) -> None:
    first, course = train(tmp_path, "stage1", tiny.flags(paths, *SINGLES))
    assert course["step"].tolist() == [0, 2, 4, 6]
    assert course["images_seen"].tolist() == [0, 8, 16, 24]
    assert set(course["stage"]) == {1}
    assert course["loss"].isna().tolist() == [True, False, False, False]
    facts = json.loads((tmp_path / "stage1" / "run.json").read_text())
    singles = tables.read(paths["singles"], "singles")
    assert facts["examples"] == (singles["split"] == "train").sum()
    assert facts["first_stage_scaling_factor"] == 0.5
    assert (tmp_path / "stage1" / "scheduler" / "scheduler_config.json").is_file()
    assert not list((tmp_path / "checkpoints").glob("*"))

    start = ["--start", str(tmp_path / "stage1")]
    second, course = train(tmp_path, "stage2", [*tiny.flags(paths, *PAIRS), *start])
    assert set(course["stage"]) == {2}
    assert second != first
    continued, _ = train(tmp_path, "stage2", [*tiny.flags(paths, *PAIRS), *start], run_settings("stage2", steps=0))
    assert continued == first


def run_settings(run: str, **changed: Any) -> dict[str, Any]:
    return {"train": {"runs": {run: changed}}}


def test_run_of_no_steps_gives_the_untrained_model(paths: dict[str, Path], tmp_path: Path) -> None:
    _, course = train(tmp_path, "untrained", tiny.flags(paths, *PAIRS))
    assert course["step"].tolist() == [0]
    assert course["loss"].isna().all()


def test_kill_and_resume_give_the_same_weights_bit_for_bit(paths: dict[str, Path], tmp_path: Path) -> None:
    inputs = tiny.flags(paths, *PAIRS)
    longer = run_settings("alone", steps=60)
    whole, course = train(tmp_path / "whole", "alone", inputs, longer)
    killed = tmp_path / "killed"
    program = "from biomedjourney.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "train", *arguments(killed, "alone", inputs, longer)], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not list((killed / "checkpoints").glob("*/state.pt")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "alone").exists()

    result = CliRunner().invoke(command, arguments(killed, "alone", inputs, longer), catch_exceptions=False)
    resumed_from = int(result.stderr.split("from step ")[1].split()[0])
    assert 2 <= resumed_from < 60
    assert (killed / "alone" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == whole
    resumed = tables.read(killed / "alone.parquet", "training")
    pd.testing.assert_frame_equal(resumed.drop(columns="seconds"), course.drop(columns="seconds"), check_exact=True)
    assert not list((killed / "checkpoints").glob("*"))


def test_only_accepted_valid_training_pairs_are_learned(paths: dict[str, Path], tmp_path: Path) -> None:
    _, _ = train(tmp_path, "alone", tiny.flags(paths, *PAIRS))
    facts = json.loads((tmp_path / "alone" / "run.json").read_text())
    pairs = tables.read(paths["pairs"], "pairs")
    accepted = tables.read(paths["registrations"], "registrations").set_index("pair_id")["accepted"]
    valid = tables.read(paths["progressions"], "progressions").set_index("pair_id")["valid"]
    training = pairs.loc[pairs["split"] == "train", "pair_id"]
    assert facts["examples"] == (accepted[training] & valid[training]).sum() < len(training)


@pytest.mark.parametrize("run", ["alone", "stage1"])
def test_nothing_is_learned_from_validation_and_test_patients(paths: dict[str, Path], tmp_path: Path, run: str) -> None:
    names = SINGLES if run == "stage1" else PAIRS
    weights, _ = train(tmp_path / "given", run, tiny.flags(paths, *names))
    changed = dict(paths)
    singles = tables.read(paths["singles"], "singles")
    pairs = tables.read(paths["pairs"], "pairs")
    elsewhere = {
        *singles.loc[singles["split"] != "train", "dicom_id"],
        *pairs.loc[pairs["split"] != "train", "pair_id"],
    }
    for option in ("latents", "prior_latents"):
        latents = tables.read(paths[option], "latents")
        other = latents["id"].isin(elsewhere)
        assert other.any()
        latents.loc[other, "mean"] = [bytes(len(mean)) for mean in latents.loc[other, "mean"]]
        changed[option] = tmp_path / f"{option}.parquet"
        tables.write(changed[option], "latents", latents)
    assert train(tmp_path / "changed", run, tiny.flags(changed, *names))[0] == weights


def test_picture_without_latent_is_left_out_and_counted(paths: dict[str, Path], tmp_path: Path) -> None:
    latents = tables.read(paths["latents"], "latents")
    tables.write(tmp_path / "latents.parquet", "latents", latents[latents["id"] != "new0"])
    train(tmp_path, "stage1", tiny.flags(paths | {"latents": tmp_path / "latents.parquet"}, *SINGLES))
    facts = json.loads((tmp_path / "stage1" / "run.json").read_text())
    assert facts["examples_without_latent"] == 1


def test_mistakes_are_named_in_one_line(paths: dict[str, Path], tmp_path: Path) -> None:
    def refused(run: str, inputs: list[str], words: str, overlay: dict[str, Any] | None = None) -> None:
        with pytest.raises(UserError, match=words) as caught:
            train(tmp_path, run, inputs, overlay)
        assert "\n" not in str(caught.value)

    refused("stage9", tiny.flags(paths, *SINGLES), "no run 'stage9'.*stage1")
    refused("stage1", tiny.flags(paths, "latents", "texts", "first_stage"), "--singles is missing")
    refused(
        "alone", tiny.flags(paths, *(name for name in PAIRS if name != "prior_latents")), "--prior-latents is missing"
    )
    refused("stage2", tiny.flags(paths, *PAIRS), "--start is missing.*stage1")
    refused("alone", [*tiny.flags(paths, *PAIRS), "--start", str(tmp_path)], "leave the option out")
    refused("stage1", tiny.flags(paths, *SINGLES), "set prior: none", run_settings("stage1", prior="registered"))
    refused("stage2", [*tiny.flags(paths, *PAIRS), "--start", str(tmp_path / "nowhere")], "nowhere.*no diffusers UNet")
    other = [*tiny.flags(paths, *SINGLES, "texts")[:-1], str(tmp_path / "absent.parquet")]
    refused("stage1", other, "absent.parquet.*not there")


def test_diverged_training_stops(paths: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"loss is nan.*lower train.learning_rate"):
        train(tmp_path, "stage1", tiny.flags(paths, *SINGLES), {"train": {"learning_rate": 1e30}})
    assert not (tmp_path / "stage1").exists()


def test_damaged_checkpoint_is_named(paths: dict[str, Path], tmp_path: Path) -> None:
    from biomedjourney.train import checkpoint

    inputs, seen = tiny.flags(paths, *SINGLES), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", lambda folder, state: seen.append(folder))
        train(tmp_path, "stage1", inputs)
    seen[0].mkdir(parents=True)
    (seen[0] / checkpoint.FILE).write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"checkpoint is damaged.*delete"):
        train(tmp_path, "stage1", inputs)


def test_other_settings_or_inputs_do_not_meet_the_same_checkpoint(tmp_path: Path) -> None:
    from biomedjourney.train.checkpoint import folder

    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"1")
    second.mkdir()
    (second / "part").write_bytes(b"2")
    names = {folder(tmp_path, "run", {"steps": 1}, [first, second]), folder(tmp_path, "run", {"steps": 2}, [first])}
    names |= {folder(tmp_path, "run", {"steps": 1}, [first])}
    (second / "part").write_bytes(b"3")
    names |= {folder(tmp_path, "run", {"steps": 1}, [first, second])}
    assert len(names) == 4
