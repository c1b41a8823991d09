"""Real pictures through the pathology classifier: what generated pictures are compared with."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney import pixels, progress, tables
from biomedjourney.errors import UserError
from biomedjourney.evaluate.comparisons import nearest_distance


def judge_pictures(
    singles: pd.DataFrame, test_triples: pd.DataFrame, stored: Sequence[Path], judges: Any, batch_size: int
) -> pd.DataFrame:
    """The table `real`: every training and validation single, and the current picture of every compared test pair.

    ``stored``: every shard of the table `pixels`. Singles without a picture are left out. Memory holds one batch of
    pictures, and the features of all. Raises UserError where no training picture is left.
    """
    kept = singles.loc[singles["split"] != "test", ["dicom_id", "study_id", "split"]]
    rows = pd.concat([kept, test_triples[["dicom_id", "study_id", "split"]]]).drop_duplicates("dicom_id")
    lookup = tables.Lookup(stored, "pixels", "dicom_id", rows["dicom_id"])
    frames = []
    with progress.bar(len(rows), "judging real pictures", "picture") as bar:
        for batch in lookup.batches(columns=["dicom_id", "png"], rows=batch_size):
            read = [row for row in batch.to_pylist() if row["png"] is not None]
            if read:
                frames.append(_judged(read, judges))
            bar.update(len(batch))
    judged = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"dicom_id": []})
    result = judged.merge(rows, on="dicom_id").sort_values("dicom_id", ignore_index=True)
    is_training = (result["split"] == "train").to_numpy()
    if not is_training.any():
        raise UserError(f"{', '.join(map(str, stored))}: no training image has a picture: run preprocess again")
    distances = np.full(len(result), np.nan)
    if not is_training.all():
        features = stacked(result["features"])
        distances[~is_training] = nearest_distance(features[~is_training], features[is_training])
    return result.assign(distance_to_training=distances)


def _judged(rows: list[dict[str, Any]], judges: Any) -> pd.DataFrame:
    pictures = np.stack([pixels.decode_png(row["png"]) for row in rows])
    scores = pd.DataFrame(judges.pathology(pictures), columns=[f"pathology_{label}" for label in judges.labels])
    features = list(judges.features(pictures).astype(np.float16))
    return scores.assign(dicom_id=[row["dicom_id"] for row in rows], features=features)


def stacked(features: pd.Series) -> np.ndarray:
    """A column of lists as one array, float16 (n, width)."""
    return np.stack(features.to_list()).astype(np.float16)


def thresholds(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each label the score that separates best: the largest sensitivity plus specificity (Youden, 1950).

    ``scores`` (n, labels); ``labels`` of 0, 1 and NaN for unknown. The threshold lies half-way to the next lower score;
    NaN for a label with one class alone.
    """
    from sklearn.metrics import roc_curve

    found = np.full(scores.shape[1], np.nan)
    for i in range(scores.shape[1]):
        known = ~np.isnan(labels[:, i])
        if len(np.unique(labels[known, i])) < 2:
            continue
        false, true, limits = roc_curve(labels[known, i], scores[known, i])
        best = limits[np.argmax(true - false)]  # a score at or above it counts as present
        below = scores[known, i][scores[known, i] < best]
        found[i] = (best + below.max()) / 2 if below.size else best
    return found


def of_pairs(
    real: pd.DataFrame, dicom_ids: Iterable[str], findings: Sequence[str], validation_labels: pd.DataFrame
) -> dict[str, np.ndarray]:
    """What `Targets` holds of the real follow-up pictures, row by row as the ``dicom_ids``.

    ``validation_labels``: the binary labels by study_id, from which the thresholds are fixed on validation pictures.
    Raises UserError for a picture that was not judged.
    """
    columns = [f"pathology_{finding}" for finding in findings]
    by_id, wanted = real.set_index("dicom_id"), list(dicom_ids)
    if absent := [dicom_id for dicom_id in wanted if dicom_id not in by_id.index]:
        raise UserError(f"table real: dicom_id {absent[0]} is not there: run evaluate real on these triples")
    validation = real[real["split"] == "validation"]
    limits = thresholds(
        validation[columns].to_numpy(dtype=float), validation_labels.reindex(validation["study_id"]).to_numpy()
    )
    rows = by_id.loc[wanted]
    return {
        "thresholds": np.tile(limits, (len(rows), 1)),
        "real_scores": rows[columns].to_numpy(dtype=float),
        "real_features": stacked(rows["features"]),
        "real_distance": rows["distance_to_training"].to_numpy(dtype=float),
    }
