"""The check of whole pipelines: what is missing, damaged or unfit is one line before anything runs."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from biomedjourney import config, pipelines
from biomedjourney import published as parts_of
from biomedjourney.cli import commands
from biomedjourney.errors import UserErrors
from tests.helpers import fabricated, published

KEY = "systems.instruct-pix2pix.pipeline"
PRIOR = {"prior": "registered", "text": "description"}
ENCODER = "text_encoder/model.safetensors"
LOADED = {
    "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", ENCODER,
    "tokenizer/merges.txt", "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
}  # fmt: skip

NEEDED = (
    *("model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", ENCODER),
    *("tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "unet/config.json", "vae/config.json"),
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published.pipeline(tmp_path_factory.mktemp("weights") / "pipeline", prior=True)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "weights" / "ip2p")


def settings(folder: Path, **own: Any) -> str:
    return fabricated.config_text(systems={"instruct-pix2pix": PRIOR | {"pipeline": str(folder)} | own})


def check(text: str, out: Path) -> Any:
    words = ["pretrain", "check", "--config", text, "--out", str(out)]
    CliRunner().invoke(commands, words, catch_exceptions=False)
    return json.loads(out.read_text())


def test_a_whole_folder_passes_and_is_described(original: Path, tmp_path: Path) -> None:
    described = check(settings(original), tmp_path / "checked.json")[KEY]
    assert described == {
        "path": str(original), "pipeline": published.INSTRUCT, "scheduler": "EulerAncestralDiscreteScheduler",
        "text_encoder": "CLIPTextModel", "tokens": 77, "side": 64,
    }  # fmt: skip
    assert check(settings(original, size=32), tmp_path / "checked.json")[KEY]["side"] == 32


def test_the_files_that_are_loaded_are_the_inputs(original: Path) -> None:
    """Neither the safety checker nor a checkpoint that lies beside them."""
    read = config.load([settings(original)], "prefetch")
    [part] = parts_of.parts(read)
    assert {path.relative_to(original).as_posix() for path in parts_of.files(part)} == LOADED
    there = pipelines.names(original)
    assert "v1-5-pruned.ckpt" in there
    more = [
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/pytorch_model.bin",
        "tokenizer/tokenizer.json",
    ]
    assert set(pipelines.files("here", [*there, *more])) == LOADED | {"tokenizer/tokenizer.json"}


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def with_values(name: str, **values: Any) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return spoil


def cut_off(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def without_a_weight(folder: Path) -> None:
    found = load_file(folder / ENCODER)
    del found["text_model.final_layer_norm.bias"]
    save_file(found, folder / ENCODER)


def with_another_shape(folder: Path) -> None:
    found = load_file(folder / ENCODER)
    save_file(found | {"text_model.final_layer_norm.bias": torch.zeros(5)}, folder / ENCODER)


def pointer(folder: Path) -> None:
    (folder / ENCODER).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def with_encoder(**sizes: Any) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        for part in ("text_encoder", "tokenizer"):
            shutil.rmtree(folder / part)
        published.clip(folder, **sizes)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        *((remove(name), f"ip2p: a pipeline without {re.escape(name)}: download the whole folder, or run")
          for name in NEEDED),
        (remove("tokenizer/merges.txt"), "a pipeline without tokenizer/vocab.json"),
        (remove("unet/diffusion_pytorch_model.safetensors"), "ip2p/unet: the UNet cannot be read"),
        (cut_off(ENCODER), "text encoder or tokenizer cannot be read .*SafetensorError"),
        (pointer, "text encoder or tokenizer cannot be read .*git lfs pull"),
        (cut_off("tokenizer/vocab.json"), "text encoder or tokenizer cannot be read"),
        (cut_off("unet/diffusion_pytorch_model.safetensors"), "unet: the UNet cannot be read"),
        (cut_off("model_index.json"), "model_index.json: cannot be read"),
        (without_a_weight, r"weights are missing or of another shape \(final_layer_norm.bias, 1 in all\)"),
        (with_another_shape, r"weights are missing or of another shape \(final_layer_norm.bias, 1 in all\)"),
        (with_encoder(width=64), "a UNet for text states of width 32, but the text encoder's have 64"),
        (with_values("model_index.json", _class_name="StableDiffusionXLPipeline"), "a StableDiffusionXLPipeline ca"),
        (with_values("model_index.json", _class_name="StableDiffusionPipeline"), "but the system has prior registered"),
        (with_values("model_index.json", text_encoder=["mine", "Encoder"]), "text_encoder is .* expected a class of"),
        (with_values("model_index.json", text_encoder=["transformers", "Nothing"]), "cannot be read .*Nothing"),
        (with_values("scheduler/scheduler_config.json", _class_name="DPMSolverSDEScheduler"), "SDEScheduler cannot"),
        (with_values("scheduler/scheduler_config.json", _class_name=None), "a none cannot be used: give one of DDIM"),
        (with_values("unet/config.json", in_channels=4), "the UNet cannot be read .*conv_in.weight"),
        (shutil.rmtree, "ip2p: missing: give the path of your copy, or run biomedjourney prefetch"),
    ],
)  # fmt: skip
def test_a_faulty_folder_is_one_line(spoil: Callable[[Path], object], said: str, folder: Path, tmp_path: Path) -> None:
    spoil(folder)
    with pytest.raises(UserErrors) as errors:
        check(settings(folder), tmp_path / "checked.json")
    [line] = str(errors.value).splitlines()
    assert line.startswith(f"configuration, {KEY}: ")
    assert re.search(said, line), line
    assert "Traceback" not in line


def test_names_alone_tell_the_workflow_what_is_missing(folder: Path) -> None:
    """What the Snakefile asks before it makes a plan: nothing large is read."""
    read = config.load([settings(folder)], "prefetch")
    assert parts_of.faults(read) == []
    remove("tokenizer/vocab.json")(folder)
    [line] = parts_of.faults(read)
    assert line == (
        f"configuration, {KEY}: {folder}: a pipeline without tokenizer/vocab.json: "
        "download the whole folder, or run biomedjourney prefetch"
    )
