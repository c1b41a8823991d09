"""The paper's object: prior image, progression description, new image."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from biomedjourney import tables
from biomedjourney.errors import UserError
from biomedjourney.pair.directions import in_direction

NO_PRIOR_PICTURE = "the prior image has no picture"
NO_CURRENT_PICTURE = "the current image has no picture"
NOT_REGISTERED = "the registration is not accepted"
NOT_VALID = "the description is not valid"


def join(
    writer: str,
    direction: str,
    pairs: Path,
    pixels: Iterable[Path],
    registrations: Iterable[Path],
    progressions: Path,
    first_progressions: Path,
) -> pd.DataFrame:
    """The rows of the table `triples` of one writer and direction: every pair, sorted by pair_id.

    A triple is accepted where both images have a picture, the registration is accepted and the description is valid;
    otherwise ``reason`` holds the first of these that fails. ``compared`` is one rule for all writers: a validation
    or test pair that is accepted with the description of the first configured writer (``first_progressions``).
    Raises UserError for a pair that has no registration or no description.
    """
    rows = in_direction(tables.read(pairs, "pairs"), direction)
    with_picture = {name for path in pixels for name in pictured(path)}
    registered = pd.concat([tables.read(path, "registrations", ["pair_id", "accepted"]) for path in registrations])
    descriptions = tables.read(progressions, "progressions", ["pair_id", "writer", "description", "valid"])
    if (descriptions["writer"] != writer).any():
        raise UserError(f"{progressions}: holds another writer than {writer}: give the progressions of {writer}")
    is_registered = _of_pairs(rows, registered, "accepted", "registration: run register")
    is_valid = _of_pairs(rows, descriptions, "valid", f"description in {progressions}: run rewrite")
    usable, reason = _usable(rows, with_picture, is_registered)
    accepted = usable & is_valid
    rows = rows.assign(
        writer=writer,
        direction=direction,
        description=_of_pairs(rows, descriptions, "description", f"description in {progressions}: run rewrite"),
        accepted=accepted,
        reason=np.where(usable & ~accepted, NOT_VALID, reason),
        compared=False,
    )
    if direction == "forward":
        first = tables.read(first_progressions, "progressions", ["pair_id", "valid"])
        is_first_valid = _of_pairs(rows, first, "valid", f"description in {first_progressions}: run rewrite")
        rows["compared"] = rows["split"].isin(("validation", "test")) & usable & is_first_valid
    return rows


def pictured(pixels: Path) -> set[str]:
    """The images of a table `pixels` that have a picture."""
    rows = tables.read_arrow(pixels, "pixels", ["dicom_id", "reason"]).to_pylist()
    return {row["dicom_id"] for row in rows if not row["reason"]}


def _usable(rows: pd.DataFrame, with_picture: set[str], is_registered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each pair has both pictures and an accepted registration, and the reason where it has not."""
    conditions = {
        NO_PRIOR_PICTURE: rows["prior_dicom_id"].isin(with_picture).to_numpy(),
        NO_CURRENT_PICTURE: rows["dicom_id"].isin(with_picture).to_numpy(),
        NOT_REGISTERED: is_registered,
    }
    failing = [~condition for condition in conditions.values()]
    return np.logical_and.reduce([*conditions.values()]), np.select(failing, list(conditions), "")


def _of_pairs(rows: pd.DataFrame, given: pd.DataFrame, column: str, remedy: str) -> np.ndarray:
    """The values of a column of ``given`` for each pair. Raises UserError for a pair that is not there, or twice."""
    values = given.set_index("pair_id")[column]
    if values.index.has_duplicates:
        twice = values.index[values.index.duplicated()][0]
        raise UserError(f"pair {twice} has more than one {remedy.partition(':')[0]}: give each file once")
    absent = rows.loc[~rows["pair_id"].isin(values.index), "pair_id"]
    if len(absent):
        raise UserError(f"pair {absent.iloc[0]} and {len(absent) - 1} more have no {remedy} on these pairs")
    result: np.ndarray = values.loc[rows["pair_id"]].to_numpy()
    return result
