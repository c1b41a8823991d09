"""A film at its own size and depth, and a change of the model's square brought back to it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from biomedjourney.editing import tones
from biomedjourney.errors import UserError
from biomedjourney.preprocess import Canonical, canonical, files, load

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class Film:
    """A film as a viewer shows it: turned as its tags say, in the values that it stores.

    ``pixels``: (rows, columns), or (rows, columns, channels) of a coloured picture, in the type of the array or file.
    ``canonical``: what the model sees of it. ``tones``: of its values. ``dataset``: of a DICOM file;
    ``is_mirrored``: its rows are stored the other way round. ``window``: of a DICOM file, the stored values and the
    grey values that a viewer makes of them. ``kept``: what a picture file says of its display and its compression.
    """

    pixels: np.ndarray
    canonical: Canonical
    tones: tones.Tones
    dataset: "Dataset | None" = None
    is_mirrored: bool = False
    window: tuple[np.ndarray, np.ndarray] | None = None
    kept: dict[str, Any] = field(default_factory=dict)

    def changed(self, change: np.ndarray) -> np.ndarray:
        """The film's pixels after a change of its tones, float32 (rows, columns); where it is 0 they stay as they are.

        The channels of a coloured picture move together.
        """
        result = self.pixels.copy()
        touched = change != 0.0
        colours = self.pixels.shape[2:]
        moved = np.broadcast_to(change[touched].reshape(-1, *(1,) * len(colours)), (int(touched.sum()), *colours))
        values = self.pixels[touched]
        new = self.tones.moved(values, moved)
        if self.pixels.dtype.kind in "bui":
            new = np.rint(new)
        with_alpha = colours in ((2,), (4,))
        new = new.astype(self.pixels.dtype)
        if with_alpha:
            new[..., -1] = values[..., -1]
        result[touched] = new
        return result

    def grey(self, pixels: np.ndarray) -> np.ndarray:
        """What a viewer makes of such pixels: grey values, float32 (rows, columns), larger where they look brighter."""
        if self.window is not None:
            return np.interp(pixels, *self.window).astype(np.float32)
        return files.to_grey(pixels)

    def preview(self, pixels: np.ndarray) -> np.ndarray:
        """The pixels as a viewer shows them, float32 (rows, columns) in [0, 1], in the grey range of the model."""
        black, white = self.canonical.levels
        return np.clip((self.grey(pixels) - np.float32(black)) / np.float32(max(white - black, 1e-12)), 0.0, 1.0)


def read(image: Any, size: int) -> Film:
    """The film of a path (JPEG, PNG, DICOM), a PIL image or an array, for a model of ``size`` pixels per side.

    Raises UserError as `preprocess.load` and `preprocess.canonical` do.
    """
    if isinstance(image, str | Path):
        path = Path(image)
        form = load(path, size)
        return _dicom(path, form) if files.is_dicom(path) else _picture(path, form)
    form = canonical(image, size)
    return _plain(_as_shown(image), form)


def on_film(change: np.ndarray, form: Canonical, shape: tuple[int, int]) -> np.ndarray:
    """A change of the model's square, brought to the pixels of the film: float32 ``shape``, 0 beside the exposed field.

    ``change``: float32 (size, size), in tones of the canonical form. It is interpolated by Pillow's bicubic filter, so
    that a pixel of the film is 0 where the pixels of the square around it are, two on each side.
    """
    from PIL import Image

    left, top, columns, rows = form.box
    inside = Image.fromarray(np.ascontiguousarray(change[top : top + rows, left : left + columns], dtype=np.float32))
    (factor_x, _, offset_x), (_, factor_y, offset_y) = form.to_original
    first_x, last_x, box_x = _span(factor_x, offset_x, left, columns, shape[1])
    first_y, last_y, box_y = _span(factor_y, offset_y, top, rows, shape[0])
    box = (box_x[0], box_y[0], box_x[1], box_y[1])
    result = np.zeros(shape, dtype=np.float32)
    size = last_x - first_x, last_y - first_y
    result[first_y:last_y, first_x:last_x] = np.asarray(inside.resize(size, Image.Resampling.BICUBIC, box))
    return result


def _span(factor: float, offset: float, start: int, length: int, pixels: int) -> tuple[int, int, tuple[float, float]]:
    """The film's pixels (first, last + 1) with their centres in the field, along one axis, and their span in the field.

    ``factor``, ``offset``: of the map of the square's pixel centres to the film's. ``start``, ``length``: the
    field's in the square. The span is in pixels of the field, counted from its edge.
    """
    edges = [factor * (edge - 0.5) + offset + 0.5 for edge in (start, start + length)]
    first = max(0, int(np.ceil(edges[0] - 0.5 - 1e-6)))
    last = min(pixels, int(np.floor(edges[1] - 0.5 + 1e-6)) + 1)
    low, high = ((edge - 0.5 - offset) / factor + 0.5 - start for edge in (first, last))
    return first, last, (max(low, 0.0), min(high, float(length)))


def _plain(pixels: np.ndarray, form: Canonical, **kept: Any) -> Film:
    grey_channels = pixels[..., :-1] if pixels.shape[2:] in ((2,), (4,)) else pixels
    finite = grey_channels[np.isfinite(grey_channels)]
    return Film(pixels, form, tones.straight(finite, form.levels, form.inverted), kept=kept)


def _as_shown(image: Any) -> np.ndarray:
    from PIL import Image

    return files.shown(image.copy())[0] if isinstance(image, Image.Image) else np.asarray(image)


def _picture(path: Path, form: Canonical) -> Film:
    from PIL import Image

    try:
        with path.open("rb") as stream, Image.open(stream) as image:
            kept = {name: image.info[name] for name in ("icc_profile", "dpi") if image.info.get(name)}
            if image.format == "JPEG":
                kept["qtables"] = image.quantization  # type: ignore[attr-defined]
            return _plain(files.shown(image)[0], form, **kept)
    except (*files.DAMAGED, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable image ({error}): replace the file") from None


def _dicom(path: Path, form: Canonical) -> Film:
    from biomedjourney.preprocess import dicom

    opened = dicom.open_file(path)
    pixels = opened.stored[:, ::-1] if opened.is_mirrored else opened.stored
    if pixels.ndim == 3:
        return Film(
            pixels, form, tones.straight(pixels, form.levels, form.inverted), opened.dataset, opened.is_mirrored
        )
    grey = files.to_grey(opened.decoded.array)
    if opened.decoded.dark_bones:
        grey = grey.max() - grey
    stored, first = np.unique(pixels, return_index=True)
    seen = grey.ravel()[first]
    curve = tones.curved(stored, seen, form.levels, form.inverted)
    return Film(pixels, form, curve, opened.dataset, opened.is_mirrored, (stored, seen))
