import csv
import gzip
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError
from scipy import ndimage

from biomedjourney.errors import UserError
from biomedjourney.phantom.files import write as write_phantom
from biomedjourney.preprocess import canonical, files, load, mask_on_canonical
from biomedjourney.preprocess.film import exposed_field
from tests.helpers import dicom_files
from tests.helpers.drawn_films import chest


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(40, 400),
    width=st.integers(40, 400),
    size=st.sampled_from([32, 64, 96]),
    dtype=st.sampled_from(["u1", "u2", "f4", "f8", "i4"]),
)
def test_any_size_and_type_becomes_a_square_in_zero_to_one(height, width, size, dtype):
    if max(height, width) > 3 * min(height, width):
        width = height
    array = chest(height, width) * {"u1": 255, "u2": 4095, "f4": 1, "f8": 70000.0, "i4": 1000}[dtype]
    film = canonical(array.astype(dtype), size)
    assert film.picture.shape == (size, size)
    assert film.picture.dtype == np.float32
    assert film.picture.min() >= 0.0
    assert film.picture.max() <= 1.0
    assert film.picture.std() > 0.05
    assert not film.inverted


def test_the_same_array_gives_the_same_picture():
    assert np.array_equal(canonical(chest(), 64).picture, canonical(chest(), 64).picture)


def test_a_negative_gives_the_same_picture():
    film = (chest() * 255).astype(np.uint8)
    plain, negative = canonical(film, 64), canonical(255 - film, 64)
    assert (plain.inverted, negative.inverted) == (False, True)
    assert np.abs(plain.picture - negative.picture).max() < 0.02


def test_eight_and_sixteen_bits_and_colour_agree():
    film = chest()
    grey = canonical((film * 255).astype(np.uint8), 64).picture
    deep = canonical((film * 65535).astype(np.uint16), 64).picture
    colour = canonical(np.repeat((film * 255).astype(np.uint8)[..., None], 3, axis=2), 64).picture
    assert np.abs(grey - deep).max() < 0.02
    assert np.abs(grey - colour).max() < 0.02


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_border_is_cropped_and_the_mapping_back_knows_it(level):
    film = (chest(300, 300) * 200 + 25).astype(np.uint8)
    framed = np.full((360, 340), level, dtype=np.uint8)
    framed[30:330, 25:325] = film
    result = canonical(framed, 64)
    inner = np.s_[2:-2, 2:-2]  # one column of padding may come of the rounding of the aspect
    assert np.abs(result.picture - canonical(film, 64).picture)[inner].mean() < 0.02
    centre = result.to_original @ [31.5, 31.5, 1.0]
    assert centre == pytest.approx([25 + 149.5, 30 + 149.5], abs=3)  # half a pixel of the picture is 2.3


def test_the_mapping_back_finds_a_bright_spot():
    film = chest(500, 380)
    film[120:130, 200:210] = 3.0
    result = canonical(np.clip(film, 0, 1.6), 128)
    dull = canonical(chest(500, 380), 128)
    y, x = np.unravel_index(np.argmax(result.picture - dull.picture), (128, 128))
    assert result.to_original @ [x, y, 1.0] == pytest.approx([204.5, 124.5], abs=4.5)


def test_the_aspect_is_kept_and_padding_is_black():
    result = canonical(chest(300, 150), 64)
    assert (result.picture[:, :15] == 0).all()
    assert (result.picture[:, -15:] == 0).all()
    matrix = result.to_original
    assert matrix[0, 0] == pytest.approx(matrix[1, 1], rel=0.03)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((100, 100), 7, np.uint8), "blank"),
        (np.full((100, 100), np.nan), "blank"),
        (np.zeros((10, 100), np.uint8), "tiny"),
        (chest(40, 300), "strip"),
        (np.zeros((5, 100, 100), np.uint8), "shape"),
        (np.array([["a"]]), "numbers"),
        (chest()[::-1, ::-1], "upside down"),
    ],
)
def test_what_is_no_film_is_refused(array, message):
    with pytest.raises(UserError, match=message):
        canonical(array, 64)


def test_a_large_jpeg_is_decoded_small_and_agrees_with_its_pixels(tmp_path):
    film = (chest(1530, 1272) * 255).astype(np.uint8)
    Image.fromarray(film).save(tmp_path / "film.jpg", quality=95)
    read = files.read(tmp_path / "film.jpg", 64)
    assert read.shape == film.shape
    assert max(read.grey.shape) < 0.6 * max(film.shape)
    from_file, from_array = load(tmp_path / "film.jpg", 64), canonical(film, 64)
    assert np.abs(from_file.picture - from_array.picture).mean() < 0.01
    corners = np.array([[0, 0, 1], [63, 0, 1], [0, 63, 1], [63, 63, 1]]).T
    assert np.abs(from_file.to_original @ corners - from_array.to_original @ corners).max() < 12


def grid(size: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).astype(float)


def detail(picture: np.ndarray) -> float:
    """The energy above half of the Nyquist frequency."""
    frequency, fade = np.fft.fftfreq(len(picture)), np.hanning(len(picture))
    spectrum = np.fft.fft2((picture - picture.mean()) * np.outer(fade, fade))
    return float((np.abs(spectrum) ** 2)[np.hypot(frequency, frequency[:, None]) > 0.25].sum())


def grainy_chest(height: int, width: int) -> np.ndarray:
    """A chest with detail of the size of a pixel."""
    return np.clip(chest(height, width) + 0.08 * np.random.default_rng(1).normal(size=(height, width)), 0, 1)


@pytest.mark.parametrize(("height", "width"), [(300, 260), (200, 330), (128, 128), (64, 64), (40, 50)])
def test_a_field_seen_at_the_canonical_pixels_is_the_canonical_picture(height, width):
    """For films that are shrunk, kept or enlarged."""
    field = exposed_field(grainy_chest(height, width), 64)
    picture = field.canonical().picture
    assert np.abs(field.seen_at(grid(64)) - picture).max() < 0.03
    shifted = field.seen_at(grid(64) + np.array([5.0, -3.0]))
    assert np.abs(shifted[3:, :-5] - picture[:-3, 5:]).max() < 0.03
    assert (shifted[:3] == 0).all()
    assert (shifted[:, -5:] == 0).all()


@settings(max_examples=25, deadline=None)
@given(
    turn=st.floats(-0.4, 0.4),
    scale=st.floats(0.5, 2.0),
    x=st.floats(-20, 20),
    y=st.floats(-20, 20),
    upright=st.booleans(),
)
def test_what_a_field_is_seen_through_keeps_its_level_and_is_black_beside_it(turn, scale, x, y, upright):
    field = exposed_field(chest(300, 200) if upright else chest(200, 300), 64)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = (grid(64) - 31.5) @ linear.T + 31.5 + [x, y]
    left, top, columns, rows = field.box
    from_corner = points - [left - 0.5, top - 0.5]
    depth = np.minimum(from_corner, [columns, rows] - from_corner).min(axis=-1)  # inside the box, in pixels
    flat = replace(field, picture=np.full_like(field.picture, 0.4)).seen_at(points)
    assert flat[depth > 1e-6] == pytest.approx(0.4, abs=1e-5)
    assert (flat[depth < -1e-6] == 0).all()


def test_a_field_is_resampled_with_antialiasing_and_keeps_its_detail():
    """Fine stripes vanish where a pixel covers several. What the canonical picture shows of detail, a shift keeps."""
    stripes = np.tile([0.0, 1.0], (128, 64)).astype(np.float32)  # two in each pixel
    field = replace(exposed_field(grainy_chest(512, 512), 64), picture=stripes)
    seen = field.seen_at(grid(64) + 0.3)
    assert np.abs(seen[2:-2, 2:-2] - 0.5).max() < 0.02
    field = exposed_field(grainy_chest(512, 512), 64)
    picture = field.canonical().picture
    between_pixels = grid(64) + 0.5
    once = field.seen_at(between_pixels)[8:-8, 8:-8]
    twice = ndimage.map_coordinates(picture, between_pixels[..., ::-1].transpose(2, 0, 1), order=1)[8:-8, 8:-8]
    assert detail(once) > 0.85 * detail(picture[8:-8, 8:-8])
    assert detail(twice) < 0.6 * detail(picture[8:-8, 8:-8])


def test_the_negative_of_a_field_has_black_beside_it_too():
    field = exposed_field(chest(300, 200), 64)
    seen, negative = field.seen_at(grid(64)), field.negative().seen_at(grid(64))
    inside = seen > 0
    assert np.abs(negative[inside] - (1 - seen[inside])).max() < 1e-5
    assert (negative[:, :5] == 0).all()
    assert field.negative().inverted


def test_files_of_other_kinds_load(tmp_path):
    film = chest()
    Image.fromarray((film * 65535).astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray((film * 255).astype(np.uint8)).convert("RGBA").save(tmp_path / "colour.png")
    expected = canonical(film, 64).picture
    for name in ("deep.png", "colour.png"):
        assert np.abs(load(tmp_path / name, 64).picture - expected).mean() < 0.02


def write_files(folder):
    """The same film in files of several kinds."""
    film = chest(120, 100)
    grey, deep = Image.fromarray((film * 255).astype(np.uint8)), Image.fromarray((film * 65535).astype(np.uint16))
    grey.save(folder / "film.jpg", quality=95)
    grey.save(folder / "progressive.jpg", progressive=True)
    grey.convert("RGB").save(folder / "colour.jpg")
    grey.save(folder / "film.png", pnginfo=text_chunks())
    grey.convert("P").save(folder / "palette.png")
    deep.save(folder / "deep.png")
    window = {"WindowCenter": 2000, "WindowWidth": 3000, "RescaleSlope": 2, "RescaleIntercept": -5}
    dicom_files.write(folder / "film.dcm", (film * 4095).astype(np.uint16), **window)


def text_chunks():
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Comment", "no film " * 20, zip=True)
    return chunks


def damaged(data: bytes, rng: np.random.Generator, is_png: bool) -> bytes:
    """Cut off somewhere, or a few bits flipped, mostly near the start; checksums of a PNG file made good again."""
    kind = rng.integers(3)
    if kind == 0:
        return data[: rng.integers(len(data))]
    result = bytearray(data)
    for place in rng.integers(len(data) if kind == 1 else min(600, len(data)), size=rng.integers(1, 8)):
        result[place] ^= 1 << rng.integers(8)
    at = 8
    while is_png and at + 12 <= len(result):
        end = at + 8 + int.from_bytes(result[at : at + 4], "big")
        result[end : end + 4] = zlib.crc32(result[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(result)


@pytest.mark.filterwarnings("ignore")  # of both libraries, about the damage
@pytest.mark.parametrize(
    "name", ["film.jpg", "progressive.jpg", "colour.jpg", "film.png", "palette.png", "deep.png", "film.dcm"]
)
def test_a_damaged_file_gives_a_film_or_an_error_that_names_it(tmp_path, name):
    write_files(tmp_path)
    whole, path = (tmp_path / name).read_bytes(), tmp_path / f"damaged-{name}"
    refused = 0
    for seed in range(60):
        path.write_bytes(damaged(whole, np.random.default_rng(seed), name.endswith(".png")))
        error = ""
        try:
            load(path, 64)
        except UserError as user_error:
            error = str(user_error)
            refused += 1
        assert error == "" or error.startswith(f"{path}: ")
    assert refused > 15


@pytest.mark.parametrize(
    "error",
    [
        *(OSError, UnidentifiedImageError, EOFError, SyntaxError, ValueError, OverflowError, ZeroDivisionError),
        *(IndexError, KeyError, NotImplementedError, struct.error, zlib.error, Image.DecompressionBombError),
    ],
)
def test_what_a_decoder_raises_for_a_damaged_file_names_the_file(tmp_path, monkeypatch, error):
    def decode(*_):
        raise error("damage")

    Image.fromarray((chest() * 255).astype(np.uint8)).save(tmp_path / "film.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    with pytest.raises(UserError, match=r"film\.png: not a readable image \(.*damage"):
        load(tmp_path / "film.png", 64)


@pytest.mark.parametrize("error", [TypeError, AssertionError, MemoryError])
def test_a_fault_that_no_damage_explains_is_raised(tmp_path, monkeypatch, error):
    def decode(*_):
        raise error("fault")

    Image.fromarray((chest() * 255).astype(np.uint8)).save(tmp_path / "film.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    with pytest.raises(error, match="fault"):
        load(tmp_path / "film.png", 64)


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_truncated_jpeg_is_named(tmp_path, keep):
    path = tmp_path / "half.jpg"
    Image.fromarray((chest() * 255).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"half\.jpg: not a readable image"):
        load(path, 64)
    with pytest.raises(UserError, match="missing"):
        load(tmp_path / "none.jpg", 64)


def test_lateral_films_of_the_phantom_are_refused_and_frontal_ones_are_not(tmp_path):
    write_phantom(tmp_path / "raw", tmp_path / "truth.parquet", 3, 12, 96, 1)
    with gzip.open(tmp_path / "raw/mimic-cxr-jpg/mimic-cxr-2.0.0-metadata.csv.gz", "rt") as lines:
        views = {row["dicom_id"]: row["ViewPosition"] for row in csv.DictReader(lines)}
    reasons_by_view = {"PA": [], "LATERAL": []}
    for path in sorted((tmp_path / "raw/mimic-cxr-jpg/files").rglob("*.jpg")):
        try:
            load(path, 64)
            reason = ""
        except UserError as error:
            reason = str(error)
        reasons_by_view.setdefault(views[path.stem], []).append(reason)
    assert set(reasons_by_view["PA"]) == {""}
    assert len(reasons_by_view["LATERAL"]) > 2
    assert all("the film is lateral" in reason for reason in reasons_by_view["LATERAL"])


def test_real_films_upside_down_are_refused_and_upright_ones_are_not(films):
    with (films / "images.csv").open() as lines:
        names = [row["image_id"] for row in csv.DictReader(lines)][::5]
    refused = 0
    for name in names:
        array = np.asarray(Image.open(films / "images" / f"{name}.png").convert("L"))
        canonical(array, 64)
        try:
            canonical(array[::-1, ::-1], 64)
        except UserError as error:
            refused += "upside down" in str(error) or "lateral" in str(error)
    assert refused >= 0.85 * len(names)


def test_real_films_and_their_negatives(films):
    with (films / "images.csv").open() as lines:
        names = [row["image_id"] for row in csv.DictReader(lines)][::4]
    for name in names:
        array = np.asarray(Image.open(films / "images" / f"{name}.png").convert("L"))
        plain, negative = canonical(array, 64), canonical(255 - array, 64)
        assert plain.inverted != negative.inverted, name
        assert np.abs(plain.picture - negative.picture).mean() < 0.02, name


def test_a_mask_of_the_film_lies_on_the_picture_where_the_film_shows_it():
    film = np.pad(0.6 * chest(300, 260), ((30, 12), (50, 4)))  # margins that are cropped, and another scale than 64
    mask = np.zeros(film.shape, bool)
    mask[150:215, 120:167] = mask[90:110, 220:260] = True
    film[280:320, 180:200], film[280:320, 200:220] = 0.0, 1.0  # so that both films have the same grey scale
    with_mark = np.where(mask, film + 0.2, film)
    plain, marked = canonical(film, 64), canonical(with_mark, 64)
    np.testing.assert_array_equal(plain.to_original, marked.to_original)
    covered = mask_on_canonical(mask, plain.to_original, 64)
    assert covered.dtype == np.float32
    assert (covered.min(), covered.max()) == (0.0, 1.0)
    shown = (marked.picture - plain.picture) / 0.2
    assert np.abs(np.subtract(ndimage.center_of_mass(shown), ndimage.center_of_mass(covered))).max() < 0.15
    assert shown.sum() == pytest.approx(covered.sum(), rel=0.01)
    assert np.abs(shown - covered).max() < 0.5, "an edge pixel is at most half another"
    margin = np.zeros(film.shape, bool)
    margin[:, :40] = True
    in_margin = mask_on_canonical(margin, plain.to_original, 64)
    assert not in_margin[plain.picture > 0].any(), "the cropped margin lies in no pixel of the film"
