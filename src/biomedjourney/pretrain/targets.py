"""Labels as the numbers that a classifier learns and is evaluated by."""

from typing import Any

import numpy as np
import pandas as pd


def binary_labels(studies: pd.DataFrame, settings: dict[str, Any]) -> np.ndarray:
    """The configured findings of studies as (n, labels): 0, 1, or NaN for a masked label.

    ``settings`` is the section `labels`. A blank is negative or masked; with No Finding it is always negative. -1 is
    masked, negative or positive.
    """
    labels = studies[settings["findings"]].to_numpy(dtype=float, na_value=np.nan)
    blank = np.isnan(labels)
    normal = studies["no_finding"].to_numpy(dtype=float, na_value=np.nan) == 1
    result = np.where(blank & ((settings["blank"] == "negative") | normal[:, None]), 0.0, labels)
    uncertain = {"masked": np.nan, "negative": 0.0, "positive": 1.0}[settings["uncertain"]]
    return np.where(labels == -1, uncertain, result)
