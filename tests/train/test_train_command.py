"""The real command on a tiny problem: outputs, stages, a kill and a resume, what it reads and what it refuses."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from diffusers import UNet2DConditionModel

from biomedjourney import arrays, config, tables
from biomedjourney.errors import UserError
from biomedjourney.train import checkpoint, model
from biomedjourney.train.command import command
from biomedjourney.train.run import seed_of_draws
from tests.helpers import tiny, training_jobs
from tests.helpers.fabricated import config_text
from tests.helpers.full_disk import files, largest_file

SHOWN = {"validate_every": None, "validation": {"examples": 1, "pictures": 0}, "tensorboard": True}
SINGLES = ("singles", "latents", "texts")
TRIPLES = ("triples", "prior_latents", "latents", "texts")


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
    assert facts["first_stage_scaling_factor"] == tiny.SCALING_FACTOR
    assert (tmp_path / "stage1" / "scheduler" / "scheduler_config.json").is_file()

    start = ["--start", str(tmp_path / "stage1")]
    second, course = train(tmp_path, "stage2", [*tiny.flags(paths, *TRIPLES), *start])
    assert set(course["stage"]) == {2}
    assert second != first
    continued, _ = train(tmp_path, "stage2", [*tiny.flags(paths, *TRIPLES), *start], run_settings("stage2", steps=0))
    assert continued == first


def test_another_training_seed_is_another_training_of_the_same_run(paths: dict[str, Path], tmp_path: Path) -> None:
    """It draws other weights to begin with, and from the same start other batches; each with checkpoints of its own."""
    inputs = tiny.flags(paths, *TRIPLES)
    untrained, _ = train(tmp_path, "untrained", inputs)
    assert untrained != train(tmp_path, "untrained", [*inputs, "--training-seed", "1"])[0]
    start = train(tmp_path, "stage1", tiny.flags(paths, *SINGLES))
    goes_on = [*inputs, "--start", str(tmp_path / "stage1")]
    first, course = train(tmp_path, "stage2", goes_on)
    assert set(course["training_seed"]) == {0}
    words = arguments(tmp_path, "stage2", [*goes_on, "--training-seed", "1"])
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert re.search(r"^stage2\.1: \d+ examples of \d+, .* on cpu$", result.stderr, re.MULTILINE), (
        "not from a checkpoint"
    )
    second = (tmp_path / "stage2" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    assert second not in (first, start[0])
    course = tables.read(tmp_path / "stage2.parquet", "training")
    assert (set(course["run"]), set(course["training_seed"])) == ({"stage2"}, {1})
    assert json.loads((tmp_path / "stage2" / "run.json").read_text())["training_seed"] == 1
    kept = {path.name.partition("-")[0] for path in (tmp_path / "checkpoints").glob("stage2*")}
    assert kept == {"stage2", "stage2.1"}
    assert train(tmp_path / "elsewhere", "stage2", [*goes_on, "--training-seed", "1"])[0] == second
    assert train(tmp_path / "elsewhere", "stage2", [*goes_on, "--training-seed", "0"])[0] == first


def test_how_often_runs_are_trained_decides_nothing_for_one_of_them(paths: dict[str, Path], tmp_path: Path) -> None:
    train(tmp_path, "alone", tiny.flags(paths, *TRIPLES))
    words = arguments(tmp_path, "alone", tiny.flags(paths, *TRIPLES), {"train": {"seeds": 5}})
    assert "from step 6" in CliRunner().invoke(command, words, catch_exceptions=False).stderr


def test_training_seed_0_draws_by_the_seed_of_the_configuration() -> None:
    assert [seed_of_draws(seed, 0) for seed in (0, 7)] == [0, 7]
    assert len({seed_of_draws(seed, training_seed) for seed in (0, 1) for training_seed in range(5)}) == 10


def run_settings(run: str, **changed: Any) -> dict[str, Any]:
    return {"train": {"runs": {run: changed}}}


def test_run_of_no_steps_gives_the_untrained_model(paths: dict[str, Path], tmp_path: Path) -> None:
    _, course = train(tmp_path, "untrained", tiny.flags(paths, *TRIPLES))
    assert course["step"].tolist() == [0]
    assert course["loss"].isna().all()
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "untrained" / "unet")
    assert not unet.conv_in.weight[:, tiny.SHAPE[0] :].any(), "training has changed the weights of the prior from zero"


def test_kill_and_resume_give_the_same_weights_bit_for_bit(paths: dict[str, Path], tmp_path: Path) -> None:
    inputs = tiny.flags(paths, *TRIPLES)
    whole, course = train(tmp_path / "whole", "alone", inputs)
    killed = tmp_path / "killed"
    words = arguments(killed, "alone", inputs)
    program = [sys.executable, "-c", training_jobs.WAITS_AT_STEP_4, "train", *words]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "step 4\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "alone").exists()

    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert "from step 2\n" in result.stderr
    assert (killed / "alone" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == whole
    resumed = tables.read(killed / "alone.parquet", "training")
    learned = ["run", "step", "stage", "images_seen", "loss", "learning_rate"]
    pd.testing.assert_frame_equal(resumed[learned], course[learned], check_exact=True)


@pytest.mark.parametrize(("run", "file"), [("alone", "state-2.pt"), ("untrained", "untrained")])
def test_a_full_disk_is_one_line_and_nothing_half_written(
    run: str, file: str, paths: dict[str, Path], tmp_path: Path
) -> None:
    """In the middle of the run, where the checkpoint is written, and at its end."""
    with largest_file(20_000), pytest.raises(UserError, match=rf"/{file}: cannot be written \(.*space left in /"):
        train(tmp_path, run, tiny.flags(paths, *TRIPLES))
    assert {Path(name).match("*/training/*.parquet") for name in files(tmp_path)} <= {True}


def test_the_examples_lie_in_files_while_the_run_goes_on_and_change_nothing(
    paths: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = tiny.flags(paths, *TRIPLES)
    expected, _ = train(tmp_path / "in-memory", "alone", inputs)
    assert not (tmp_path / "in-memory" / "checkpoints" / "alone-examples").exists()
    monkeypatch.setattr(arrays, "WORTH_A_FILE", 0)
    save, seen = checkpoint.save, []

    def save_and_look(*state: Any) -> None:
        seen.append({name.partition("-")[0] for name in files(tmp_path / "checkpoints" / "alone-examples")})
        save(*state)

    monkeypatch.setattr(checkpoint, "save", save_and_look)
    mapped, _ = train(tmp_path, "alone", inputs)
    assert mapped == expected
    assert seen == [{"mean", "std", "states"}] * 3
    assert not (tmp_path / "checkpoints" / "alone-examples").exists()


def test_a_run_that_fails_leaves_no_examples_behind(
    paths: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "WORTH_A_FILE", 0)
    with largest_file(1_000), pytest.raises(UserError, match=r"alone-examples/mean-\w+\.npy: cannot be written \("):
        train(tmp_path, "alone", tiny.flags(paths, *TRIPLES))
    assert files(tmp_path) == set()


def test_only_accepted_training_triples_are_learned(paths: dict[str, Path], tmp_path: Path) -> None:
    train(tmp_path, "alone", tiny.flags(paths, *TRIPLES))
    facts = json.loads((tmp_path / "alone" / "run.json").read_text())
    triples = tables.read(paths["triples"], "triples")
    training = triples[triples["split"] == "train"]
    assert facts["examples"] == training["accepted"].sum() < len(training)


def test_a_run_in_both_directions_learns_from_backward_triples_too(paths: dict[str, Path], tmp_path: Path) -> None:
    inputs = tiny.flags(paths, *TRIPLES)
    inputs += ["--triples", str(paths["backward_triples"]), "--prior-latents", str(paths["backward_priors"])]
    both, _ = train(tmp_path, "both-ways", inputs)
    facts = json.loads((tmp_path / "both-ways" / "run.json").read_text())
    triples = [tables.read(paths[name], "triples") for name in ("triples", "backward_triples")]
    assert facts["examples"] == sum(rows.query("split == 'train'")["accepted"].sum() for rows in triples)
    forward, _ = train(tmp_path, "alone", inputs)
    assert json.loads((tmp_path / "alone" / "run.json").read_text())["examples"] < facts["examples"]
    assert forward != both


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").glob("*/state-*.pt"))


CONSTANT = {"decay": 0.0}


def with_steps(run: str, steps: int, **train_settings: Any) -> dict[str, Any]:
    return {"train": {**train_settings, "runs": {run: {"steps": steps}}}}


def test_a_run_of_constant_rate_can_be_extended_and_shortened(paths: dict[str, Path], tmp_path: Path) -> None:
    inputs = tiny.flags(paths, *TRIPLES)
    whole, _ = train(tmp_path / "whole", "alone", inputs, with_steps("alone", 8, **CONSTANT))
    first, _ = train(tmp_path, "alone", inputs, with_steps("alone", 4, **CONSTANT))
    assert checkpoints(tmp_path) == ["state-4.pt"]
    words = arguments(tmp_path, "alone", inputs, with_steps("alone", 8, **CONSTANT))
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert "from step 4" in result.stderr
    assert (tmp_path / "alone" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == whole != first
    assert checkpoints(tmp_path) == ["state-8.pt"]
    shorter, _ = train(tmp_path, "alone", inputs, with_steps("alone", 4, **CONSTANT))
    assert shorter == first
    assert checkpoints(tmp_path) == ["state-4.pt", "state-8.pt"]


def test_a_run_whose_rate_falls_starts_anew_when_its_steps_change_and_says_so(
    paths: dict[str, Path], tmp_path: Path
) -> None:
    inputs = tiny.flags(paths, *TRIPLES)

    def said(steps: int, **train_settings: Any) -> str:
        words = arguments(tmp_path, "alone", inputs, with_steps("alone", steps, **train_settings))
        return CliRunner().invoke(command, words, catch_exceptions=False).stderr

    assert "starts anew" not in said(4)
    printed = said(8)
    assert "from step" not in printed
    assert re.search(r"^alone: starts anew, not from the checkpoint in \S+-4: .*train.decay.*decay: 0", printed, re.M)
    assert "starts anew" not in said(8), "its own checkpoint is there now"
    assert "starts anew" not in said(6, learning_rate=0.5), "another run's checkpoint could not be expected to serve"


def test_a_checkpoint_beyond_the_steps_of_a_run_is_named(paths: dict[str, Path], tmp_path: Path) -> None:
    inputs = tiny.flags(paths, *TRIPLES)
    train(tmp_path, "alone", inputs, with_steps("alone", 8, **CONSTANT))
    words = arguments(tmp_path, "alone", inputs, with_steps("alone", 3, **CONSTANT))
    printed = CliRunner().invoke(command, words, catch_exceptions=False).stderr
    assert re.search(r"^alone: starts anew, .*saved after 8 steps, and the run has 3$", printed, re.M)
    assert checkpoints(tmp_path) == ["state-3.pt", "state-8.pt"]


def test_intervals_and_speed_do_not_throw_a_checkpoint_away(paths: dict[str, Path], tmp_path: Path) -> None:
    inputs = tiny.flags(paths, *TRIPLES)
    first, _ = train(tmp_path, "alone", inputs)
    changed = {"log_every": 3, "checkpoint_every": 5, "micro_batch_size": 2, "gradient_checkpointing": True}
    words = arguments(tmp_path, "alone", inputs, {"train": changed | SHOWN | {"compile": True, "deterministic": True}})
    assert "from step 6" in CliRunner().invoke(command, words, catch_exceptions=False).stderr
    assert (tmp_path / "alone" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == first


@pytest.mark.parametrize("run", ["alone", "stage1"])
def test_nothing_is_learned_from_validation_and_test_patients(paths: dict[str, Path], tmp_path: Path, run: str) -> None:
    names = SINGLES if run == "stage1" else TRIPLES
    weights, _ = train(tmp_path / "given", run, tiny.flags(paths, *names))
    changed = dict(paths)
    singles = tables.read(paths["singles"], "singles")
    triples = tables.read(paths["triples"], "triples")
    elsewhere = {
        *singles.loc[singles["split"] != "train", "dicom_id"],
        *triples.loc[triples["split"] != "train", "pair_id"],
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
    refused("stage1", tiny.flags(paths, "latents", "texts"), "--singles is missing")
    refused(
        "alone", tiny.flags(paths, *(name for name in TRIPLES if name != "prior_latents")), "--prior-latents is missing"
    )
    refused("stage2", tiny.flags(paths, *TRIPLES), "--start is missing.*stage1")
    refused("alone", [*tiny.flags(paths, *TRIPLES), "--start", str(tmp_path)], "leave the option out")
    refused("stage1", tiny.flags(paths, *SINGLES), "set prior: none", run_settings("stage1", prior="registered"))
    refused(
        "stage2",
        [*tiny.flags(paths, *TRIPLES), "--start", str(tmp_path / "nowhere")],
        "nowhere.*config.json: not a UNet",
    )
    for key, value, said in (
        ("sample_size", 64, "8 channels, latents of side 64 and text states of width 16, .* have 8, 8 and 16"),
        ("in_channels", 4, "4 channels, latents of side 8"),
        ("encoder_hid_dim", 20, "text states of width 20"),
    ):
        start = tmp_path / f"of-another-{key}"
        unet = UNet2DConditionModel.from_config(model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, 0).config | {key: value})
        unet.save_pretrained(start / "unet")
        refused("stage2", [*tiny.flags(paths, *TRIPLES), "--start", str(start)], f"^{start}: a UNet for .*{said}")
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
    seen[0].mkdir(parents=True, exist_ok=True)
    (seen[0] / "state-2.pt").write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"checkpoint is damaged.*delete"):
        train(tmp_path, "stage1", inputs)


def test_a_state_with_a_changed_bit_and_that_of_another_run_are_named(tmp_path: Path) -> None:
    import torch

    from biomedjourney.train import checkpoint

    own, others = tmp_path / "stage1-0123", tmp_path / "stage2-4567"
    state = dict.fromkeys(checkpoint.PARTS, 0) | {"step": 4, "unet": torch.arange(5000.0)}
    checkpoint.save(own, state)
    assert checkpoint.read(own / "state-4.pt")["unet"][4999] == 4999
    others.mkdir()
    (others / "state-4.pt").write_bytes((own / "state-4.pt").read_bytes())
    with pytest.raises(UserError, match=r"state-4.pt: the checkpoint is damaged \(.*it is of stage1-0123\): delete it"):
        checkpoint.load(others, 9)
    content = bytearray((own / "state-4.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (own / "state-4.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"state-4.pt: the checkpoint is damaged \(.*does not fit its checksum\)"):
        checkpoint.load(own, 9)
    del state["rows"]
    checkpoint.save(own, state)
    with pytest.raises(UserError, match=r"state-4.pt: the checkpoint is damaged \(.*it has no rows\): delete it"):
        checkpoint.load(own, 9)


def test_the_key_of_a_checkpoint_holds_what_decides_what_is_learned(tmp_path: Path) -> None:
    from biomedjourney.train.checkpoint import folder

    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"1")
    second.mkdir()
    (second / "part").write_bytes(b"2")

    def name(inputs: list[Path], steps: int = 1, learning_rate: float = 0.1, **train_settings: Any) -> Path:
        train = {"decay": 0.5, "log_every": 1, "learning_rate": learning_rate} | train_settings
        return folder(tmp_path, "run", {"train": train, "run": {"steps": steps}}, inputs)

    distinct = {name([first, second]), name([first]), name([first], steps=2), name([first], learning_rate=0.2)}
    distinct |= {name([first], decay=0.0)}
    (second / "part").write_bytes(b"3")
    distinct |= {name([first, second])}
    assert len(distinct) == 6
    assert name([first], log_every=7, checkpoint_every=9, micro_batch_size=3, compile=True, **SHOWN) == name([first])
    assert name([first], precision="bf16") != name([first])
    assert name([first], decay=0.0, steps=2) == name([first], decay=0.0)
