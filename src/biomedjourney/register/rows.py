"""From pairs and stored pictures to the rows of the tables `registrations` and `registered`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney import pixels, tables
from biomedjourney.errors import UserError
from biomedjourney.register.registration import register

PAIRS_AT_ONCE = 512


@dataclass(frozen=True)
class Job:
    pair_id: str
    prior: dict[str, Any] | None  # rows of the table of pixels; None where it has none
    current: dict[str, Any] | None


@dataclass(frozen=True)
class Done:
    registration: dict[str, Any]
    registered: dict[str, Any]


def pairs_of(path: Path, shard: int, shards: int) -> list[tuple[str, str, str]]:
    """(pair_id, prior_dicom_id, dicom_id) of a shard, sorted."""
    pairs = tables.read_arrow(path, "pairs", ["pair_id", "prior_dicom_id", "dicom_id"])
    columns = (pairs[name].to_pylist() for name in ("pair_id", "prior_dicom_id", "dicom_id"))
    return sorted(zip(*columns, strict=True))[shard::shards]


def jobs(pairs: list[tuple[str, str, str]], stored: list[Path]) -> Iterator[Job]:
    """The pairs with their pictures; the files of pixels are passed through once every 512 pairs.

    So memory holds the pictures of that many pairs, however many there are.
    """
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        part = pairs[start : start + PAIRS_AT_ONCE]
        wanted = {name for _, *names in part for name in names}
        found = tables.find(stored, "pixels", "dicom_id", wanted)
        for pair_id, prior, current in part:
            yield Job(pair_id, found.get(prior), found.get(current))


def work(job: Job, transform: str, threshold: float) -> Done:
    """Registers one pair; a pair without two pictures, or of which a film is no film, is not accepted."""
    for name, row in (("prior", job.prior), ("current", job.current)):
        if row is None:
            return _failed(job, f"the {name} image is not among the pixels")
        if row["png"] is None:
            return _failed(job, f"the {name} image has no picture: {row['reason']}")
    assert job.prior is not None
    assert job.current is not None
    try:
        prior, current = (pixels.decode_png(row["png"]) for row in (job.prior, job.current))
        result = register(prior, current, transform=transform, threshold=threshold)
    except UserError as error:
        return _failed(job, str(error))
    except Exception as error:  # one odd pair must not end the work on all others
        return _failed(job, f"{type(error).__name__}: {error}")
    if np.isnan(result.score_after):
        return _failed(job, result.reason)
    covered = result.coverage((prior.shape[0], prior.shape[1]))
    warped = result.warp(prior)
    if result.inverted:
        warped = np.where(covered, 1.0 - warped, 0.0)
    return Done(
        {
            "pair_id": job.pair_id,
            "matrix": _flat(result.matrix),
            "displacement": _flat(result.displacement),
            "score_before": result.score_before,
            "score_after": result.score_after,
            "accepted": result.accepted,
            "reason": result.reason,
        },
        {
            "pair_id": job.pair_id,
            "png": pixels.encode_png(warped),
            "coverage": pixels.encode_png(covered.astype(np.uint8) * np.uint8(255)),
        },
    )


def _flat(array: np.ndarray | None) -> list[float] | None:
    return None if array is None else array.ravel().tolist()


def _failed(job: Job, reason: str) -> Done:
    nothing = {"matrix": None, "displacement": None, "score_before": None, "score_after": None}
    return Done(
        {"pair_id": job.pair_id, **nothing, "accepted": False, "reason": reason},
        {"pair_id": job.pair_id, "png": None, "coverage": None},
    )
