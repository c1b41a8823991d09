"""DICOM films: stored values through the tables and windows of the file."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.multival import MultiValue
from pydicom.pixels import apply_windowing
from pydicom.valuerep import DSfloat

from biomedjourney.errors import UserError, brief, lacks_memory, raise_unless_damage

# The least share of the middle of a picture that a window has to leave between black and white. On the real films as
# 12 bits, 40/80 and 40/400 leave at most 0.01 of it, and a window from the 10th to the 90th percentile at least 0.65.
LEAST_SHOWN = 0.1
RESCALE = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}  # with what holds where only the other one is given
END = 0.01  # black and white: so much of the range at both ends


class Decoded(NamedTuple):
    """``array``: (rows, columns), or (rows, columns, 3). ``dark_bones``: MONOCHROME1. For the rest see `decode`."""

    array: np.ndarray
    dark_bones: bool
    window_ignored: bool


class Opened(NamedTuple):
    """A file's data set, its stored values as they lie in the file, and the picture that a viewer makes of them."""

    dataset: Dataset
    stored: np.ndarray
    decoded: Decoded
    is_mirrored: bool


def decode(path: Path) -> Decoded:
    """The picture of a single-frame file, as a viewer shows it: see `open_file`."""
    return open_file(path).decoded


def open_file(path: Path) -> Opened:
    """A single-frame file with its picture, as a viewer shows it.

    Grey values go through the modality LUT or rescale, and then through the first VOI LUT, or else the first window,
    that is valid and does not clip nearly all of the picture. ``window_ignored``: there was another one before it, or
    the modality LUT or rescale is damaged. All three VOI LUT functions are known. A picture whose rows run to the
    patient's right and whose columns run to the feet (PatientOrientation R\\F) is mirrored back. Other orientations are
    not acted on: `views` looks at the picture.

    Raises UserError, naming the file, where it is damaged.
    """
    try:
        dataset = dcmread(path)
        stored = dataset.pixel_array
        array, ignored = stored, False
        if dataset.SamplesPerPixel == 1:
            units, damaged = _in_modality_units(array, dataset)
            array, ignored = _seen(units, dataset)
            ignored = ignored or damaged
        is_mirrored = _is_mirrored(dataset)
        if is_mirrored:
            array = array[:, ::-1]
        decoded = Decoded(array, dataset.PhotometricInterpretation == "MONOCHROME1", ignored)
        return Opened(dataset, stored, decoded, is_mirrored)
    except Exception as error:  # pydicom raises many kinds for a damaged file
        raise_unless_damage(error, path)
        raise UserError(f"{path}: not a readable DICOM image ({brief(error)}): replace the file") from None


def _in_modality_units(values: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, bool]:
    """The values through the modality LUT or rescale, and whether that is damaged: then the values as they are."""
    if tables := dataset.get("ModalityLUTSequence"):
        try:
            return _through_table(values, tables[0], dataset), False
        except Exception as error:  # whatever is wrong with it, the film can be seen without it
            if lacks_memory(error):
                raise
            return values, True
    if all(dataset.get(name) is None for name in RESCALE):  # absent or empty
        return values, False
    slope, intercept = (
        default if dataset.get(name) is None else _number(dataset.get(name)) for name, default in RESCALE.items()
    )
    if not np.isfinite((slope, intercept)).all() or slope == 0.0:
        return values, True
    return values * slope + intercept, False


def _seen(values: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, bool]:
    """The values through the file's first usable VOI LUT or window; whether one was ignored before it."""
    ways: list[Callable[[], np.ndarray]] = [
        partial(_through_table, values, item, dataset) for item in dataset.get("VOILUTSequence") or ()
    ]
    ways += [partial(_through_window, values, window, dataset) for window in _windows(dataset)]
    for number, way in enumerate(ways):
        try:
            seen = way()
        except Exception as error:  # whatever is wrong with it, the film can be seen without it
            if lacks_memory(error):
                raise
            continue
        if _shows(seen):
            return seen, number > 0
    return values, bool(ways)


def _windows(dataset: Dataset) -> list[tuple[float, float]]:
    """(center, width) of each window; nan for what is no number."""
    numbers = []
    for name in ("WindowCenter", "WindowWidth"):
        value = dataset.get(name)
        parts = value if isinstance(value, MultiValue) else [] if value is None else [value]
        numbers.append([_number(part) for part in parts])
    return list(zip(*numbers, strict=False))


def _number(part: Any) -> float:
    try:
        return float(part)
    except (ValueError, TypeError):
        return np.nan


def _through_window(values: np.ndarray, window: tuple[float, float], dataset: Dataset) -> np.ndarray:
    """Raises ValueError where the window is not valid for the file's VOI LUT function."""
    if not np.isfinite(window).all():
        raise ValueError("a window has a center and a width that are numbers")
    # Not in the file's own data set: there a negative rescale slope would turn the grey scale.
    view = Dataset()
    view.PhotometricInterpretation, view.PixelRepresentation, view.BitsStored = "MONOCHROME2", 0, 16
    view.VOILUTFunction = (dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    view.WindowCenter, view.WindowWidth = (DSfloat(number, auto_format=True) for number in window)
    with np.errstate(over="ignore"):  # far below a narrow sigmoid
        return apply_windowing(values, view)


def _through_table(values: np.ndarray, item: Dataset, dataset: Dataset) -> np.ndarray:
    """The values through an item of a modality or VOI LUT sequence. Raises any exception where the item is damaged.

    pydicom's `apply_voi` is not used, since it counts positions in the type of the entries: in a table of 4,096 entries
    of 8 bits it finds the wrong ones.
    """
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    count = count % 65536 or 65536  # 0 stands for 65536; and the number may have been read as a signed one
    if first > 32767 and values.min() < 0:
        first -= 65536  # a negative one, read by the sign of the stored values
    entries, word = item.LUTData, "<u2" if dataset.original_encoding[1] else ">u2"
    if not isinstance(entries, bytes):
        entries = np.atleast_1d(np.array(entries)).astype(word).tobytes()
    in_bytes = bits <= 8 and len(entries) < 2 * count
    table = np.frombuffer(entries, np.uint8 if in_bytes else word)[:count]
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)]


def _shows(seen: np.ndarray) -> bool:
    """False where nearly all of the picture's middle (half of its rows and columns) is black or white."""
    rows, columns = seen.shape[-2:]
    middle = seen[..., rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4].astype(np.float64)
    low, high = float(seen.min()), float(seen.max())
    end = END * (high - low)
    return float(((middle > low + end) & (middle < high - end)).mean()) >= LEAST_SHOWN


def _is_mirrored(dataset: Dataset) -> bool:
    directions = dataset.get("PatientOrientation")
    return isinstance(directions, MultiValue) and [str(each).strip().upper() for each in directions] == ["R", "F"]
