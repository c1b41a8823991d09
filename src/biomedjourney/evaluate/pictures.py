"""Generated pictures beside the real ones that they are compared with, a batch at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney import pixels, tables
from biomedjourney.errors import UserError


@dataclass(frozen=True)
class Pictures:
    """Pictures of n pairs, float32 (n, rows, columns) in [0, 1].

    ``covered``: bool of the same shape, True where the registered prior has data. ``current``: the true later pictures.
    """

    generated: np.ndarray
    prior: np.ndarray
    covered: np.ndarray
    current: np.ndarray


# Gives columns of the table `scores`, one row per picture.
Comparison = Callable[[Pictures], pd.DataFrame]


class RealPictures:
    """The registered prior and the true current picture of each pair. Memory holds those of one batch."""

    def __init__(self, triples: pd.DataFrame, registered: Sequence[Path], stored: Sequence[Path]) -> None:
        """``registered``, ``stored``: every shard of the tables `registered` and `pixels`.

        Raises UserError where a pair has no picture there.
        """
        self.dicom_ids = dict(zip(triples["pair_id"], triples["dicom_id"], strict=True))
        self.priors = tables.Lookup(registered, "registered", "pair_id", self.dicom_ids)
        self.films = tables.Lookup(stored, "pixels", "dicom_id", self.dicom_ids.values())
        self.priors.require_pictures(self.dicom_ids)
        self.films.require_pictures(self.dicom_ids.values())

    def grey_levels(self, batch_size: int) -> np.ndarray:
        """The sorted grey levels of the current pictures, the mean of each rank over the pictures, in [0, 1]."""
        total, count = np.zeros(1), 0
        for batch in self.films.batches(columns=["dicom_id", "png"], rows=batch_size):
            for row in batch.to_pylist():
                total, count = total + np.sort(_decode(self.films, row, "png"), axis=None), count + 1
        return (total / count).astype(np.float32)

    def beside(self, pair_ids: Sequence[str], generated: np.ndarray) -> Pictures:
        """The batch of these pairs. Raises UserError for a picture that is missing or of another size."""
        priors = self.priors.rows(pair_ids)
        films = self.films.rows(self.dicom_ids[pair_id] for pair_id in pair_ids)
        prior = np.stack([_decode(self.priors, priors[pair_id], "png") for pair_id in pair_ids])
        current = np.stack([_decode(self.films, films[self.dicom_ids[pair_id]], "png") for pair_id in pair_ids])
        covered = np.stack([_covered(priors[pair_id], prior.shape[1:]) for pair_id in pair_ids])
        if not generated.shape == prior.shape == current.shape:
            raise UserError(
                f"pair {pair_ids[0]}: the generated picture has {generated.shape[1:]} pixels, the registered prior "
                f"{prior.shape[1:]} and the current picture {current.shape[1:]}: generate again from these pictures"
            )
        return Pictures(generated, prior, covered, current)


def _decode(lookup: tables.Lookup, row: dict[str, Any], column: str) -> np.ndarray:
    if row[column] is None:
        key = row[lookup.column]
        raise UserError(
            f"{lookup.path_of(key)}: {lookup.column} {key} of a test pair has no picture: run the step that writes it"
        )
    return pixels.decode_png(row[column])


def _covered(row: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    mask = row["coverage"]
    return np.ones(shape, dtype=bool) if mask is None else pixels.decode_png(mask) > 0.5
