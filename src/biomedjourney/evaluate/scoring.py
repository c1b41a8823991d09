"""Runs the frozen classifiers over tables of pictures, in batches."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney import pixels, progress, tables
from biomedjourney.errors import UserError


def score_file(path: Path, name: str, columns: list[str], judges: Any, batch_size: int) -> pd.DataFrame:
    """One row a picture of the table ``name`` (generated or sweeps): ``columns`` as they are, and the scores.

    Scores are ``pathology_<label>`` and ``race_<group>`` in [0, 1] and ``age`` in years. Memory holds one batch of
    pictures. Raises UserError for a row with no picture.
    """
    rows = tables.read_stream(path, name, [*columns, "png"], rows=batch_size)
    total = tables.row_count(path, name)
    frames = []
    with progress.bar(total, f"scoring {path.stem}", "picture") as bar:
        for batch in _batches(rows, batch_size):
            for row in batch:
                if row["png"] is None:
                    raise UserError(f"{path}: pair {row['pair_id']} has no picture: run the step that writes it again")
            pictures = np.stack([pixels.decode_png(row["png"]) for row in batch])
            given = pd.DataFrame([{column: row[column] for column in columns} for row in batch])
            frames.append(pd.concat([given, _judge(judges, pictures)], axis=1))
            bar.update(len(batch))
    if not frames:
        raise UserError(f"{path}: no pictures in it: run the step that writes it again")
    return pd.concat(frames, ignore_index=True)


def _judge(judges: Any, pictures: np.ndarray) -> pd.DataFrame:
    pathology = pd.DataFrame(judges.pathology(pictures), columns=[f"pathology_{label}" for label in judges.labels])
    race = pd.DataFrame(judges.race(pictures), columns=[f"race_{name}" for name in tables.RACES])
    return pd.concat([pathology, race], axis=1).assign(age=np.asarray(judges.age(pictures)).ravel())


def _batches(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def require_labels(judges: Any, findings: list[str], folder: Path) -> None:
    """Raises UserError for a configured finding that the pathology classifier does not know."""
    unknown = [finding for finding in findings if finding not in judges.labels]
    if unknown:
        raise UserError(
            f"{folder}: the pathology classifier does not know {unknown[0]!r} of labels.findings; "
            f"it knows {', '.join(judges.labels)}: change labels.findings or run pretrain again"
        )


def require_same_pairs(sets: dict[str, set[str]]) -> None:
    """Raises UserError naming the first set of pair_ids, by its description, that differs from the first one."""
    first = next(iter(sets))
    for name, found in sets.items():
        lost, extra = sets[first] - found, found - sets[first]
        if lost or extra:
            raise UserError(
                f"{name} covers {len(found)} pairs and {first} {len(sets[first])}: {len(lost)} missing, "
                f"{len(extra)} extra (as {min(lost | extra)}): all are scored on the same pairs, generate it again"
            )


def require_split(pair_ids: Iterable[str], pairs: pd.DataFrame, split: str, path: Path) -> None:
    """Raises UserError for a pair that is in no table, or on another side of the split."""
    side = pairs.set_index("pair_id")["split"]
    for pair_id in sorted(pair_ids):
        if pair_id not in side.index:
            raise UserError(f"{path}: pair {pair_id} is not in the table pairs: give the pairs it was generated from")
        if side[pair_id] != split:
            raise UserError(f"{path}: pair {pair_id} belongs to {side[pair_id]}, expected {split}: generate it again")
