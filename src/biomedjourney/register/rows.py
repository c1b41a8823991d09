"""From pairs and stored pictures to the rows of the tables `registrations` and `registered`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from biomedjourney import pixels, tables
from biomedjourney.errors import UserError
from biomedjourney.pair.directions import in_direction
from biomedjourney.preprocess.film import ExposedField, load_field
from biomedjourney.preprocess.rows import part_of
from biomedjourney.refusals import Refusals
from biomedjourney.register.registration import Registration, register

PAIRS_AT_ONCE = 256


class Pair(NamedTuple):
    pair_id: str
    prior_dicom_id: str
    dicom_id: str


@dataclass(frozen=True)
class Job:
    """``prior``, ``current``: rows of the table `pixels`; None where it has none. ``prior_path``: the prior's file."""

    pair_id: str
    prior: dict[str, Any] | None
    current: dict[str, Any] | None
    prior_path: Path | None


@dataclass(frozen=True)
class Result:
    """Both rows of a pair. ``failure``: why the registration failed; empty where it did not, and see `work`."""

    registration: dict[str, Any]
    registered: dict[str, Any]
    failure: str = ""


def pairs_of(path: Path, direction: str, shard: int, shards: int) -> Sequence[Pair]:
    """The pairs of a direction (`in_direction`) that belong to a shard, patient by patient as the pixels are."""
    pairs = in_direction(tables.read(path, "pairs"), direction).sort_values("subject_id", kind="stable")
    return part_of([Pair(*row) for row in pairs[list(Pair._fields)].itertuples(index=False)], shard, shards)


def jobs(pairs: Sequence[Pair], pixel_tables: list[Path], prior_paths: dict[str, Path]) -> Iterator[Job]:
    """The pairs with their pictures, of which memory holds those of 256 pairs. ``prior_paths``: the files by dicom_id.

    Of the tables of pixels the keys are read, and the row groups with a picture of these pairs: few where neighbours
    in ``pairs`` have their pictures side by side.
    """
    names = {name for pair in pairs for name in (pair.prior_dicom_id, pair.dicom_id)}
    lookup = tables.Lookup(pixel_tables, "pixels", "dicom_id", names)
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        group = pairs[start : start + PAIRS_AT_ONCE]
        pixel_rows = lookup.rows(name for pair in group for name in (pair.prior_dicom_id, pair.dicom_id))
        for pair_id, prior, current in group:
            yield Job(pair_id, pixel_rows.get(prior), pixel_rows.get(current), prior_paths.get(prior))


def work(job: Job, transform: str, threshold: float) -> Result:
    """Registers one pair. A pair that gets no score is not accepted, and the reason says why.

    A pair of which `preprocess` refused a film gets no score, but it is not a failure of the registration: the film
    was counted already, and one film can belong to several pairs. Any exception but a UserError is a fault of the
    program. It is raised with a note that names the pair.
    """
    for name, row in (("prior", job.prior), ("current", job.current)):
        if row is None:
            return _without_score(job, f"the {name} image is not among the pixels", is_failure=True)
        if row["png"] is None:
            return _without_score(job, f"the {name} image has no picture: {row['reason']}", is_failure=False)
    try:
        return _register(job, transform, threshold)
    except UserError as error:
        return _without_score(job, str(error), is_failure=True)
    except Exception as error:
        error.add_note(f"register was working on pair {job.pair_id}")
        raise


def pictures(
    results: Iterable[Result], registrations: list[dict[str, Any]], failures: Refusals
) -> Iterator[dict[str, Any]]:
    """The rows of the table `registered`; those of `registrations` are added to the list.

    Raises UserError as soon as there are too many failures.
    """
    for result in results:
        if result.failure:
            failures.add(result.failure)
        registrations.append(result.registration)
        yield result.registered


def _register(job: Job, transform: str, threshold: float) -> Result:
    assert job.prior is not None
    assert job.current is not None
    prior, current = (pixels.decode_png(row["png"]) for row in (job.prior, job.current))
    result = register(prior, current, transform=transform, threshold=threshold)
    if np.isnan(result.score_after):
        return _without_score(job, result.reason, is_failure=True)
    covered = result.coverage((prior.shape[0], prior.shape[1]))
    registered_prior = _resample_prior(job, len(prior), result)
    return Result(
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
            "png": pixels.encode_png(registered_prior),
            "coverage": pixels.encode_png(covered.astype(np.uint8) * np.uint8(255)),
        },
    )


def _resample_prior(job: Job, size: int, result: Registration) -> np.ndarray:
    """The prior film on the current canonical picture, resampled once: from its file, not from its stored picture.

    Through the stored picture the film would be resampled twice. That halves the energy of its fine detail
    (bench/registration_resampling.py), so that a registered prior would be more blurred than any other picture.
    """
    assert job.prior is not None
    if job.prior_path is None:
        raise UserError("the images table does not know the prior image: give the table that preprocess read")
    field = load_field(job.prior_path, size)
    _refuse_changed(job.prior_path, job.prior, field)
    if result.inverted:
        field = field.negative()
    return field.seen_at(result.points())


def _refuse_changed(path: Path, row: dict[str, Any], field: ExposedField) -> None:
    same_place = np.allclose(row["to_original"], field.to_original.ravel())
    if not same_place or row["inverted"] != field.inverted:
        raise UserError(f"{path}: the file has changed since preprocess read it: run preprocess again")


def _flat(array: np.ndarray | None) -> list[float] | None:
    return None if array is None else array.ravel().tolist()


def _without_score(job: Job, reason: str, is_failure: bool) -> Result:
    nothing = {"matrix": None, "displacement": None, "score_before": None, "score_after": None}
    return Result(
        {"pair_id": job.pair_id, **nothing, "accepted": False, "reason": reason},
        {"pair_id": job.pair_id, "png": None, "coverage": None},
        reason if is_failure else "",
    )
