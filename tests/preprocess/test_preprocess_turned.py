"""Films whose file says that they are to be turned, and films on their side that say nothing."""

import csv

import numpy as np
import pytest
from PIL import ExifTags, Image

from biomedjourney.errors import UserError
from biomedjourney.preprocess import canonical, files, load
from biomedjourney.preprocess.field import valid_pixels
from biomedjourney.preprocess.film import load_field
from biomedjourney.preprocess.views import uprightness
from tests.helpers.drawn_films import chest, chest_with_vessels

ORIENTATION = ExifTags.Base.Orientation
# How a film is stored so that a viewer, which follows the tag, shows it upright.
STORED = {
    1: lambda film: film,
    2: lambda film: film[:, ::-1],
    3: lambda film: film[::-1, ::-1],
    4: lambda film: film[::-1],
    5: lambda film: film.T,
    6: lambda film: np.rot90(film),
    7: lambda film: film[::-1, ::-1].T,
    8: lambda film: np.rot90(film, -1),
}
FILM = (chest_with_vessels(300)[:, 20:] * 255).astype(np.uint8)
FADING = (FILM * np.linspace(1.0, 0.6, FILM.shape[1])).astype(np.uint8)  # darker at one side, so that a mirror shows


def write(path, film, orientation, block=None, **options):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](film)))
    stored.save(path, exif=exif if block is None else block, **options)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", ["film.png", "film.jpg", "film.tif", "film.webp"])
def test_a_film_is_read_as_a_viewer_shows_it(tmp_path, name, orientation):
    write(tmp_path / name, FADING, orientation, quality=95)
    read = files.read(tmp_path / name, 256)
    assert read.shape == read.grey.shape == FADING.shape
    assert np.abs(read.grey - FADING).mean() < 3
    film, expected = load(tmp_path / name, 64), canonical(FADING, 64)
    assert np.abs(film.picture - expected.picture).mean() < 0.01
    assert film.to_original == pytest.approx(expected.to_original, abs=1e-9)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["16 bits", "colour", "alpha", "palette"])
def test_a_film_of_any_kind_of_pixels_is_turned(tmp_path, kind, orientation):
    deep = FADING.astype(np.uint16) * 257
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](deep if kind == "16 bits" else FADING)))
    mode = {"16 bits": stored.mode, "colour": "RGB", "alpha": "LA", "palette": "P"}[kind]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored.convert(mode).save(tmp_path / "film.png", exif=exif)
    expected = deep if kind == "16 bits" else FADING
    assert np.abs(files.read(tmp_path / "film.png", 256).grey - expected).max() < 1


@pytest.mark.parametrize("orientation", STORED)
def test_a_large_jpeg_is_turned_and_still_decoded_small(tmp_path, orientation):
    film = (chest(1530, 1272) * np.linspace(1.0, 0.6, 1272) * 255).astype(np.uint8)
    write(tmp_path / "film.jpg", film, orientation, quality=95)
    read = files.read(tmp_path / "film.jpg", 64)
    assert read.shape == film.shape
    assert max(read.grey.shape) < 0.6 * max(film.shape)
    from_file, expected = load(tmp_path / "film.jpg", 64), canonical(film, 64)
    assert np.abs(from_file.picture - expected.picture).mean() < 0.01
    corners = np.array([[0, 0, 1], [63, 0, 1], [0, 63, 1], [63, 63, 1]]).T
    assert np.abs(from_file.to_original @ corners - expected.to_original @ corners).max() < 12


def test_register_resamples_the_film_as_preprocess_read_it(tmp_path):
    """The exposed field at the canonical picture's own points is that picture, whatever the tag."""
    grid = np.stack(np.meshgrid(np.arange(64), np.arange(64)), axis=-1).astype(float)
    for orientation in STORED:
        write(tmp_path / "film.png", FADING, orientation)
        seen = load_field(tmp_path / "film.png", 64).seen_at(grid)
        assert np.abs(seen - canonical(FADING, 64).picture).max() < 0.03


@pytest.mark.parametrize("orientation", STORED)
def test_a_pil_image_is_turned_and_stays_as_it_was(tmp_path, orientation):
    write(tmp_path / "film.png", FADING, orientation)
    with Image.open(tmp_path / "film.png") as image:
        film = canonical(image, 64)
        assert np.array_equal(np.asarray(image), STORED[orientation](FADING))
        assert image.getexif()[ORIENTATION] == orientation
    assert np.array_equal(film.picture, canonical(FADING, 64).picture)


@pytest.mark.filterwarnings("ignore")  # of Pillow, about the damage
@pytest.mark.parametrize("name", ["film.png", "film.jpg", "film.webp"])
def test_a_damaged_exif_block_does_not_stop_a_film(tmp_path, name):
    """Cut off, overwritten, or no block at all: the film is read, turned or not."""
    exif = Image.Exif()
    exif[ORIENTATION] = 2
    exif[ExifTags.Base.Make] = "maker"
    exif[ExifTags.Base.XResolution] = 72.0
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2020:01:01 00:00:00"
    whole = exif.tobytes()
    blocks = [b"Exif\0\0", b"Exif\0\0no block", whole[:20], whole[:-9]]
    for seed in range(60):
        rng = np.random.default_rng(seed)
        block = bytearray(whole)
        for place in rng.integers(6, len(block), size=rng.integers(1, 6)):
            block[place] = rng.integers(256)
        blocks.append(bytes(block))
    turned = 0
    for block in blocks:
        write(tmp_path / name, FADING, 2, block, quality=95)
        read = files.read(tmp_path / name, 256)
        assert read.shape == read.grey.shape == FADING.shape
        errors = [np.abs(read.grey - film).mean() for film in (FADING, FADING[:, ::-1])]
        assert min(errors) < 3
        turned += errors[0] < errors[1]
    assert 10 < turned < len(blocks) - 5


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_is_none_of_the_eight_is_not_acted_on(tmp_path, value):
    exif = Image.Exif()
    exif[ORIENTATION] = value
    Image.fromarray(FADING).save(tmp_path / "film.png", exif=exif)
    assert np.array_equal(files.read(tmp_path / "film.png", 256).grey, FADING.astype(np.float32))


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", [1, 3])
@pytest.mark.parametrize("film", [chest(300, 260), chest(240, 330), chest_with_vessels(256)])
def test_a_drawn_film_on_its_side_is_refused(film, quarters, mirrored, negative):
    film = film[:, ::-1] if mirrored else film
    film = 1 - film if negative else film
    canonical(film, 64)
    with pytest.raises(UserError, match="the film is lying on its side: an upright"):
        canonical(np.rot90(film, quarters), 64)


def test_a_turn_changes_the_sign_of_uprightness_and_a_negative_changes_nothing():
    def upright(picture):
        return uprightness(np.ascontiguousarray(picture), valid_pixels(picture))

    rng = np.random.default_rng(0)
    for picture in (chest(64, 56), chest(40, 64), rng.random((64, 64))):
        value = upright(picture)
        assert upright(np.rot90(picture)) == pytest.approx(-value, abs=1e-3)
        assert upright(picture[:, ::-1]) == pytest.approx(value, abs=1e-3)
        assert upright(1 - picture) == pytest.approx(value, abs=1e-3)
    assert upright(chest(64, 56)) > 0.5
    assert upright(np.full((64, 64), 0.5)) == 0


def test_real_films_on_their_side_are_refused_and_upright_ones_are_not(films):
    """All four turns and both mirrorings. A mirrored film that is upright cannot be told and passes."""
    with (films / "images.csv").open() as lines:
        names = [row["image_id"] for row in csv.DictReader(lines)][1::4]
    refused = dict.fromkeys(range(4), 0)
    for name in names:
        array = np.asarray(Image.open(films / "images" / f"{name}.png").convert("L"))
        for quarters in refused:
            for film in (array, array[:, ::-1]):
                try:
                    canonical(np.rot90(film, quarters), 64)
                except UserError:
                    refused[quarters] += 1
    assert refused[0] == 0
    assert min(refused[1], refused[3]) >= 0.95 * 2 * len(names)
    assert refused[2] >= 0.85 * 2 * len(names)
