"""The check of the published parts: what is whole and fits passes, and each faulty part is named in its own line."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchxrayvision as xrv
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from biomedjourney import published as parts_of
from biomedjourney.cli import commands
from biomedjourney.errors import UserErrors
from tests.helpers import fabricated, published

PLAIN = "diffusion_pytorch_model.safetensors"
PINNED = "0123456789" * 4
RUN: dict[str, Any] = {
    "data": "triples", "start": None, "prior": "registered", "writer": "rules", "text": "description",
    "directions": ["forward"], "steps": 2, "batch_size": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    published.vae(folder / "vae", files=("safetensors",))
    published.unet(folder / "unet")
    published.unet(folder / "instruct-pix2pix", published.INSTRUCT_PIX2PIX)
    published.biomedclip(folder / "biomedclip")
    published.torchxrayvision(folder / "judges")
    return folder


@pytest.fixture
def folder(originals: Path, tmp_path: Path) -> Path:
    """A copy of the parts to spoil, without the judges, which are larger."""
    return shutil.copytree(originals, tmp_path / "weights", ignore=shutil.ignore_patterns("judges"))


def settings(folder: Path, judges: dict[str, Path] | None = None, **overlay: Any) -> str:
    weights = {part: {"weights": str(folder / name)} for part, name in PARTS.items()}
    weights["judges"] = {"weights": judges and {kind: str(path) for kind, path in judges.items()}}
    base: dict[str, Any] = {
        "text": {"max_tokens": 16},
        "pretrain": weights,
        "diffusion": {"unet": {"weights": str(folder / "unet")}},
        "train": {"runs": {"pix2pix": RUN | {"weights": str(folder / "instruct-pix2pix")}}},
    }
    return fabricated.config_text(**parts_of.config.merge(base, overlay))


PARTS = {"first_stage": "vae", "text_tower": "biomedclip"}


def check(config: str, out: Path) -> str:
    words = ["pretrain", "check", "--config", config, "--out", str(out)]
    return CliRunner().invoke(commands, words, catch_exceptions=False).output


def faults(config: str, out: Path) -> list[str]:
    """The lines that the user reads."""
    with pytest.raises(UserErrors) as errors:
        check(config, out)
    assert not out.exists()
    return f"error: {errors.value}".splitlines()


def test_whole_parts_that_fit_pass_and_are_described(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "models" / "checked.json"
    judges = {kind: originals / "judges" / name for kind, name in JUDGES.items()}
    said = check(settings(originals, judges), out)
    found = json.loads(out.read_text())
    assert list(found) == [line.split(":")[0] for line in said.splitlines()]
    assert found["pretrain.first_stage.weights"] == {
        "path": str(originals / "vae"), "latent_channels": 4, "latent_side": 16,
    }  # fmt: skip
    assert found["pretrain.text_tower.weights"]["width"] == published.TEXT_WIDTH
    for key, channels in (("diffusion.unet.weights", 4), ("train.runs.pix2pix.weights", 8)):
        assert found[key]["in_channels"] == channels
        assert (found[key]["published_for_side"], found[key]["used_for_side"]) == (64, 16)
    assert {found[f"pretrain.judges.weights.{kind}"]["judge"] for kind in JUDGES} == set(JUDGES)


def test_the_second_judges_are_checked_too(originals: Path, tmp_path: Path) -> None:
    shutil.copytree(originals / "judges", tmp_path / "judges")
    (tmp_path / "judges" / JUDGES["race"]).write_bytes(b"half")
    weights = {kind: str(tmp_path / "judges" / name) for kind, name in JUDGES.items()}
    config = fabricated.config_text(pretrain={"second_judges": {"weights": weights}})
    [line] = faults(config, tmp_path / "checked.json")
    assert line.startswith(f"error: configuration, pretrain.second_judges.weights.race: {weights['race']}: the weights")


JUDGES = {"pathology": published.PATHOLOGY, "race": published.RACE, "age": published.AGE}


def test_without_weights_there_is_nothing_to_check_and_torch_is_not_imported(tmp_path: Path) -> None:
    words = ["pretrain", "check", "--config", fabricated.config_text(), "--out", str(tmp_path / "checked.json")]
    code = f"import sys; from biomedjourney.cli import commands; commands({words!r}, standalone_mode=False); "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert json.loads((tmp_path / "checked.json").read_text()) == {}


def unet_of(**config: Any) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        shutil.rmtree(folder / "unet")
        published.unet(folder / "unet", published.UNET | config)

    return spoil


def with_config(name: str, **values: Any) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return spoil


def cut_off(name: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) - 100])

    return spoil


def as_pipeline(folder: Path) -> None:
    shutil.move(folder / "unet", folder / "inner")
    (folder / "unet").mkdir()
    shutil.move(folder / "inner", folder / "unet" / "unet")
    (folder / "unet" / "model_index.json").write_text("{}")


def as_file(name: str, inner: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        data = (folder / name / inner).read_bytes()
        shutil.rmtree(folder / name)
        (folder / name).write_bytes(data)

    return spoil


def another(name: str) -> Callable[[Path], object]:
    """Another part in place of the UNet."""

    def spoil(folder: Path) -> None:
        shutil.rmtree(folder / "unet")
        shutil.copytree(folder / name, folder / "unet")

    return spoil


def with_other_shape(folder: Path) -> None:
    weights = load_file(folder / "unet" / PLAIN)
    weights["conv_out.bias"] = torch.zeros(5)
    save_file(weights, folder / "unet" / PLAIN)


def vae_of(**config: Any) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        shutil.rmtree(folder / "vae")
        published.vae(folder / "vae", ("safetensors",), published.VAE | config)

    return spoil


DEEP = {
    "block_out_channels": [8] * 6, "down_block_types": ["DownEncoderBlock2D"] * 6,
    "up_block_types": ["UpDecoderBlock2D"] * 6,
}  # fmt: skip
UNET, FIRST_STAGE, TEXT = "diffusion.unet.weights", "pretrain.first_stage.weights", "pretrain.text_tower.weights"


@pytest.mark.parametrize(
    ("spoil", "key", "said"),
    [
        (unet_of(in_channels=9), UNET, "from 9 to 4 channels does not fit latents of 4 channels"),
        (unet_of(out_channels=8), UNET, "from 4 to 8 channels does not fit latents of 4 channels"),
        (unet_of(encoder_hid_dim=40, encoder_hid_dim_type="text_proj"), UNET, "width 40, but the texts have 24"),
        (unet_of(num_class_embeds=3), UNET, "needs other conditions than a text and a prior image"),
        (unet_of(cross_attention_dim=[16, 32]), UNET, "needs other conditions than a text and a prior image"),
        (with_config("unet/config.json", in_channels=8), UNET, "cannot be read .*conv_in.weight"),
        (with_config("unet/config.json", cross_attention_dim=768), UNET, "size mismatch .*attn2.to_k.weight"),
        (with_config("unet/config.json", block_out_channels=[32]), UNET, "the UNet cannot be read"),
        (with_config("unet/config.json", _class_name="UNet3DConditionModel"), UNET, "is not a UNet"),
        (with_other_shape, UNET, "size mismatch for conv_out.bias"),
        (cut_off(f"unet/{PLAIN}"), UNET, "the UNet cannot be read .*SafetensorError"),
        (lambda folder: (folder / "unet" / PLAIN).unlink(), UNET, "no diffusion_pytorch_model.safetensors or .bin"),
        (lambda folder: (folder / "unet" / "config.json").unlink(), UNET, "config.json: not a UNet"),
        (lambda folder: shutil.rmtree(folder / "unet"), UNET, "unet: missing: give the path of your copy, or run"),
        (as_pipeline, UNET, r"a whole pipeline, .*: give \S+/unet/unet$"),
        (as_file("unet", PLAIN), UNET, "a file, but the UNet is a folder"),
        (another("vae"), UNET, "a AutoencoderKL is not a UNet"),
        (another("biomedclip"), UNET, "config.json: not a UNet"),
        (cut_off(f"instruct-pix2pix/{PLAIN}"), "train.runs.pix2pix.weights", "the UNet cannot be read"),
        (cut_off(f"vae/{PLAIN}"), FIRST_STAGE, "the first stage cannot be read .*SafetensorError"),
        (lambda folder: (folder / "vae" / "config.json").write_text("{"), FIRST_STAGE, "not a first stage"),
        (as_file("vae", PLAIN), FIRST_STAGE, "a file, but the first stage is a folder"),
        (as_file("biomedclip", "open_clip_pytorch_model.bin"), TEXT, "a file, but a folder in BiomedCLIP's format"),
        (cut_off("biomedclip/open_clip_pytorch_model.bin"), TEXT, "not a text tower in BiomedCLIP's format"),
        (
            lambda folder: (folder / "biomedclip" / "tokenizer_config.json").unlink(),
            TEXT,
            "tokenizer_config.json: missing",
        ),
        (
            lambda folder: (folder / "biomedclip" / "config.json").write_text('{"hidden_size": 36}'),
            TEXT,
            "config.json: hidden_size is 36, but the weights .* have 24",
        ),
        (with_config("biomedclip/open_clip_config.json", model_cfg={}), TEXT, "open_clip_config.json: cannot be read"),
    ],
)  # fmt: skip
def test_a_faulty_part_is_one_line(
    spoil: Callable[[Path], object], key: str, said: str, folder: Path, tmp_path: Path
) -> None:
    spoil(folder)
    [line] = faults(settings(folder), tmp_path / "checked.json")
    assert line.startswith(f"error: configuration, {key}: {folder}")
    assert re.search(said, line)


@pytest.mark.parametrize(
    ("spoil", "overlay", "said"),
    [
        (lambda folder: None, {"text": {"max_tokens": 41}}, "text.max_tokens: 41 is more than the 40 of "),
        (vae_of(**DEEP), {"preprocess": {"size": 48}}, "preprocess.size: pictures of 48 pixels, .* multiple of 32"),
    ],
)
def test_a_setting_that_does_not_fit_the_parts_is_named(
    spoil: Callable[[Path], object], overlay: dict[str, Any], said: str, folder: Path, tmp_path: Path
) -> None:
    spoil(folder)
    [line] = faults(settings(folder, **overlay), tmp_path / "checked.json")
    assert re.search(f"^error: configuration, {said}", line)


def test_latents_of_another_first_stage_are_named_for_every_unet(folder: Path, tmp_path: Path) -> None:
    vae_of(latent_channels=8)(folder)
    lines = faults(settings(folder), tmp_path / "checked.json")
    assert [line.split(": ")[1] for line in lines] == [
        f"configuration, {UNET}",
        "configuration, train.runs.pix2pix.weights",
    ]
    assert all("does not fit latents of 8 channels" in line for line in lines)


def test_parts_that_are_trained_here_must_fit_the_published_ones(folder: Path, tmp_path: Path) -> None:
    """The miniature's first stage has latents of 4 channels, and its text tower the configured width."""
    own = {"pretrain": {part: {"weights": None} for part in ("first_stage", "text_tower")}}
    check(settings(folder, **own), tmp_path / "checked.json")
    assert json.loads((tmp_path / "checked.json").read_text())[UNET]["used_for_side"] == 16
    (tmp_path / "checked.json").unlink()
    unet_of(encoder_hid_dim=24, encoder_hid_dim_type="text_proj")(folder)
    own["pretrain"]["text_tower"]["width"] = 36
    [line] = faults(settings(folder, **own), tmp_path / "checked.json")
    assert "text states of width 24, but the texts have 36" in line


def test_all_faulty_parts_are_named_at_once(folder: Path, originals: Path, tmp_path: Path) -> None:
    cut_off(f"unet/{PLAIN}")(folder)
    cut_off(f"vae/{PLAIN}")(folder)
    (folder / "biomedclip" / "tokenizer.json").unlink()
    (folder / "biomedclip" / "vocab.txt").unlink()
    judges = {kind: tmp_path / name for kind, name in JUDGES.items()}
    lines = faults(settings(folder, judges), tmp_path / "checked.json")
    kinds = [f"pretrain.judges.weights.{kind}" for kind in JUDGES]
    assert [line.split(": ")[1] for line in lines] == [
        f"configuration, {key}" for key in (FIRST_STAGE, TEXT, *kinds, UNET)
    ]
    assert all(line.startswith("error: ") for line in lines)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"pathology": "race", "race": "pathology"}, ["pathology", "race"]),  # swapped in the configuration
        ({"race": "age", "age": "race"}, ["race", "age"]),
    ],
)
def test_judges_with_each_other_s_names_are_named(
    files: dict[str, str], said: list[str], originals: Path, tmp_path: Path
) -> None:
    judges = {kind: originals / "judges" / JUDGES[files.get(kind, kind)] for kind in JUDGES}
    lines = faults(settings(originals, judges), tmp_path / "checked.json")
    for line, kind in zip(lines, said, strict=True):
        expected = f"torchxrayvision has no weights of {kind} with this name: expected a file named"
        assert f"pretrain.judges.weights.{kind}: {judges[kind]}: {expected}" in line


def only(kind: str, path: Path) -> dict[str, Any]:
    """A configuration whose one published part is a judge; the others are not checked again."""
    judges = {other: str(path.parent / name) for other, name in JUDGES.items()} | {kind: str(path)}
    return {"pretrain": {"judges": {"weights": judges}}}


@pytest.mark.parametrize(
    ("kind", "other"), [("pathology", "race"), ("race", "age"), ("age", "race"), ("race", "pathology")]
)
def test_a_judge_with_the_contents_of_another_is_named(kind: str, other: str, originals: Path, tmp_path: Path) -> None:
    shutil.copytree(originals / "judges", tmp_path / "judges")
    shutil.copy(originals / "judges" / JUDGES[other], tmp_path / "judges" / JUDGES[kind])
    config = fabricated.config_text(**only(kind, tmp_path / "judges" / JUDGES[kind]))
    [line] = faults(config, tmp_path / "checked.json")
    assert line.startswith(
        f"error: configuration, pretrain.judges.weights.{kind}: {tmp_path / 'judges' / JUDGES[kind]}: "
    )
    assert "cannot be read" in line


def test_a_judge_that_gives_other_values_or_knows_too_little_is_named(originals: Path, tmp_path: Path) -> None:
    shutil.copytree(originals / "judges", tmp_path / "judges")
    age = tmp_path / "judges" / published.AGE
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 7, stride=8), torch.nn.AdaptiveAvgPool2d(1))
    torch.jit.script(network.eval()).save(str(age))
    race = tmp_path / "judges" / published.RACE
    race.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    config = fabricated.config_text(**only("age", age), labels={"findings": ["edema", "support_devices"]})
    pathology_line, race_line, age_line = faults(config, tmp_path / "checked.json")
    assert "does not know 'support_devices' of labels.findings; it knows atelectasis" in pathology_line
    assert "a pointer of git-lfs" in race_line
    assert "not the judge of age: for one picture it gives values of shape (1, 1, 1) in place of (1,)" in age_line


def test_the_segmenter_is_checked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network takes the place of the published one, which is large and has its own test."""
    networks = {"right": torch.nn.Conv2d(3, 14, 1), "wrong": torch.nn.Conv2d(3, 13, 1)}
    monkeypatch.setattr(xrv.baseline_models.chestx_det, "pspnet", lambda classes: torch.nn.Conv2d(3, classes, 1))
    files = {name: published.segmenter(tmp_path / name, network) for name, network in networks.items()}
    configs = {name: fabricated.config_text(pretrain={"segmenter": {"weights": str(p)}}) for name, p in files.items()}
    assert check(configs["right"], tmp_path / "checked.json").startswith("pretrain.segmenter.weights: path ")
    assert json.loads((tmp_path / "checked.json").read_text())["pretrain.segmenter.weights"]["judge"] == "organs"
    (tmp_path / "checked.json").unlink()
    [line] = faults(configs["wrong"], tmp_path / "checked.json")
    assert line.startswith(f"error: configuration, pretrain.segmenter.weights: {files['wrong']}: the weights cannot be")


def test_a_fetched_part_must_be_as_recorded(folder: Path, tmp_path: Path) -> None:
    """The record lies beside the folder; the size alone is compared, since the check is to be quick."""
    weights = folder / "unet" / PLAIN
    record = parts_of.record_path(folder / "unet")
    files = {PLAIN: {"size": weights.stat().st_size, "sha256": "0" * 64}}
    record.write_text(json.dumps({"source": "https://hub/x/y", "revision": PINNED, "files": files}))
    pinned = {"x/y": {"revision": PINNED, "folder": str(folder)}}
    said = check(settings(folder, prefetch=pinned), tmp_path / "checked.json")
    assert "https://hub/x/y" in said
    (tmp_path / "checked.json").unlink()
    other = {"x/y": {"revision": "f" * 40, "folder": str(folder)}}
    [line] = faults(settings(folder, prefetch=other), tmp_path / "checked.json")
    assert f"fetched at revision {PINNED}, but prefetch says {'f' * 40} of x/y" in line
    files[PLAIN]["size"] += 1
    record.write_text(json.dumps({"source": "https://hub/x/y", "revision": PINNED, "files": files}))
    [line] = faults(settings(folder, prefetch=pinned), tmp_path / "checked.json")
    assert line.startswith(f"error: configuration, {UNET}: {weights}: {weights.stat().st_size:,} bytes, but ")
    record.write_text("{")
    [line] = faults(settings(folder), tmp_path / "checked.json")
    assert f"{record}: not a record of biomedjourney prefetch" in line
