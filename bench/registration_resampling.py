"""What it is worth to resample a registered prior once, from its file, and not a second time from its stored picture.

    BIOMEDJOURNEY_FILMS=FOLDER python bench/registration_resampling.py

Real pairs with a score of at least 0.6, registered as canonical pictures of 64 and of 256 pixels. Detail: the energy
above half of the Nyquist frequency over the central 75 %, against that of the canonical prior and of the current film
(medians). Error: root mean square difference from the file's own pixels, averaged at full resolution over a triangle of
one canonical pixel. Cost: CPU milliseconds per pair in one process with one thread. It includes the decoding of the
prior's file. A second measurement is on JPEG files of MIMIC-CXR's size.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from preprocess_speed import write_large
from scipy import ndimage

from biomedjourney import pixels
from biomedjourney.errors import UserError
from biomedjourney.preprocess import load
from biomedjourney.preprocess.film import ExposedField, load_field
from biomedjourney.register import Registration, affine, register
from tests.helpers import films

LEAST_SCORE = 0.6
TWICE, TWICE_CUBIC, ONCE = "twice, linear (before)", "twice, cubic spline", "once, from the file (now)"


class Registered(NamedTuple):
    prior_path: Path
    prior: np.ndarray
    current: np.ndarray
    result: Registration


def registered_pairs(paths: list[tuple[Path, Path]], size: int) -> Iterator[Registered]:
    """Pictures as the table `pixels` stores them, in 8 bits."""
    for prior_path, current_path in paths:
        try:
            stored = (pixels.encode_png(load(path, size).picture) for path in (prior_path, current_path))
            prior, current = map(pixels.decode_png, stored)
        except UserError:
            continue
        result = register(prior, current)
        if result.score_after >= LEAST_SCORE and not result.inverted:
            yield Registered(prior_path, prior, current, result)


def cubic(prior: np.ndarray, result: Registration) -> np.ndarray:
    x, y = np.moveaxis(result.points(), -1, 0)
    return np.clip(ndimage.map_coordinates(prior, (y, x), order=3, mode="nearest"), 0, 1) * result.coverage(prior.shape)


def full_resolution(path: Path, field: ExposedField) -> ExposedField:
    """The film with all pixels of its file in place of those of the field, in the same grey scale."""
    file_pixels = np.asarray(Image.open(path).convert("L"), dtype=np.float32)
    (across, _, x0), (_, down, y0) = field.to_original
    box = 0.5 - (x0 + 0.5) / across, 0.5 - (y0 + 0.5) / down, file_pixels.shape[1] / across, file_pixels.shape[0] / down
    film = replace(field, picture=file_pixels, box=box)
    canonical, here = field.canonical().picture, affine.grid((field.size, field.size))
    unclipped = (canonical > 0.02) & (canonical < 0.98)
    slope, level = np.polyfit(film.seen_at(here)[unclipped], canonical[unclipped], 1)
    return replace(film, picture=np.clip(slope * file_pixels + level, 0, 1))


def centre(picture: np.ndarray) -> np.ndarray:
    margin = len(picture) // 8
    return picture[margin:-margin, margin:-margin]


def detail(picture: np.ndarray) -> float:
    """Energy above half of the Nyquist frequency."""
    seen = centre(picture).astype(float)
    seen = (seen - seen.mean()) * np.outer(np.hanning(len(seen)), np.hanning(len(seen)))
    frequency = np.fft.fftfreq(len(seen))
    return float((np.abs(np.fft.fft2(seen)) ** 2)[np.hypot(frequency, frequency[:, None]) > 0.25].sum())


def quality(size: int) -> None:
    rows = defaultdict(list)
    for pair in registered_pairs(films.pairs(films.folder()), size):
        field = load_field(pair.prior_path, size)
        points = pair.result.points()
        pictures = {
            TWICE: pair.result.warp(pair.prior),
            TWICE_CUBIC: cubic(pair.prior, pair.result),
            ONCE: field.seen_at(points),
        }
        true = full_resolution(pair.prior_path, field).seen_at(points)
        inside = centre(replace(field, picture=np.ones_like(field.picture)).seen_at(points)) > 0
        for name, picture in pictures.items():
            error = (centre(picture) - centre(true))[inside]
            against = [detail(picture) / detail(film) for film in (pair.prior, pair.current)]
            rows[name].append((*against, films.correlation(picture, pair.current), np.sqrt(np.mean(error**2))))
    print(f"{size} px, {len(rows[ONCE])} pairs; detail against the canonical prior and against the current film")
    print(f"  {'resampled':28}{'prior':>8}{'current':>9}{'correlation':>13}{'error':>9}")
    for name, values in rows.items():
        prior, current, _, error = np.median(values, axis=0)
        print(f"  {name:28}{prior:8.2f}{current:9.2f}{np.mean(values, axis=0)[2]:13.3f}{error:9.4f}")


def milliseconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def cost(kind: str, paths: list[tuple[Path, Path]], size: int) -> None:
    rows = []
    for pair in registered_pairs(paths, size):
        rows.append(
            (
                milliseconds(lambda pair=pair: register(pair.prior, pair.current)),
                milliseconds(lambda pair=pair: pair.result.warp(pair.prior)),
                milliseconds(lambda pair=pair: load_field(pair.prior_path, size).seen_at(pair.result.points())),
            )
        )
    fit, twice, once = np.median(rows, axis=0)
    print(
        f"{size} px, {len(rows)} pairs of {kind}: registration {fit:.1f} ms, twice {twice:.1f} ms, once {once:.1f} ms"
    )


def main() -> None:
    pairs = films.pairs(films.folder())
    for size in (64, 256):
        quality(size)
    for size in (64, 256):
        cost("PNG files 640 px wide", pairs[::4], size)
    with tempfile.TemporaryDirectory() as folder:
        large = list(pairwise(write_large(Path(folder), 24)))
        for size in (64, 256):
            cost("JPEG files 2544 px wide", large, size)


if __name__ == "__main__":
    main()
