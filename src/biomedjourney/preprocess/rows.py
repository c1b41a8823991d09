"""From the tables of images to the rows of the table `pixels`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from biomedjourney import pixels, tables
from biomedjourney.errors import UserError
from biomedjourney.preprocess.film import load
from biomedjourney.refusals import Refusals

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    dicom_id: str
    path: Path | None  # None where the table `images` does not know the image
    size: int


@dataclass(frozen=True)
class Result:
    """``row``: of the table `pixels`. ``window_ignored``: as in `film.Canonical`."""

    row: dict[str, Any]
    window_ignored: bool = False


@dataclass
class Count:
    pictures: int = 0
    inverted: int = 0
    windows_ignored: int = 0

    def over(self, results: Iterable[Result], refusals: Refusals) -> Iterator[dict[str, Any]]:
        """Passes the rows on and counts them. Raises UserError as soon as there are too many refusals."""
        for result in results:
            row = result.row
            self.windows_ignored += result.window_ignored
            if row["png"] is None:
                refusals.add(row["reason"])
            self.pictures += row["png"] is not None
            self.inverted += row["inverted"]
            yield row


def jobs(pairs: Path, singles: Path, images: Path, root: Path, size: int) -> list[Job]:
    """One job for each image of a single or a pair, patient by patient, so that a shard holds whole journeys."""
    single_rows = tables.read_arrow(singles, "singles", ["dicom_id", "subject_id"])
    pair_rows = tables.read_arrow(pairs, "pairs", ["prior_dicom_id", "dicom_id", "subject_id"])
    subject_of: dict[str, int] = {}
    for rows, column in ((single_rows, "dicom_id"), (pair_rows, "prior_dicom_id"), (pair_rows, "dicom_id")):
        subject_of.update(zip(rows[column].to_pylist(), rows["subject_id"].to_pylist(), strict=True))
    paths = image_paths(images, root, subject_of)
    names = sorted(subject_of, key=lambda name: (subject_of[name], name))
    return [Job(name, paths.get(name), size) for name in names]


def part_of(items: Sequence[T], shard: int, shards: int) -> Sequence[T]:
    """The items of a shard: neighbours, so that the pairs of one shard have their pictures in few shards of pixels."""
    size, longer = divmod(len(items), shards)  # that many shards at the start hold one item more
    first = shard * size + min(shard, longer)
    return items[first : first + size + (shard < longer)]


def image_paths(images: Path, root: Path, names: Iterable[str]) -> dict[str, Path]:
    """The files of these images (dicom_id), those that the table `images` knows. ``root``: the folder of the files."""
    known_images = tables.read_arrow(images, "images", ["dicom_id", "path"])
    known_images = known_images.filter(pc.is_in(known_images["dicom_id"], pa.array(list(names), pa.string())))
    ids, relative_paths = (known_images[column].to_pylist() for column in ("dicom_id", "path"))
    return {name: root / path for name, path in zip(ids, relative_paths, strict=True)}


def work(job: Job) -> Result:
    """The row of one image. Where its file gives no picture, the png is null and the reason says why.

    Any other exception is a fault of the program. It is raised with a note that names the file.
    """
    empty_row = {"dicom_id": job.dicom_id, "png": None, "inverted": False, "to_original": None}
    if job.path is None:
        return Result(empty_row | {"reason": "the images table does not know the image"})
    try:
        film = load(job.path, job.size)
    except UserError as error:
        return Result(empty_row | {"reason": str(error)})
    except Exception as error:
        error.add_note(f"preprocess was working on {job.path}")
        raise
    row = {
        "dicom_id": job.dicom_id,
        "png": pixels.encode_png(film.picture),
        "inverted": film.inverted,
        "to_original": film.to_original.ravel().tolist(),
        "reason": "",
    }
    return Result(row, film.window_ignored)


def groups(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """The rows in lists of ``size``; the last list may be shorter."""
    source = iter(rows)
    while group := list(islice(source, size)):
        yield group
