"""The function and the command, with an exported model of a few training steps and an untrained text tower."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import ExifTags, Image

import biomedjourney
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from tests.helpers import tiny
from tests.helpers.fabricated import config_text


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edit")
    paths = tiny.write(folder)
    common = ["--config", config_text(**tiny.OVERLAY)]
    inputs = ("triples", "prior_latents", "latents", "texts")
    outputs = ["--checkpoints", str(folder / "checkpoints"), "--training", str(folder / "training.parquet")]
    words = ["train", *common, "--run", "alone", *tiny.flags(paths, *inputs), *outputs, "--out", str(folder / "alone")]
    CliRunner().invoke(commands, words, catch_exceptions=False)
    tower = tiny.text_tower(folder / "tower")
    words = ["generate", "export", *common, "--system", "biomedjourney", "--model", str(folder / "alone")]
    words += [*tiny.flags(paths, "first_stage"), "--text-tower", str(tower), "--out", str(folder / "model")]
    CliRunner().invoke(commands, words, catch_exceptions=False)
    return folder / "model"


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    y, x = np.mgrid[0:90, 0:80]
    lungs = np.exp(-(((x - 25) / 10) ** 2) - ((y - 45) / 25) ** 2) + np.exp(
        -(((x - 55) / 10) ** 2) - ((y - 45) / 25) ** 2
    )
    return (3000 * (1 - 0.8 * lungs) + np.random.default_rng(0).normal(0, 30, x.shape)).clip(0).astype(np.uint16)


def test_function_takes_arrays_pictures_and_paths_and_is_repeatable(
    model: Path, film: np.ndarray, tmp_path: Path
) -> None:
    drawn = biomedjourney.edit(film, "brighter", model)
    assert drawn.shape == (16, 16)
    assert drawn.dtype == np.float32
    assert 0 <= drawn.min() < drawn.max() <= 1
    np.testing.assert_array_equal(biomedjourney.edit(film, " brighter\n", str(model)), drawn)
    assert np.abs(biomedjourney.edit(film, "brighter", model, seed=1) - drawn).max() > 0.01
    assert not np.array_equal(biomedjourney.edit(film, "brighter", model, text_scale=9.0), drawn)
    assert not np.array_equal(biomedjourney.edit(film, "darker now", model), drawn)
    assert not np.array_equal(biomedjourney.edit(np.roll(film, 8, axis=1), "brighter", model), drawn)
    eight_bits = (film / film.max() * 255).astype(np.uint8)
    Image.fromarray(eight_bits).save(tmp_path / "film.png")
    from_file = biomedjourney.edit(tmp_path / "film.png", "brighter", model)
    np.testing.assert_array_equal(biomedjourney.edit(str(tmp_path / "film.png"), "brighter", model), from_file)
    np.testing.assert_array_equal(biomedjourney.edit(Image.fromarray(eight_bits), "brighter", model), from_file)
    assert np.abs(from_file - drawn).max() < 0.2


def test_command_writes_what_the_function_returns(model: Path, film: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray((film / film.max() * 255).astype(np.uint8)).save(tmp_path / "film.png")
    out = tmp_path / "edited.png"
    words = ["edit", str(tmp_path / "film.png"), "darker now", "--out", str(out), "--model", str(model), "--seed", "3"]
    result = CliRunner().invoke(commands, words, catch_exceptions=False)
    assert result.exit_code == 0
    with Image.open(out) as picture:
        assert picture.mode == "L"
        written = np.asarray(picture) / 255
    np.testing.assert_allclose(
        written, biomedjourney.edit(tmp_path / "film.png", "darker now", model, seed=3), atol=0.003
    )


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_film_with_a_tag_is_edited_upright_and_the_output_has_no_tag(
    model: Path, film: np.ndarray, tmp_path: Path, orientation: int
) -> None:
    eight_bits = (film / film.max() * 255).astype(np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = Image.fromarray(np.rot90(eight_bits, {3: 2, 6: 1}[orientation]).copy())
    stored.save(tmp_path / "film.png", exif=exif)
    upright = biomedjourney.edit(eight_bits, "brighter", model)
    with Image.open(tmp_path / "film.png") as image:
        np.testing.assert_array_equal(biomedjourney.edit(image, "brighter", model), upright)
    out = tmp_path / "edited.png"
    words = ["edit", str(tmp_path / "film.png"), "brighter", "--out", str(out), "--model", str(model)]
    CliRunner().invoke(commands, words, catch_exceptions=False)
    with Image.open(out) as picture:
        np.testing.assert_allclose(np.asarray(picture) / 255, upright, atol=0.003)
        assert not picture.getexif()
        assert "exif" not in picture.info


def test_a_film_on_its_side_is_not_edited(model: Path, film: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(np.rot90(film / film.max() * 255).astype(np.uint8)).save(tmp_path / "film.png")
    out = tmp_path / "edited.png"
    words = ["edit", str(tmp_path / "film.png"), "brighter", "--out", str(out), "--model", str(model)]
    with pytest.raises(UserError, match=r"film\.png: the film is lying on its side"):
        CliRunner().invoke(commands, words, catch_exceptions=False)
    assert not out.exists()


def test_a_long_text_is_cut_to_the_length_that_the_model_was_trained_with(
    model: Path, film: np.ndarray, tmp_path: Path
) -> None:
    """The tower would take more."""
    folder = shutil.copytree(model, tmp_path / "model")
    shutil.rmtree(folder / "text_tower")
    tiny.text_tower(folder / "text_tower", tokens=40)
    drawn = biomedjourney.edit(film, " ".join(["brighter"] * 12), folder)
    np.testing.assert_array_equal(biomedjourney.edit(film, " ".join(["brighter"] * 30), folder), drawn)


def test_mistakes_are_named_in_one_line(model: Path, film: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "words.png").write_text("no picture")

    def refused(image: object, text: str, folder: Path, message: str) -> None:
        with pytest.raises(UserError, match=message) as caught:
            biomedjourney.edit(image, text, folder)
        assert "\n" not in str(caught.value)

    refused(film, "brighter", tmp_path / "nowhere", "nowhere.*run the workflow first, or give --model")
    refused(film, " ___ \n", model, "text is empty")
    refused(tmp_path / "words.png", "brighter", model, "words.png")
    refused(tmp_path / "absent.png", "brighter", model, "absent.png")
    refused(np.zeros((3, 3)), "brighter", model, "tiny")
    other_tower = shutil.copytree(model, tmp_path / "other-tower")
    shutil.rmtree(other_tower / "text_tower")
    tiny.text_tower(other_tower / "text_tower", width=20)
    refused(film, "brighter", other_tower, f"^{other_tower}: a model of text states of width 16, but these have 20: ")
    earlier = shutil.copytree(model, tmp_path / "earlier")
    (earlier / "vae").rename(earlier / "first_stage")
    refused(film, "brighter", earlier, f"^{earlier}: exported by an earlier version .*: run generate export again$")


@pytest.mark.parametrize("content", ["[]", "{}", "5", "{"])
@pytest.mark.parametrize("name", ["model.json", "run.json"])
def test_a_damaged_description_of_the_model_is_one_line(
    model: Path, film: np.ndarray, tmp_path: Path, name: str, content: str
) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=f"^{folder}: .*{name} cannot be read"):
        biomedjourney.edit(film, "brighter", folder)


def test_the_prior_is_not_written_over(model: Path, film: np.ndarray, tmp_path: Path) -> None:
    prior = tmp_path / "film.png"
    Image.fromarray((film / film.max() * 255).astype(np.uint8)).save(prior)
    before = prior.read_bytes()
    (tmp_path / "link.png").symlink_to(prior)
    for out in (prior, tmp_path / "link.png"):
        result = CliRunner().invoke(
            commands, ["edit", str(prior), "brighter", "--out", str(out), "--model", str(model)]
        )
        assert isinstance(result.exception, UserError)
        assert "is the prior itself" in str(result.exception)
    assert prior.read_bytes() == before


def test_function_stays_a_function_after_its_parts_are_imported() -> None:
    program = (
        "import biomedjourney.editing.command, biomedjourney.cli\n"
        "biomedjourney.cli.commands.get_command(None, 'edit')\n"
        "from biomedjourney import edit\n"
        "assert callable(edit) and biomedjourney.edit is edit\n"
        "import sys; assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
