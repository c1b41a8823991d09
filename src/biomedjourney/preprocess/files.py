"""Image files as grey arrays, decoded no larger than needed."""

import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from biomedjourney.errors import UserError, raise_unless_damage

if TYPE_CHECKING:
    from PIL import Image

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
# What Pillow's decoders raise for damaged files, beside its own exceptions, most of which are OSErrors.
DAMAGED = (
    *(OSError, EOFError, SyntaxError, ValueError, ArithmeticError, LookupError, NotImplementedError),
    *(struct.error, zlib.error),
)
ROWS_BECOME_COLUMNS = (5, 6, 7, 8)  # EXIF orientations


class Film(NamedTuple):
    """A film as decoded from a file, turned as a viewer shows it.

    ``grey``: float32 (rows, columns), in any scale, perhaps at a reduced size. ``shape``: (rows, columns) of the whole
    film, turned likewise. ``window_ignored``: a DICOM window or VOI LUT was of no use (`dicom.decode`).
    """

    grey: np.ndarray
    shape: tuple[int, int]
    window_ignored: bool = False


def to_grey(picture: Any) -> np.ndarray:
    """A 2-D float32 array, in the scale given, from a PIL image or an array.

    An array is grey (h, w), (h, w, 1), grey and alpha (h, w, 2), RGB or RGBA; values that are not finite become the
    least finite one. A PIL image is turned as its EXIF orientation says. Raises UserError for another shape or type.
    """
    from PIL import Image

    array = shown(picture.copy())[0] if isinstance(picture, Image.Image) else np.asarray(picture)
    if array.dtype.kind not in "buif":
        raise UserError(f"an image holds numbers, not {array.dtype}")
    if array.ndim == 3 and array.shape[2] in (1, 2):
        array = array[..., 0]
    elif array.ndim == 3 and array.shape[2] in (3, 4):
        array = array[..., :3].astype(np.float32) @ LUMA
    if array.ndim != 2:
        raise UserError(f"an image has the shape (rows, columns) with 1 to 4 channels, not {array.shape}")
    grey = array.astype(np.float32)
    finite = np.isfinite(grey)
    if not finite.all():
        grey = np.where(finite, grey, grey[finite].min() if finite.any() else 0.0)
    return grey


def read(path: Path, size: int) -> Film:
    """The film of a JPEG, PNG (8 or 16 bit) or DICOM file, as a viewer shows it; also of other files that Pillow reads.

    A JPEG is decoded at a reduced size (a half, a quarter or an eighth) that is still at least twice ``size`` on
    its longer side: several times faster, and the decoder's own averaging is a good antialiasing filter.
    Raises UserError, naming the file, where it is missing, truncated or no image.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: the image file is missing: check the path (of a cohort's films: data.images of the configuration)"
        )
    dark_bones = window_ignored = False
    if is_dicom(path):
        from biomedjourney.preprocess import dicom

        array, dark_bones, window_ignored = dicom.decode(path)
        shape = array.shape[:2]
    else:
        array, shape = _decode_picture(path, size)
    try:
        grey = to_grey(array)
    except UserError as error:
        raise UserError(f"{path}: {error}: replace the file") from None
    return Film(grey.max() - grey if dark_bones else grey, shape, window_ignored)


def is_dicom(path: Path) -> bool:
    """By the ending of its name, or as it begins: files of DICOM media have names without an ending."""
    if path.suffix.lower() in (".dcm", ".dicom"):
        return True
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _decode_picture(path: Path, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The decoded pixels, and (rows, columns) of the whole picture; both turned as a viewer shows them."""
    from PIL import Image

    try:
        # From a stream: Pillow maps a plain TIFF file that it opens by its path, and then turns it wrongly.
        with path.open("rb") as stream, Image.open(stream) as image:
            columns, rows = image.size
            image.draft("L", _draft_size(columns, rows, 2 * size))
            array, rows_became_columns = shown(image)
            return array, (columns, rows) if rows_became_columns else (rows, columns)
    except (*DAMAGED, Image.DecompressionBombError) as error:
        raise_unless_damage(error, path)
        raise UserError(f"{path}: not a readable image ({error}): replace the file") from None


def shown(image: "Image.Image") -> tuple[np.ndarray, bool]:
    """The pixels as a viewer shows them, and whether rows became columns. Turns the image itself.

    It is turned as its EXIF block says (or its XMP block); a damaged block says nothing.
    """
    from PIL import ExifTags, ImageOps

    image.load()
    rows_become_columns = False
    try:
        rows_become_columns = image.getexif().get(ExifTags.Base.Orientation) in ROWS_BECOME_COLUMNS
        ImageOps.exif_transpose(image, in_place=True)
    except (*DAMAGED, TypeError, AttributeError):  # of the block: the pixels have been decoded
        pass
    if image.mode in ("1", "P"):
        image = image.convert("RGB" if image.mode == "P" else "L")
    elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "PA"):
        image = image.convert("L")
    return np.asarray(image), rows_become_columns


def _draft_size(columns: int, rows: int, longest: int) -> tuple[int, int]:
    factor = longest / max(columns, rows)
    return max(1, round(columns * factor)), max(1, round(rows * factor))
