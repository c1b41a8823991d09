"""The function and the command; the model has learned next to nothing, and its texts are two words."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import ExifTags, Image

import biomedjourney
from biomedjourney.cli import commands
from biomedjourney.editing import draw, edits, noise
from biomedjourney.errors import UserError
from tests.helpers import tiny

pytestmark = pytest.mark.filterwarnings("ignore:the text :UserWarning")


def eight_bits(film: np.ndarray) -> np.ndarray:
    return (film / film.max() * 255).astype(np.uint8)


def command(*words: Any) -> Result:
    return CliRunner().invoke(commands, ["edit", *map(str, words)], catch_exceptions=False)


def test_the_square_is_repeatable_and_follows_every_argument(model: Path, film: np.ndarray) -> None:
    def square(image: Any = film, text: str = "brighter", folder: Any = model, **more: Any) -> np.ndarray:
        return biomedjourney.edit(image, text, folder, raw=True, **more)

    drawn = square()
    assert drawn.shape == (16, 16)
    assert drawn.dtype == np.float32
    assert 0 <= drawn.min() < drawn.max() <= 1
    np.testing.assert_array_equal(square(text=" brighter\n", folder=str(model)), drawn)
    assert np.abs(square(seed=1) - drawn).max() > 0.01
    assert not np.array_equal(square(text_scale=9.0), drawn)
    assert not np.array_equal(square(image_scale=4.0), drawn)
    assert not np.array_equal(square(steps=3), drawn)
    assert not np.array_equal(square(text="darker now"), drawn)
    assert not np.array_equal(square(np.roll(film, 8, axis=1)), drawn)


@pytest.mark.usefixtures("visible")
def test_arrays_pictures_and_paths_of_one_film_give_the_same_film(
    model: Path, film: np.ndarray, tmp_path: Path
) -> None:
    small = eight_bits(film)
    Image.fromarray(small).save(tmp_path / "film.png")
    drawn = biomedjourney.edit(small, "brighter", model)
    assert drawn.shape == small.shape
    assert drawn.dtype == np.uint8
    assert (drawn != small).mean() > 0.3
    for image in (tmp_path / "film.png", str(tmp_path / "film.png"), Image.fromarray(small)):
        np.testing.assert_array_equal(biomedjourney.edit(image, "brighter", model), drawn)
    deep = biomedjourney.edit(film, "brighter", model)
    assert deep.dtype == np.uint16
    assert np.abs(deep / film.max() - drawn / 255.0).max() < 0.1


@pytest.mark.usefixtures("visible")
def test_samples_have_the_seeds_that_follow(model: Path, film: np.ndarray) -> None:
    drawn = biomedjourney.edit(film, "brighter", model, seed=3, samples=3)
    assert drawn.shape == (3, *film.shape)
    for number, picture in enumerate(drawn):
        np.testing.assert_array_equal(picture, biomedjourney.edit(film, "brighter", model, seed=3 + number))
    assert len({picture.tobytes() for picture in drawn}) == 3


def test_what_stays_below_the_noise_floor_is_the_film_bit_for_bit(
    model: Path, film: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text adds a spot in one place, and elsewhere less than the model draws without a change."""
    spot, noisy = np.zeros((2, 16, 16), np.float32)
    spot[6:9, 5:8] = 0.3
    noisy[:] = np.random.default_rng(0).uniform(-0.04, 0.04, (16, 16))

    def drawn(self: draw.Model, prior: np.ndarray, texts: list[str], *_: Any) -> np.ndarray:
        assert texts[1] == draw.NO_CHANGE
        unchanged = self.through_first_stage(prior) + noisy
        return np.stack([unchanged + spot - 0.3 * noisy, unchanged])

    monkeypatch.setattr(draw.Model, "draw", drawn)
    edited = biomedjourney.edit(film, "brighter", model)
    changed = np.argwhere(edited != film)
    assert len(changed)
    (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
    # Rows 6 to 8 of 16 are pixels 34 to 50 of 90, and columns 5 to 7, in the middle of the square, 22 to 39 of 80.
    # A neighbourhood of two pixels is kept, and the interpolation reaches two pixels further.
    assert 34 - 4 * 6 <= top <= 34 <= 50 <= bottom <= 50 + 4 * 6
    assert 22 - 4 * 6 <= left <= 22 <= 39 <= right <= 39 + 4 * 6
    spot[:] = 0.0
    with pytest.warns(UserWarning, match="nothing that the model drew is above its noise floor"):
        np.testing.assert_array_equal(biomedjourney.edit(film, "brighter", model), film)


def test_the_noise_floor_is_what_is_drawn_around_a_place_without_a_change() -> None:
    unchanged = np.zeros((64, 64), np.float32)
    unchanged[:, :32] = -0.1
    floor = noise.floor(unchanged)
    np.testing.assert_allclose(floor[:, :28], 0.1, atol=1e-6)
    np.testing.assert_allclose(floor[:, 36:], 0.0, atol=1e-6)
    np.testing.assert_array_equal(noise.floor(-unchanged), floor)
    unchanged[:] = 0.0
    unchanged[63] = 0.3  # a line at the edge of the field, which a mean over many pixels would hide
    assert (noise.floor(unchanged)[61:] > 0.09).all()

    change = np.zeros((64, 64), np.float32)
    change[10:20, 10:20], change[10:20, 40:50], change[40:50, 10:20] = -0.2, 0.05, 0.05
    floor = np.zeros((64, 64), np.float32)
    floor[:, :32] = 0.1
    kept = noise.above(change, floor)
    np.testing.assert_array_equal(kept[10:20, 10:20], change[10:20, 10:20])
    np.testing.assert_array_equal(kept[10:20, 40:50], change[10:20, 40:50])
    assert not kept[40:50, 10:20].any()


@pytest.mark.parametrize(
    ("name", "bits", "mode"), [("film.png", 8, "L"), ("film.png", 16, "I;16"), ("film.jpg", 8, "L")]
)
@pytest.mark.usefixtures("visible")
def test_command_writes_what_the_function_returns(
    model: Path, film: np.ndarray, tmp_path: Path, name: str, bits: int, mode: str
) -> None:
    prior, out = tmp_path / name, tmp_path / f"edited-{name}"
    Image.fromarray(eight_bits(film) if bits == 8 else film).save(prior, quality=90)
    result = command(prior, "brighter", "--out", out, "--model", model, "--seed", 3, "--no-mark")
    assert result.exit_code == 0
    assert "80 x 90 pixels" in result.stderr
    with Image.open(out) as picture:
        assert picture.mode == mode
        written = np.asarray(picture)
    expected = biomedjourney.edit(prior, "brighter", model, seed=3)
    assert (expected != np.asarray(Image.open(prior))).mean() > 0.3
    if name.endswith("png"):
        np.testing.assert_array_equal(written, expected)
    else:
        assert np.abs(written.astype(int) - expected).mean() < 1.5


def test_raw_writes_the_square(model: Path, film: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(film).save(tmp_path / "film.png")
    command(tmp_path / "film.png", "brighter", "--out", tmp_path / "edited.png", "--model", model, "--raw")
    with Image.open(tmp_path / "edited.png") as picture:
        assert (picture.mode, picture.size) == ("L", (16, 16))
        square = biomedjourney.edit(film, "brighter", model, raw=True)
        np.testing.assert_allclose(np.asarray(picture) / 255, square, atol=0.003)


@pytest.mark.parametrize("name", ["film.png", "film.jpg"])
@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.usefixtures("visible")
def test_a_film_with_a_tag_comes_back_upright_and_without_one(
    model: Path, film: np.ndarray, tmp_path: Path, orientation: int, name: str
) -> None:
    small = eight_bits(film)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(np.rot90(small, {3: 2, 6: 1}[orientation]).copy()).save(tmp_path / name, exif=exif, quality=98)
    upright = biomedjourney.edit(small, "brighter", model)
    with Image.open(tmp_path / name) as image:
        assert np.abs(biomedjourney.edit(image, "brighter", model).astype(int) - upright).mean() < 4
    out = tmp_path / f"edited-{name}"
    command(tmp_path / name, "brighter", "--out", out, "--model", model, "--no-mark")
    with Image.open(out) as picture:
        assert np.abs(np.asarray(picture).astype(int) - upright).mean() < 4
        assert picture.getexif().get(ExifTags.Base.Orientation, 1) == 1


def test_a_film_on_its_side_is_not_edited(model: Path, film: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(np.rot90(eight_bits(film))).save(tmp_path / "film.png")
    out = tmp_path / "edited.png"
    with pytest.raises(UserError, match=r"film\.png: the film is lying on its side"):
        command(tmp_path / "film.png", "brighter", "--out", out, "--model", model)
    assert not out.exists()


def test_a_long_text_is_cut_to_the_length_that_the_model_was_trained_with(
    model: Path, film: np.ndarray, tmp_path: Path
) -> None:
    """The tower would take more."""
    folder = tiny.copy_to_change(model, tmp_path / "model")
    shutil.rmtree(folder / "text_tower")
    tiny.text_tower(folder / "text_tower", tokens=40)
    drawn = biomedjourney.edit(film, " ".join(["brighter"] * 12), folder, raw=True)
    np.testing.assert_array_equal(biomedjourney.edit(film, " ".join(["brighter"] * 30), folder, raw=True), drawn)


@pytest.mark.parametrize("text", ["", " ___ \n"])
def test_an_empty_text_is_the_null_text_so_that_its_scale_does_nothing(
    model: Path, film: np.ndarray, text: str
) -> None:
    with pytest.warns(UserWarning, match="the text is empty, so that nothing is asked for"):
        one, five = (biomedjourney.edit(film, text, model, raw=True, text_scale=scale) for scale in (1.0, 5.0))
    np.testing.assert_allclose(five, one, atol=1e-5)
    other = biomedjourney.edit(film, "brighter", model, raw=True, text_scale=5.0)
    assert np.abs(other - five).max() > 1e-4


def test_mistakes_are_named_in_one_line(model: Path, film: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "words.png").write_text("no picture")

    def refused(image: object, text: str, folder: Path, message: str, **more: Any) -> None:
        with pytest.raises(UserError, match=message) as caught:
            biomedjourney.edit(image, text, folder, **more)
        assert "\n" not in str(caught.value)

    refused(film, "brighter", tmp_path / "nowhere", "nowhere.*run the workflow first, or give --model")
    refused(tmp_path / "words.png", "brighter", model, "words.png")
    refused(tmp_path / "absent.png", "brighter", model, "absent.png")
    refused(np.zeros((3, 3)), "brighter", model, "tiny")
    refused(film, "brighter", model, r"film\.bmp: the kind of file .*write \.png", out=tmp_path / "film.bmp")
    refused(film, "brighter", model, r"film\.dcm: a DICOM file comes of a DICOM film", out=tmp_path / "film.dcm")
    refused(film, "brighter", model, r"film\.jpg: a JPEG has 8 bits", out=tmp_path / "film.jpg")
    refused(film, "brighter", model, r"film\.jpg: a difference is .*\.png", difference=tmp_path / "film.jpg")
    refused(film, "brighter", model, "two pictures", out=tmp_path / "a.png", difference=tmp_path / "a.png")
    other_tower = tiny.copy_to_change(model, tmp_path / "other-tower")
    shutil.rmtree(other_tower / "text_tower")
    tiny.text_tower(other_tower / "text_tower", width=20)
    refused(film, "brighter", other_tower, f"^{other_tower}: a model of text states of width 16, but these have 20: ")
    earlier = shutil.copytree(model, tmp_path / "earlier")
    (earlier / "vae").rename(earlier / "first_stage")
    refused(film, "brighter", earlier, f"^{earlier}: exported by an earlier version .*: run generate export again$")
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == ["words.png"]


def test_a_model_that_does_not_see_the_prior_gives_its_square_alone(model: Path, film: np.ndarray) -> None:
    loaded = draw.load(model)
    blind = draw.Model(model, loaded.facts, SimpleNamespace(model=SimpleNamespace(knows_prior=False)))
    with pytest.raises(UserError, match=r"draws from the text alone.*--raw"):
        next(edits.edited(None, "brighter", blind, edits.Settings()))  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["[]", "{}", "5", "{"])
@pytest.mark.parametrize("name", ["model.json", "run.json"])
def test_a_damaged_description_of_the_model_is_one_line(
    model: Path, film: np.ndarray, tmp_path: Path, name: str, content: str
) -> None:
    folder = tiny.copy_to_change(model, tmp_path / "model")
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=f"^{folder}: .*{name} cannot be read"):
        biomedjourney.edit(film, "brighter", folder)


def test_the_prior_is_not_written_over(model: Path, film: np.ndarray, tmp_path: Path) -> None:
    prior = tmp_path / "film.png"
    Image.fromarray(eight_bits(film)).save(prior)
    before = prior.read_bytes()
    (tmp_path / "link.png").symlink_to(prior)
    for out in (prior, tmp_path / "link.png"):
        for words in (["--out", str(out)], ["--out", str(tmp_path / "edited.png"), "--difference", str(out)]):
            result = CliRunner().invoke(commands, ["edit", str(prior), "brighter", *words, "--model", str(model)])
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
