"""Counterfactuals as files: PNG, JPEG and DICOM, each marked as synthetic."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney import tables
from biomedjourney.editing.film import Film
from biomedjourney.editing.marks import Mark, with_word
from biomedjourney.errors import UserError

JPEG = (".jpg", ".jpeg")
STRONGEST = 0.25  # a change of so much of the range has the full colour
SHEET_ROWS = 512  # pixels, the height of a picture on a sheet


def check_out(out: Path, film: Film, raw: bool) -> None:
    """Raises UserError where the ending of a file to write is none of those that the film can be written as."""
    ending = out.suffix.lower()
    if ending not in (".png", ".dcm", *JPEG):
        raise UserError(f"{out}: the kind of file is not known by its ending: write .png, .jpg or .dcm")
    if ending == ".dcm" and (raw or film.dataset is None):
        raise UserError(f"{out}: a DICOM file comes of a DICOM film, at the film's own size: write .png")
    if ending in JPEG and not raw:
        shown = _in_steps(film, film.pixels)
        if shown.dtype != np.uint8:
            raise UserError(f"{out}: a JPEG has 8 bits, and the film has more: write .png")
        if shown.shape[2:] in ((2,), (4,)):
            raise UserError(f"{out}: a JPEG has no transparency, and the film has: write .png")


def check_difference(out: Path) -> None:
    """Raises UserError where the ending of the file is not that of a PNG."""
    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: a difference is written as PNG: give a name that ends in .png")


def picture(out: Path, film: Film, pixels: np.ndarray, mark: Mark, word: bool) -> None:
    """Writes pixels in the form of the film's, with the word in the corner where it is wanted."""
    if word:
        pixels = with_word(film, pixels)
    if out.suffix.lower() == ".dcm":
        from biomedjourney.editing import write_dicom

        write_dicom.write(out, film, pixels, mark, word)
        return
    shown = _in_steps(film, pixels)
    if out.suffix.lower() in JPEG:
        _save(out, shown, mark, **{"quality": 95, "subsampling": 0} | film.kept)
    else:
        _save(out, shown, mark, **{name: value for name, value in film.kept.items() if name != "qtables"})


def square(out: Path, picture: np.ndarray, mark: Mark) -> None:
    """Writes the model's square, float32 (size, size) in [0, 1], with 8 bits."""
    _save(out, np.rint(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8), mark, quality=95)


def difference(out: Path, shown: np.ndarray, change: np.ndarray, mark: Mark) -> None:
    """Writes where a picture became brighter (red) and darker (blue), as a PNG over the film in half its contrast.

    ``shown``: the film, (rows, columns) in [0, 1]; ``change``: of the same shape, in shares of the range.
    """
    strength = np.clip(np.abs(change) / STRONGEST, 0.0, 1.0)[..., None]
    colour = np.where(change[..., None] > 0, np.array([1.0, 0.1, 0.1]), np.array([0.15, 0.35, 1.0]))
    mixed = (0.25 + 0.5 * shown[..., None]) * (1.0 - strength) + colour * strength
    _save(out, np.rint(mixed * 255.0).astype(np.uint8), mark)


def sheet(out: Path, pictures: Sequence[np.ndarray], mark: Mark | None, most_rows: int = SHEET_ROWS) -> None:
    """Writes pictures (rows, columns) in [0, 1] of one size side by side, at most ``most_rows`` high, as PNG.

    ``mark``: None where none of them is synthetic.
    """
    from PIL import Image

    rows, columns = pictures[0].shape
    factor = min(1.0, most_rows / rows)
    size = max(1, round(columns * factor)), max(1, round(rows * factor))
    images = [Image.fromarray(np.rint(picture * 255.0).astype(np.uint8)) for picture in pictures]
    _save(out, np.hstack([np.asarray(image.resize(size, Image.Resampling.BOX)) for image in images]), mark)


def _in_steps(film: Film, pixels: np.ndarray) -> np.ndarray:
    """The pixels in the 8 or 16 bits of a picture file: as they are, or what a viewer shows of them in 16 bits.

    A DICOM film of up to 8 bits has 8 bits.
    """
    if film.dataset is None and pixels.dtype in (np.uint8, np.uint16) and (pixels.ndim == 2 or pixels.itemsize == 1):
        return pixels[..., 0] if pixels.shape[2:] == (1,) else pixels
    if pixels.ndim == 3 and pixels.dtype == np.uint8:
        return pixels
    low, high = (np.float32(end(film.grey(film.pixels))) for end in (np.min, np.max))
    bits = 8 if film.dataset is not None and film.dataset.BitsStored <= 8 else 16
    shares = np.clip((film.grey(pixels) - low) / max(high - low, np.float32(1e-12)), 0.0, 1.0)
    return np.rint(shares * (2**bits - 1)).astype(f"u{bits // 8}")


def _save(out: Path, shown: np.ndarray, mark: Mark | None, **options: Any) -> None:
    from PIL import ExifTags, Image, PngImagePlugin

    image = Image.fromarray(shown)
    if mark is None:
        form, options = "PNG", {}
    elif out.suffix.lower() in JPEG:
        exif = Image.Exif()
        exif[ExifTags.Base.ImageDescription] = mark.sentence.encode("ascii", "backslashreplace").decode()
        exif[ExifTags.Base.Software] = "biomedjourney"
        form, options = "JPEG", options | {"exif": exif, "comment": mark.record.encode()}
        if "qtables" in options:  # the film's own: what the model did not touch is hardly compressed again
            options.pop("quality", None)
    else:
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("Description", mark.sentence)
        chunks.add_text("Software", "biomedjourney")
        chunks.add_itxt("biomedjourney", mark.record)
        form, options = "PNG", {name: options[name] for name in ("icc_profile", "dpi") if name in options}
        options |= {"pnginfo": chunks, "compress_level": 3}
    with tables.atomic_path(out) as temporary:
        image.save(temporary, format=form, **options)
