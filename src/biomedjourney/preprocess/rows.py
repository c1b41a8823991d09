"""From the tables of images to the rows of the table of pixels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from biomedjourney import pixels, tables
from biomedjourney.errors import UserError
from biomedjourney.preprocess.film import load


@dataclass(frozen=True)
class Job:
    dicom_id: str
    path: Path | None
    size: int


@dataclass
class Count:
    pictures: int = 0
    inverted: int = 0
    failed: int = 0

    def over(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            self.pictures += row["png"] is not None
            self.failed += row["png"] is None
            self.inverted += row["inverted"]
            yield row


def jobs(pairs: Path, singles: Path, images: Path, root: Path, size: int) -> list[Job]:
    """One job for each image of a single or a pair, sorted by dicom_id; path None where no file is known."""
    wanted = set(tables.read_arrow(singles, "singles", ["dicom_id"])["dicom_id"].to_pylist())
    paired = tables.read_arrow(pairs, "pairs", ["prior_dicom_id", "dicom_id"])
    wanted.update(paired["prior_dicom_id"].to_pylist(), paired["dicom_id"].to_pylist())
    known = tables.read_arrow(images, "images", ["dicom_id", "path"])
    paths = dict(zip(known["dicom_id"].to_pylist(), known["path"].to_pylist(), strict=True))
    return [Job(name, root / paths[name] if name in paths else None, size) for name in sorted(wanted)]


def row(job: Job) -> dict[str, Any]:
    """The row of one image; where there is no picture to be had, a null png and the reason."""
    empty = {"dicom_id": job.dicom_id, "png": None, "inverted": False, "to_original": None}
    if job.path is None:
        return empty | {"reason": "the table of images does not know it"}
    try:
        film = load(job.path, job.size)
    except UserError as error:
        return empty | {"reason": str(error)}
    except Exception as error:  # one odd file must not end the work on all others
        return empty | {"reason": f"{job.path}: {type(error).__name__}: {error}"}
    return {
        "dicom_id": job.dicom_id,
        "png": pixels.encode_png(film.picture),
        "inverted": film.inverted,
        "to_original": film.to_original.ravel().tolist(),
        "reason": "",
    }


def groups(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    source = iter(rows)
    while group := list(islice(source, size)):
        yield group
