"""The canonical form of a film, and the film seen at any points of it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from biomedjourney.errors import UserError
from biomedjourney.preprocess import field, files, views

LEAST_SIDE = 32  # pixels; below this an image is a thumbnail or an icon
LONGEST_ASPECT = 3.0
MASK_SAMPLES = 4  # of a mask, along each side of a pixel of the canonical picture


@dataclass(frozen=True)
class Canonical:
    """A film in canonical form.

    ``picture``: float32 (size, size) in [0, 1], bones bright, the exposed field centred, black beside it.
    ``to_original``: 2×3, maps a pixel centre (x, y) of the picture to one of the array or file it came from. A file's
    pixels are counted as a viewer shows them: turned as its tags say (`files.read`).
    ``inverted``: bones were dark; this has been undone.
    ``box``: where the exposed field lies in the picture, as (left, top, columns, rows) in pixels.
    ``levels``: the grey values of the array, or of the file as `files.read` decodes it, that became 0 and 1, or 1 and 0
    where the film was inverted.
    ``window_ignored``: a window or VOI LUT of the DICOM file was of no use (`dicom.decode`).
    """

    picture: np.ndarray
    to_original: np.ndarray
    inverted: bool
    box: tuple[int, int, int, int]
    levels: tuple[float, float]
    window_ignored: bool = False


@dataclass(frozen=True)
class ExposedField:
    """The exposed field of a film, before it is resized to canonical form.

    ``picture``: float32 (rows, columns) in [0, 1], bones bright, the longer side about twice ``size`` or less.
    ``size``: the side of the canonical picture in pixels. ``box``: where the field lies in the canonical picture, as
    (left, top, columns, rows) in pixels. ``to_original``, ``inverted``, ``levels``, ``window_ignored``: as in
    `Canonical`.
    """

    picture: np.ndarray
    size: int
    box: tuple[int, int, int, int]
    to_original: np.ndarray
    inverted: bool
    levels: tuple[float, float]
    window_ignored: bool = False

    def canonical(self) -> Canonical:
        """The field resized with antialiasing into its box of the black canonical square."""
        from PIL import Image

        left, top, columns, rows = self.box
        image = Image.fromarray(np.ascontiguousarray(self.picture))
        resized = image.resize((columns, rows), Image.Resampling.BILINEAR)
        square = np.zeros((self.size, self.size), dtype=np.float32)
        square[top : top + rows, left : left + columns] = np.clip(np.asarray(resized), 0.0, 1.0)
        return Canonical(square, self.to_original, self.inverted, self.box, self.levels, self.window_ignored)

    def seen_at(self, points: np.ndarray) -> np.ndarray:
        """The film at the points (rows, columns, 2) of the canonical picture, as (x, y) in its pixels; float32.

        As in canonical form, each value is a mean of the field's pixels, weighted by a triangle as wide as the distance
        between neighbouring points. So the film is resampled once. The canonical picture seen at the same points would
        be the film resampled twice, and blurred. 0 beside the field.
        """
        left, top, columns, rows = self.box
        height, width = self.picture.shape
        x = (points[..., 0] - left + 0.5) * (width / columns) - 0.5
        y = (points[..., 1] - top + 0.5) * (height / rows) - 0.5
        smooth = _smooth(_smooth(self.picture, _distance(x), axis=1), _distance(y), axis=0)
        seen = ndimage.map_coordinates(smooth, (y, x), order=1, mode="nearest")
        inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
        return np.where(inside, seen, np.float32(0.0))

    def negative(self) -> "ExposedField":
        """The field with the opposite grey scale."""
        return replace(self, picture=1.0 - self.picture, inverted=not self.inverted)


def canonical(picture: Any, size: int) -> Canonical:
    """The canonical form of a film, from a PIL image or an array of any size and numeric type, grey or RGB.

    Flat margins and borders are cropped (`field.field_box`), an inverted grey scale is undone
    (`views.recognise`), the 0.5th to the 99.5th percentile of the field become 0 to 1, and the field is resized
    with antialiasing, its aspect kept, into the middle of a black square. The same array gives the same bytes.

    Raises UserError where the array is no image, is blank, is smaller than 32 pixels on a side, is longer than
    three times its width (or the reverse), or shows a lateral chest, or one that is upside down or on its side.
    """
    return exposed_field(picture, size).canonical()


def load(path: str | Path, size: int) -> Canonical:
    """The canonical form of an image file (JPEG, PNG or DICOM), read as a viewer shows it (`files.read`).

    Raises UserError, naming the file, where it is missing, truncated or no image, and as `canonical` does.
    """
    return load_field(path, size).canonical()


def exposed_field(picture: Any, size: int) -> ExposedField:
    """The exposed field of a film on its way to a canonical picture of ``size`` pixels. Errors as in `canonical`."""
    grey = files.to_grey(picture)
    height, width = grey.shape
    if min(height, width) < LEAST_SIDE:
        raise UserError(f"the image is tiny ({width} x {height} pixels): at least {LEAST_SIDE} are expected")
    if max(height, width) > LONGEST_ASPECT * min(height, width):
        raise UserError(f"the image is a strip ({width} x {height} pixels): a chest film is nearly square")
    shrunk = shrink(grey, 2 * size)
    whole_picture = field.window(shrunk)
    if float(whole_picture.std()) < 1e-3:
        raise UserError("the image is blank: its pixels have one value")
    left, top, right, bottom = field.field_box(whole_picture)
    inside = shrunk[top:bottom, left:right]
    levels = field.levels(inside)
    seen = field.scaled(inside, levels)
    inverted, fault = views.recognise(shrink(seen, views.SIDE))
    if fault:
        raise UserError(f"the film is {fault}: an upright frontal chest film is expected")
    if inverted:
        seen = 1.0 - seen
    factor = size / max(seen.shape)
    rows, columns = (max(1, round(side * factor)) for side in seen.shape)
    x0, y0 = (size - columns) // 2, (size - rows) // 2
    across, down = width / shrunk.shape[1], height / shrunk.shape[0]
    x = _line((right - left) / columns * across, x0, left * across)
    y = _line((bottom - top) / rows * down, y0, top * down)
    to_original = np.array([[x[0], 0.0, x[1]], [0.0, y[0], y[1]]])
    black, white = levels
    return ExposedField(seen, size, (x0, y0, columns, rows), to_original, inverted, (float(black), float(white)))


def load_field(path: str | Path, size: int) -> ExposedField:
    """As `exposed_field`, from an image file. Errors as in `load`."""
    path = Path(path)
    grey, (rows, columns), window_ignored = files.read(path, size)
    try:
        film = exposed_field(grey, size)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    across, down = columns / grey.shape[1], rows / grey.shape[0]
    scale = np.array([[across], [down]])
    matrix = film.to_original * scale
    matrix[:, 2:] += 0.5 * scale - 0.5
    return replace(film, to_original=matrix, window_ignored=window_ignored)


def mask_on_canonical(mask: np.ndarray, to_original: np.ndarray, size: int) -> np.ndarray:
    """How much of each pixel of the canonical picture a mask of the film covers; float32 (size, size) in [0, 1].

    ``mask``: bool, of the array or file that ``to_original`` (2×3) maps the picture's pixels to. 0 beside it.
    """
    from PIL import Image

    per_side = size * MASK_SAMPLES
    # Pillow counts from the corner of the first pixel, the matrix from its centre
    matrix = np.reshape(to_original, (2, 3))
    steps = matrix[:, :2] / MASK_SAMPLES
    starts = matrix[:, 2] + 0.5 - 0.5 * matrix[:, :2].sum(axis=1)
    coefficients = np.column_stack([steps, starts]).ravel().tolist()
    image = Image.fromarray(mask * np.uint8(255))
    sampled = image.transform((per_side, per_side), Image.Transform.AFFINE, coefficients, Image.Resampling.NEAREST)
    return np.asarray(sampled.reduce(MASK_SAMPLES), dtype=np.float32) / 255.0


def shrink(grey: np.ndarray, longest: int) -> np.ndarray:
    """The float32 array averaged down to a longer side of ``longest`` pixels; unchanged where it is smaller."""
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


def _distance(coordinate: np.ndarray) -> float:
    """By how much one coordinate of neighbouring points differs, over both directions of their grid."""
    along_rows, along_columns = np.gradient(coordinate)
    return float(np.median(np.hypot(along_rows, along_columns)))


def _smooth(picture: np.ndarray, width: float, axis: int) -> np.ndarray:
    """Means along an axis, weighted by a triangle that falls to 0 at ``width`` pixels; unchanged up to 1 pixel."""
    if width <= 1.0:
        return picture
    reach = int(np.ceil(width))
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(-reach, reach + 1)) / width)
    return ndimage.correlate1d(picture, weights / weights.sum(), axis=axis, mode="nearest")
