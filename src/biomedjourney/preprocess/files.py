"""Image files as grey arrays, decoded no larger than needed."""

import struct
import zlib
from pathlib import Path

import numpy as np

from biomedjourney.errors import UserError

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
# What Pillow's decoders raise for damaged files, beside its own exceptions, most of which are OSErrors.
DAMAGED = (
    *(OSError, EOFError, SyntaxError, ValueError, ArithmeticError, LookupError, NotImplementedError),
    *(struct.error, zlib.error),
)


def to_grey(array: np.ndarray) -> np.ndarray:
    """A 2-D float32 array from grey (h, w), (h, w, 1), grey and alpha (h, w, 2), RGB or RGBA, in the scale given.

    Values that are not finite become the least finite one. Raises UserError for another shape or type.
    """
    array = np.asarray(array)
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


def read(path: Path, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The grey scale of a JPEG, PNG (8 or 16 bit) or DICOM file, and (rows, columns) of the file.

    A JPEG is decoded at a reduced size (a half, a quarter or an eighth) that is still at least twice ``size`` on
    its longer side: several times faster, and the decoder's own averaging is a good antialiasing filter.
    Raises UserError, naming the file, where it is missing, truncated or no image.
    """
    if not path.is_file():
        raise UserError(f"{path}: the image file is missing: check the data folder of the configuration")
    if path.suffix.lower() in (".dcm", ".dicom"):
        array, dark_bones = _decode_dicom(path)
        shape = array.shape[:2]
    else:
        array, shape = _decode_picture(path, size)
        dark_bones = False
    try:
        grey = to_grey(array)
    except UserError as error:
        raise UserError(f"{path}: {error}: replace the file") from None
    if dark_bones:
        grey = grey.max() - grey
    return grey, shape


def _decode_picture(path: Path, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The decoded pixels, and (rows, columns) of the file."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            columns, rows = opened.size
            opened.draft("L", _draft_size(columns, rows, 2 * size))
            image: Image.Image = opened
            if image.mode in ("1", "P"):
                image = image.convert("RGB" if image.mode == "P" else "L")
            elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "PA"):
                image = image.convert("L")
            return np.asarray(image), (rows, columns)
    except (*DAMAGED, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable image ({error}): replace the file") from None


def _draft_size(columns: int, rows: int, longest: int) -> tuple[int, int]:
    factor = longest / max(columns, rows)
    return max(1, round(columns * factor)), max(1, round(rows * factor))


def _decode_dicom(path: Path) -> tuple[np.ndarray, bool]:
    """Stored values through the file's rescale slope and intercept and its VOI LUT or window; true for MONOCHROME1."""
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    try:
        dataset = pydicom.dcmread(path)
        array = dataset.pixel_array
        if dataset.SamplesPerPixel == 1:
            array = apply_voi_lut(apply_modality_lut(array, dataset), dataset)
        return array, dataset.PhotometricInterpretation == "MONOCHROME1"
    except Exception as error:  # pydicom raises many kinds for a damaged file
        raise UserError(f"{path}: not a readable DICOM image ({error}): replace the file") from None
