"""From the published files to pictures: the real commands, with stand-ins in the formats in which the parts come."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from biomedjourney import pixels, tables
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
    table = {
        name: ["--" + name, folder / f"{name}.parquet"] for name in ("singles", "pairs", "progressions", "studies")
    }
    run(folder, "pretrain first-stage", *table["singles"], "--pixels", folder / "pixels.parquet",
        "--out", folder / "first-stage")  # fmt: skip
    run(folder, "pretrain text-tower", *(word for words in table.values() for word in words), "--out", folder / "tower")
    for name in ("pixels", "registered"):
        run(folder, "encode pictures", "--pictures", folder / f"{name}.parquet",
            "--first-stage", folder / "first-stage", "--out", folder / f"{name}-latents.parquet")  # fmt: skip
    for name in ("singles", "progressions"):
        run(folder, "encode texts", *table[name], "--text-tower", folder / "tower",
            "--out", folder / f"{name}-texts.parquet")  # fmt: skip
    return folder


def run(folder: Path, command: str, *words: object, unet: str = "unet") -> None:
    two_steps: dict[str, Any] = {"steps": 2, "batch_size": 3}
    weights = {"first_stage": {"weights": str(folder / "vae")}, "text_tower": {"weights": str(folder / "biomedclip")}}
    settings = fabricated.config_text(
        preprocess={"size": fabricated.SIDE},
        text={"max_tokens": 16},
        pretrain=weights,
        diffusion={"unet": {"weights": str(folder / unet)}},
        train={"runs": {"stage1": two_steps, "stage2": two_steps | {"directions": ["forward"]}}},
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
