"""From the published files to pictures: the real commands, with stand-ins in the formats in which the parts come."""

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from biomedjourney import pixels, sampling, tables
from biomedjourney.cli import commands
from tests.helpers import fabricated, published

DRAWN = {"text-only": "stage1", "biomedjourney": "stage2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the published files and with all that comes before training."""
    folder = tmp_path_factory.mktemp("published")
    published.unet(folder / "unet")
    published.unet(folder / "instruct-pix2pix", published.INSTRUCT_PIX2PIX)
    published.vae(folder / "vae")
    published.biomedclip(folder / "biomedclip")
    fabricated.write(folder, patients=24, systems=())
    table = {name: ["--" + name, folder / f"{name}.parquet"] for name in ("singles", "progressions")}
    run(folder, "pretrain first-stage", "--out", folder / "first-stage")  # given weights need no table
    run(folder, "pretrain text-tower", "--out", folder / "tower")
    for name in ("pixels", "registered"):
        run(folder, "encode pictures", "--pictures", folder / f"{name}.parquet",
            "--first-stage", folder / "first-stage", "--out", folder / f"{name}-latents.parquet")  # fmt: skip
    for name in ("singles", "progressions"):
        run(folder, "encode texts", *table[name], "--text-tower", folder / "tower",
            "--out", folder / f"{name}-texts.parquet")  # fmt: skip
    return folder


def run(folder: Path, command: str, *words: object, unet: str = "unet", **runs: Any) -> None:
    two_steps: dict[str, Any] = {"steps": 2, "batch_size": 3}
    weights = {"first_stage": {"weights": str(folder / "vae")}, "text_tower": {"weights": str(folder / "biomedclip")}}
    settings = fabricated.config_text(
        preprocess={"size": fabricated.SIDE},
        text={"max_tokens": 16},
        pretrain=weights,
        diffusion={"unet": {"weights": str(folder / unet)}},
        train={"runs": {"stage1": two_steps, "stage2": two_steps | {"directions": ["forward"]}, **runs}},
        generate={"steps": 2, "shards": 1},
    )
    CliRunner().invoke(commands, [*command.split(), "--config", settings, *map(str, words)], catch_exceptions=False)


@pytest.mark.parametrize("unet", ["unet", "instruct-pix2pix"])
def test_both_stages_start_from_the_files_and_draw_pictures_of_the_configured_size(
    folder: Path, tmp_path: Path, unet: str
) -> None:
    texts = ["--texts", folder / "singles-texts.parquet", "--texts", folder / "progressions-texts.parquet"]
    inputs = [*texts, "--triples", folder / "triples.parquet", "--singles", folder / "singles.parquet"]
    inputs += ["--latents", folder / "pixels-latents.parquet"]
    inputs += ["--prior-latents", folder / "registered-latents.parquet"]
    for name, start in (("stage1", []), ("stage2", ["--start", tmp_path / "stage1"])):
        outputs = ["--out", tmp_path / name, "--training", tmp_path / f"{name}.parquet"]
        run(folder, "train", "--run", name, *inputs, *start, "--checkpoints", tmp_path / "c", *outputs, unet=unet)
        assert tables.read(tmp_path / f"{name}.parquet", "training")["loss"].notna().any()
    for system, model in DRAWN.items():
        out = tmp_path / f"{system}.parquet"
        run(folder, "generate pictures", "--system", system, *inputs, "--model", tmp_path / model,
            "--first-stage", folder / "first-stage", "--out", out)  # fmt: skip
        drawn = tables.read(out, "generated")
        assert len(drawn) > 1
        assert {pixels.decode_png(png).shape for png in drawn["png"]} == {(fabricated.SIDE, fabricated.SIDE)}


def test_a_run_starts_from_weights_of_its_own_while_the_others_start_from_the_common_ones(
    folder: Path, tmp_path: Path
) -> None:
    """Untrained, so that the weights are those of the files; InstructPix2Pix's read the prior from the start."""
    untrained = {
        "data": "triples", "start": None, "prior": "registered", "writer": "rules", "text": "description",
        "directions": ["forward"], "steps": 0, "batch_size": 2,
    }  # fmt: skip
    own = untrained | {"weights": str(folder / "instruct-pix2pix")}
    inputs = ["--texts", folder / "progressions-texts.parquet", "--triples", folder / "triples.parquet"]
    inputs += ["--latents", folder / "pixels-latents.parquet"]
    inputs += ["--prior-latents", folder / "registered-latents.parquet"]
    for name in ("own", "common"):
        outputs = ["--out", tmp_path / name, "--training", tmp_path / f"{name}.parquet"]
        words = ["--run", name, *inputs, "--checkpoints", tmp_path / "c", *outputs]
        run(folder, "train", *words, own=own, common=untrained | {"weights": None})
    for name, source in (("own", "instruct-pix2pix"), ("common", "unet")):
        made, given = (sampling.load_unet(path).state_dict() for path in (tmp_path / name / "unet", folder / source))
        narrow = given["conv_in.weight"]
        wide = torch.cat([narrow, torch.zeros_like(narrow)], dim=1)[:, :8]
        torch.testing.assert_close(made["conv_in.weight"], wide, rtol=0, atol=0)
        torch.testing.assert_close(made["mid_block.resnets.0.conv1.weight"], given["mid_block.resnets.0.conv1.weight"])


def test_checkpoints_of_a_run_belong_to_the_contents_of_its_weights(folder: Path, tmp_path: Path) -> None:
    """A file that was replaced under the same path is another start: nothing goes on from the old one's state."""
    weights = published.unet(tmp_path / "own", published.INSTRUCT_PIX2PIX)
    own = {
        "data": "singles", "start": None, "weights": str(weights), "prior": "none", "writer": None, "text": "report",
        "directions": ["forward"], "steps": 2, "batch_size": 2,
    }  # fmt: skip
    words = ["--run", "own", "--singles", folder / "singles.parquet", "--texts", folder / "singles-texts.parquet"]
    words += ["--latents", folder / "pixels-latents.parquet", "--checkpoints", tmp_path / "c"]
    words += ["--out", tmp_path / "out", "--training", tmp_path / "t.parquet"]
    run(folder, "train", *words, own=own)
    run(folder, "train", *words, own=own)
    assert len(list((tmp_path / "c").iterdir())) == 1
    file = weights / "diffusion_pytorch_model.safetensors"
    save_file({name: value + 0.01 for name, value in load_file(file).items()}, file)
    run(folder, "train", *words, own=own)
    assert len(list((tmp_path / "c").iterdir())) == 2
