"""Pairs read forward in time, and training pairs read backward."""

import pandas as pd

DIRECTIONS = ("forward", "backward")


def in_direction(pairs: pd.DataFrame, direction: str) -> pd.DataFrame:
    """The pairs of the table `pairs` as they are read in a direction, sorted by pair_id.

    ``forward``: all pairs as they are. ``backward``: the training pairs alone, from the later study to the earlier
    one. Prior and current columns change places, and so do the two studies in ``pair_id``. ``interval_days`` stays
    positive. Reading journeys backward is this project's own way to double the training examples.
    """
    if direction == "forward":
        return pairs.sort_values("pair_id", ignore_index=True)
    turned = pairs[pairs["split"] == "train"].rename(
        columns={
            "prior_study_id": "study_id",
            "study_id": "prior_study_id",
            "prior_dicom_id": "dicom_id",
            "dicom_id": "prior_dicom_id",
        }
    )
    turned["pair_id"] = turned["prior_study_id"].astype(str) + "-" + turned["study_id"].astype(str)
    return turned[pairs.columns].sort_values("pair_id", ignore_index=True)
