"""Published weights in each of their formats: loaded with their values, or named in one line with the remedy."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from biomedjourney import sampling
from biomedjourney.errors import UserError
from biomedjourney.pretrain import first_stage
from biomedjourney.train import model
from tests.helpers import tiny

PLAIN = "diffusion_pytorch_model.safetensors"
FORMATS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bin": {"safe_serialization": False},
    "fp16": {"variant": "fp16"},
    "fp16 bin": {"variant": "fp16", "safe_serialization": False},
    "shards": {"max_shard_size": "20KB"},
    "bin shards": {"max_shard_size": "20KB", "safe_serialization": False},
    "fp16 shards": {"max_shard_size": "10KB", "variant": "fp16"},
    "fp16 bin shards": {"max_shard_size": "10KB", "variant": "fp16", "safe_serialization": False},
    "other variant": {"variant": "non_ema"},
}


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "unet"
    built = model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, seed=0)
    built.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.first_stage(tmp_path_factory.mktemp("published") / "vae")


@pytest.fixture
def unet_copy(unet: Path, tmp_path: Path) -> Path:
    return shutil.copytree(unet, tmp_path / "unet")


def same(loaded: Any, expected: Any, *, half: bool) -> None:
    weights = loaded.state_dict()
    for name, value in expected.state_dict().items():
        assert weights[name].dtype == torch.float32
        assert torch.equal(weights[name], value.half().float() if half else value), name


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("part", ["unet", "vae"])
def test_every_format_is_loaded_in_float32(name: str, part: str, unet: Path, vae: Path, tmp_path: Path) -> None:
    source = {"unet": unet, "vae": vae}[part]
    published: Any = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}[part].from_pretrained(source)
    folder = tmp_path / "a folder é"
    half = "fp16" in name
    (published.half() if half else published).save_pretrained(folder, **FORMATS[name])
    assert (folder / PLAIN).exists() == (name == "plain")
    assert ("shards" in name) == (len(list(folder.iterdir())) > 3), "the format that the test is about"
    load: Callable[[Path], Any] = sampling.load_unet if part == "unet" else first_stage.load
    check: Callable[[Path], Any] = sampling.unet_config if part == "unet" else first_stage.check
    loaded = load(folder)
    same(loaded, load(source), half=half)
    ours = {key: value for key, value in loaded.config.items() if not key.startswith("_")}
    assert {key: value for key, value in check(folder).items() if not key.startswith("_")} == ours
    if part == "vae":
        first_stage.copy_published(folder, tmp_path / "out")
        same(first_stage.load(tmp_path / "out"), first_stage.load(vae), half=half)


def test_plain_weights_come_before_variants_and_safetensors_before_pickles(unet_copy: Path, unet: Path) -> None:
    zeros = {name: torch.zeros_like(value) for name, value in load_file(unet / PLAIN).items()}
    torch.save(zeros, unet_copy / "diffusion_pytorch_model.bin")
    for variant in ("fp16", "non_ema"):
        save_file(zeros, unet_copy / f"diffusion_pytorch_model.{variant}.safetensors")
    same(sampling.load_unet(unet_copy), sampling.load_unet(unet), half=False)
    shutil.move(unet_copy / PLAIN, unet_copy / "diffusion_pytorch_model.fp16.safetensors")
    (unet_copy / "diffusion_pytorch_model.bin").unlink()
    same(sampling.load_unet(unet_copy), sampling.load_unet(unet), half=False)
    shutil.move(
        unet_copy / "diffusion_pytorch_model.fp16.safetensors", unet_copy / "diffusion_pytorch_model.ema.safetensors"
    )
    with pytest.raises(UserError, match=r"unet: the UNet is there in several variants \(ema, non_ema\): keep one"):
        sampling.load_unet(unet_copy)


def test_a_pickle_cannot_run_code(unet_copy: Path, tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "harm",)

    (unet_copy / PLAIN).unlink()
    torch.save({"conv_in.weight": Harmful()}, unet_copy / "diffusion_pytorch_model.bin")
    for read in (sampling.load_unet, sampling.unet_config):
        with pytest.raises(UserError, match="unet: the UNet cannot be read") as refused:
            read(unet_copy)
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "harm").exists()


def without_a_weight(folder: Path) -> None:
    weights = load_file(folder / PLAIN)
    del weights["conv_in.weight"]
    save_file(weights, folder / PLAIN)


def without_a_shard(folder: Path) -> None:
    UNet2DConditionModel.from_pretrained(folder).save_pretrained(folder, max_shard_size="20KB")
    next(folder.glob("*-00002-of-*.safetensors")).unlink()


def without_the_index(folder: Path) -> None:
    UNet2DConditionModel.from_pretrained(folder).save_pretrained(folder, max_shard_size="20KB")
    (folder / f"{PLAIN}.index.json").unlink()
    (folder / PLAIN).unlink()


def as_transformers_names_it(folder: Path) -> None:
    shutil.move(folder / PLAIN, folder / "model.safetensors")


def a_link_to_nothing(folder: Path) -> None:
    (folder / PLAIN).unlink()
    (folder / PLAIN).symlink_to(folder / "blobs" / "none")


def under_other_names(folder: Path) -> None:
    save_file({f"model.{name}": value for name, value in load_file(folder / PLAIN).items()}, folder / PLAIN)


def of_another_model(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"block_out_channels": [32, 64]}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json: not a UNet"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json: not a UNet"),
        (lambda folder: (folder / "config.json").write_text("{}"), "not a UNet .it has no _class_name"),
        (
            lambda folder: (folder / PLAIN).unlink(),
            f"no {PLAIN} or .bin, nor an index of shards, beside config.json, but nothing",
        ),
        (as_transformers_names_it, "beside config.json, but model.safetensors"),
        (lambda folder: (folder / PLAIN).write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "git-lfs"),
        (lambda folder: (folder / PLAIN).write_bytes(b"half"), "the UNet cannot be read"),
        (without_a_weight, r"weights are missing: conv_in.weight, 1 in all"),
        (without_a_shard, "00002-of-"),
        (without_the_index, "nor an index of shards, .* but diffusion_pytorch_model-00001-of-"),
        (a_link_to_nothing, f"no {PLAIN} or .bin"),
        (of_another_model, "the UNet cannot be read .*size mismatch for .*shape"),
        (under_other_names, r"weights are missing: [\w.]+, \d+ in all"),
    ],
)
def test_what_is_missing_or_damaged_is_named_in_one_line(
    spoil: Callable[[Path], object], said: str, unet_copy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil(unet_copy)
    capfd.readouterr()
    for read in (sampling.load_unet, sampling.unet_config):
        with pytest.raises(UserError, match=rf"^{unet_copy}.*{said}.*: check the path, download it") as refused:
            read(unet_copy)
        assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", ""), "diffusers has its say"


def test_a_file_and_a_pipeline_in_place_of_the_folder_are_named(unet: Path, vae: Path, tmp_path: Path) -> None:
    pipeline = tmp_path / "stable-diffusion-v1-5"
    shutil.copytree(unet, pipeline / "unet")
    shutil.copytree(vae, pipeline / "vae")
    (pipeline / "model_index.json").write_text("{}")
    whole = tmp_path / "v1-5-pruned.ckpt"
    whole.touch()
    for load, part, inner in ((sampling.load_unet, "UNet", "unet"), (first_stage.load, "first stage", "vae")):
        for path, said in (
            (pipeline / inner / PLAIN, f"a file, but the {part} is a folder: give {pipeline / inner}$"),
            (pipeline, f"a whole pipeline, of which the {part} is one folder: give {pipeline / inner}$"),
            (whole, f"a file, but the {part} is a folder with config.json .*convert_original_stable_diffusion"),
        ):
            with pytest.raises(UserError, match=f"^{path}: {said}"):
                load(path)
