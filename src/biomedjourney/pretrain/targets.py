"""Labels as numbers that a classifier learns and is judged by."""

from typing import Any

import numpy as np
import pandas as pd


def binary_labels(studies: pd.DataFrame, settings: dict[str, Any]) -> np.ndarray:
    """The configured findings of studies as (n, labels) of 0, 1 and NaN for those that are masked.

    ``settings`` is the section `labels`: blank counts as negative or is masked, unless the study says No Finding,
    which makes a blank a negative; -1 is masked, negative or positive.
    """
    found = studies[settings["findings"]].to_numpy(dtype=float, na_value=np.nan)
    blank = np.isnan(found)
    normal = studies["no_finding"].to_numpy(dtype=float, na_value=np.nan) == 1
    result = np.where(blank & ((settings["blank"] == "negative") | normal[:, None]), 0.0, found)
    uncertain = {"masked": np.nan, "negative": 0.0, "positive": 1.0}[settings["uncertain"]]
    return np.where(found == -1, uncertain, result)
