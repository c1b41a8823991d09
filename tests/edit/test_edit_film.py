"""A change of the model's square, brought back to films of every kind.

The truth is drawn: a film and the same film with a denser spot. The change of the canonical pictures, brought back to
the first film, has to give the second one, and nothing may happen outside of the spot.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from biomedjourney.editing import film as films
from biomedjourney.editing import tones
from biomedjourney.preprocess import canonical as canonical_of
from biomedjourney.preprocess import load
from tests.helpers import dicom_files
from tests.helpers.drawn_films import chest_with_vessels

SIZE = 64
DRAWN = 0.15 + 0.7 * chest_with_vessels(400)[:, 20:380]
Y, X = np.mgrid[: DRAWN.shape[0], : DRAWN.shape[1]]
SPOT = np.exp(-(((X - 110) / 28) ** 2) - ((Y - 150) / 22) ** 2)  # in the lung on the left of the picture
DENSER = DRAWN + 0.25 * SPOT
ORIENTED = {
    1: lambda film: film,
    3: lambda film: film[::-1, ::-1],
    5: lambda film: np.swapaxes(film, 0, 1),
    6: lambda film: np.rot90(film),
    8: lambda film: np.rot90(film, -1),
}


def whole(film: np.ndarray, highest: int) -> np.ndarray:
    return np.rint(film * highest).astype(np.uint8 if highest < 256 else np.uint16)


def picture(name: str, highest: int = 255, orientation: int = 1, mode: str = "") -> Callable[[Path, np.ndarray], Path]:
    def write(folder: Path, film: np.ndarray) -> Path:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        image = Image.fromarray(np.ascontiguousarray(ORIENTED[orientation](whole(film, highest))))
        (image.convert(mode) if mode else image).save(folder / name, exif=exif, quality=98)
        return folder / name

    return write


def dicom(stored: Callable[[np.ndarray], np.ndarray] | None = None, **elements: Any) -> Callable[..., Path]:
    def write(folder: Path, film: np.ndarray) -> Path:
        values = stored(film) if stored else whole(film, 4095)
        dicom_files.write(folder / "film.dcm", values, **elements)
        return folder / "film.dcm"

    return write


def with_margins(film: np.ndarray) -> np.ndarray:
    return np.pad(film, ((37, 52), (61, 18)))


def array(of: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, np.ndarray], np.ndarray]:
    return lambda folder, film: of(film)


STEPS = dicom_files.table([4096, 0, 8], np.rint(255 * (np.arange(4096) / 4095) ** 1.5).astype(np.uint8).tobytes())
KINDS: dict[str, Callable[[Path, np.ndarray], Any]] = {
    "8 bits": array(lambda film: whole(film, 255)),
    "16 bits": array(lambda film: whole(film, 60000)),
    "floats": array(lambda film: film * 3.0 - 1.0),
    "a negative": array(lambda film: whole(1.0 - film, 4095)),
    "margins": array(lambda film: whole(with_margins(film), 4095)),
    "a wide film": array(lambda film: whole(film[60:340], 4095)),
    "PNG of 16 bits": picture("film.png", 60000),
    "PNG in colours": picture("film.png", mode="RGB"),
    "PNG with transparency": picture("film.png", mode="LA"),
    **{f"PNG turned, {tag}": picture("film.png", orientation=tag) for tag in (3, 5, 6, 8)},
    "PNG of 16 bits, turned": picture("film.png", 60000, 6),
    "JPEG": picture("film.jpg"),
    "JPEG turned": picture("film.jpg", orientation=6),
    "DICOM": dicom(),
    "DICOM, MONOCHROME1": dicom(lambda film: whole(1.0 - film, 4095), PhotometricInterpretation="MONOCHROME1"),
    "DICOM, mirrored": dicom(lambda film: whole(film, 4095)[:, ::-1], PatientOrientation=["R", "F"]),
    "DICOM, window": dicom(WindowCenter=2000, WindowWidth=2900),
    "DICOM, sigmoid": dicom(WindowCenter=2000, WindowWidth=2500, VOILUTFunction="SIGMOID"),
    "DICOM, negative slope": dicom(lambda film: whole(1.0 - film, 4095), RescaleSlope=-1, RescaleIntercept=4095),
    "DICOM, signed": dicom(lambda film: whole(film, 4000).astype(np.int16) - 2000),
    "DICOM, table of few steps": dicom(VOILUTSequence=[STEPS]),
}


def form_of(image: Any) -> Any:
    return load(image, SIZE) if isinstance(image, Path) else canonical_of(image, SIZE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_comes_back_where_it_was_drawn_and_as_large(tmp_path: Path, kind: str) -> None:
    prior, later = form_of(KINDS[kind](tmp_path, DRAWN)), form_of(after := KINDS[kind](tmp_path, DENSER))
    expected = films.read(after, SIZE).pixels
    film = films.read(KINDS[kind](tmp_path, DRAWN), SIZE)
    assert film.canonical.inverted == (kind == "a negative")
    change = later.picture - prior.picture
    change[np.abs(change) < 0.02] = 0.0
    brought = films.on_film(change, film.canonical, film.pixels.shape[:2])
    result = film.changed(brought)
    assert result.dtype == film.pixels.dtype
    assert result.shape == film.pixels.shape == expected.shape
    np.testing.assert_array_equal(result[brought == 0.0], film.pixels[brought == 0.0])

    shown, wanted, before = (film.preview(pixels) for pixels in (result, expected, film.pixels))
    spot = with_margins(SPOT) if kind == "margins" else SPOT[60:340] if kind == "a wide film" else SPOT
    assert (brought[spot > 0.3] > 0.0).all()
    assert (brought[spot < 1e-4] == 0.0).all()
    drawn = (wanted - before)[spot > 0.3]
    assert drawn.mean() * (-1 if film.canonical.inverted else 1) > 0.12  # else there would be nothing to compare
    assert np.abs((shown - wanted)[spot > 0.3]).mean() < 0.1 * np.abs(drawn).mean()


def test_no_change_is_the_film_itself(tmp_path: Path) -> None:
    for kind, made in KINDS.items():
        film = films.read(made(tmp_path, DRAWN), SIZE)
        nothing = films.on_film(np.zeros((SIZE, SIZE), np.float32), film.canonical, film.pixels.shape[:2])
        np.testing.assert_array_equal(film.changed(nothing), film.pixels, err_msg=kind)


def test_what_the_model_draws_beside_the_field_is_left_out() -> None:
    """The square's black edge, and the film's cropped margins, belong to no pixel of the film."""
    film = films.read(whole(with_margins(DRAWN[:, 100:300]), 4095), SIZE)
    left, top, columns, rows = film.canonical.box
    change = np.ones((SIZE, SIZE), np.float32)
    change[top : top + rows, left : left + columns] = 0.0
    assert (change != 0).any()
    assert not films.on_film(change, film.canonical, film.pixels.shape[:2]).any()


def test_a_film_smaller_than_the_square_is_changed_too() -> None:
    film = films.read(whole(DRAWN[::6, ::6], 255), SIZE)
    change = np.zeros((SIZE, SIZE), np.float32)
    change[16:32, 12:24] = 0.3
    brought = films.on_film(change, film.canonical, film.pixels.shape)
    rows, columns = np.nonzero(brought > 0.15)
    scale = film.canonical.to_original[0, 0]
    assert np.mean(columns) == pytest.approx(17.5 * scale + film.canonical.to_original[0, 2], abs=0.6)
    assert np.mean(rows) == pytest.approx(23.5 * scale + film.canonical.to_original[1, 2], abs=0.6)


class TestTones:
    def test_a_straight_scale_is_moved_by_its_slope_and_ends_at_the_extremes(self) -> None:
        values = np.array([100.0, 500.0, 900.0])
        scale = tones.straight(values, (200.0, 700.0), inverted=False)
        np.testing.assert_allclose(scale.moved(values, np.array([0.2, -0.1, 0.5])), [200, 450, 900])
        turned = tones.straight(values, (200.0, 700.0), inverted=True)
        np.testing.assert_allclose(turned.moved(values, np.array([-0.2, 0.1, -0.5])), [200, 450, 900])

    def test_a_clipped_value_comes_into_sight_as_far_as_it_is_drawn_and_does_not_go_further_out(self) -> None:
        """A window from 1000 to 2000 clips what a pixel of 100 and one of 900 differ in."""
        stored = np.arange(0, 3001, 10)
        grey = np.clip(stored, 1000, 2000)
        scale = tones.curved(stored, grey, (1000.0, 2000.0), inverted=False)
        moved = scale.moved(np.array([100.0, 900.0, 2900.0]), np.array([0.5, 0.5, -0.5]))
        np.testing.assert_allclose(moved, [1500, 1500, 1500], atol=1000 * tones.CLIPPED)
        assert moved[0] < moved[1]
        outward = scale.moved(np.array([100.0, 1100.0, 2900.0, 1900.0]), np.array([-0.5, -0.5, 0.5, 0.5]))
        np.testing.assert_allclose(outward, [100, 1000, 2900, 2000])

    def test_the_way_there_and_back_is_exact_on_every_curve(self) -> None:
        stored = np.arange(4096)
        curves = {
            "steps": stored // 16,
            "sigmoid": 4095 / (1 + np.exp(-(stored - 2000) / 300)),
            "clipped": np.clip(stored, 1500, 1800),
            "falling": np.clip(4095 - stored, 700, 3000),
            "uneven": np.where(stored % 7, stored, stored - 3),
        }
        for name, grey in curves.items():
            scale = tones.curved(stored, grey, (float(grey.min()), float(grey.max())), inverted=name == "falling")
            back = scale.moved(stored.astype(float), np.zeros(len(stored)))
            np.testing.assert_array_equal(np.rint(back), stored, err_msg=name)
            assert (np.diff(scale.moved(stored.astype(float), np.full(len(stored), 0.1))) >= -1e-9).all(), name
