"""The canonical form of a film."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biomedjourney.errors import UserError
from biomedjourney.preprocess import field, files, views

LEAST_SIDE = 32  # pixels; below this an image is a thumbnail or an icon
LONGEST_ASPECT = 3.0


@dataclass(frozen=True)
class Canonical:
    """A film in canonical form.

    ``picture``: float32 (size, size) in [0, 1], bones bright, the exposed field centred, black beside it.
    ``to_original``: 2×3, maps a pixel centre (x, y) of the picture to one of the array or file it came from.
    ``inverted``: bones were dark; this has been undone.
    """

    picture: np.ndarray
    to_original: np.ndarray
    inverted: bool


def canonical(array: np.ndarray, size: int) -> Canonical:
    """The canonical form of a film, from an array of any size and numeric type, grey or RGB.

    Flat margins and borders are cropped (`field.field_box`), an inverted grey scale is undone
    (`views.recognise`), the 0.5th to the 99.5th percentile of the field become 0 to 1, and the field is resized
    with antialiasing, its aspect kept, into the middle of a black square. The same array gives the same bytes.

    Raises UserError where the array is no image, is blank, is smaller than 32 pixels on a side, is longer than
    three times its width (or the reverse), or shows a lateral or an upside-down chest.
    """
    from PIL import Image

    grey = files.to_grey(array)
    height, width = grey.shape
    if min(height, width) < LEAST_SIDE:
        raise UserError(f"the image is tiny ({width} x {height} pixels): at least {LEAST_SIDE} are expected")
    if max(height, width) > LONGEST_ASPECT * min(height, width):
        raise UserError(f"the image is a strip ({width} x {height} pixels): a chest film is nearly square")
    shrunk = shrink(grey, 2 * size)
    seen = field.window(shrunk)
    if float(seen.std()) < 1e-3:
        raise UserError("the image is blank: its pixels have one value")
    left, top, right, bottom = field.field_box(seen)
    picture = field.window(shrunk[top:bottom, left:right])
    inverted, fault = views.recognise(shrink(picture, views.SIDE))
    if fault:
        raise UserError(f"the film is {fault}: an upright frontal chest film is expected")
    if inverted:
        picture = 1.0 - picture
    factor = size / max(picture.shape)
    rows, columns = (max(1, round(side * factor)) for side in picture.shape)
    small = Image.fromarray(np.ascontiguousarray(picture)).resize((columns, rows), Image.Resampling.BILINEAR)
    x0, y0 = (size - columns) // 2, (size - rows) // 2
    square = np.zeros((size, size), dtype=np.float32)
    square[y0 : y0 + rows, x0 : x0 + columns] = np.clip(np.asarray(small), 0.0, 1.0)
    across, down = width / shrunk.shape[1], height / shrunk.shape[0]
    x = _line((right - left) / columns * across, x0, left * across)
    y = _line((bottom - top) / rows * down, y0, top * down)
    return Canonical(square, np.array([[x[0], 0.0, x[1]], [0.0, y[0], y[1]]]), inverted)


def load(path: str | Path, size: int) -> Canonical:
    """The canonical form of an image file (JPEG, PNG or DICOM); ``to_original`` refers to the file's pixels.

    Raises UserError, naming the file, where it is missing, truncated or no image, and as `canonical` does.
    """
    path = Path(path)
    grey, (rows, columns) = files.read(path, size)
    try:
        film = canonical(grey, size)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    across, down = columns / grey.shape[1], rows / grey.shape[0]
    scale = np.array([[across], [down]])
    matrix = film.to_original * scale
    matrix[:, 2:] += 0.5 * scale - 0.5
    return Canonical(film.picture, matrix, film.inverted)


def shrink(grey: np.ndarray, longest: int) -> np.ndarray:
    """The float32 array averaged down to a longer side of ``longest`` pixels; as it is where it is smaller."""
    from PIL import Image

    height, width = grey.shape
    factor = longest / max(height, width)
    if factor >= 1.0:
        return grey
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX))


def _line(factor: float, start: float, offset: float) -> tuple[float, float]:
    """Coefficients of the map of pixel centres x -> (x - start + 0.5) * factor + offset - 0.5."""
    return factor, (0.5 - start) * factor + offset - 0.5
