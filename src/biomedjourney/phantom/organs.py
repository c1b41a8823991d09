"""Masks of lungs and heart on films of training patients, from which a segmenter learns."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney import pixels, tables
from biomedjourney.phantom import anatomy, draw
from biomedjourney.phantom.cohort import TEST_FOLDER, Identity, identities, patient, stream
from biomedjourney.workers import map_ordered


def write(path: Path, seed: int, patients: int, size: int, count: int, processes: int) -> int:
    """Writes the table `organs` of a cohort: the first film of ``count`` patients that are not for testing.

    Returns the number of films, which is smaller where the cohort has fewer such patients. ``seed``, ``patients`` and
    ``size`` are those of the cohort.
    """
    of_training = [one for one in identities(seed, patients) if one.subject_id // 1_000_000 != TEST_FOLDER]
    rows = list(map_ordered(partial(_row, seed=seed, size=size), of_training[:count], processes, chunk=4))
    tables.write(path, "organs", pd.DataFrame(rows))
    return len(rows)


def _row(identity: Identity, seed: int, size: int) -> dict[str, Any]:
    person = patient(seed, identity)
    body = anatomy.sample(stream(seed, person.subject_id, 1), person.sex, person.race)
    study = person.studies[0]
    film = study.films[0]
    masks = draw.organ_masks(body, study.age, study.findings, film.acquisition, size)
    pngs = {organ: pixels.encode_png(mask * np.uint8(255)) for organ, mask in masks.items()}
    return {"dicom_id": film.dicom_id} | pngs
