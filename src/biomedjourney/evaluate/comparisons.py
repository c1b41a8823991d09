"""What a generated picture keeps and changes beside the real pictures of its pair: columns of the table `scores`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney.evaluate.pictures import Comparison, Pictures
from biomedjourney.measures import ORGANS, RACES, dice
from biomedjourney.sampling import keyed

SMOOTHING = 1 / 32  # of the side: standard deviation of the Gaussian that smooths a difference of two real pictures
CHANGED = 0.08  # grey levels of 0 to 1: where the smoothed difference is larger, the patient has changed


def changed_area(pictures: Pictures) -> np.ndarray:
    """Where the true current picture differs from the registered prior, bool (n, rows, columns).

    The difference is what is left of the current picture after the straight line from the prior's grey levels to its
    own, fitted by least squares over covered pixels, since exposure is no change of the patient. It is smoothed with a
    Gaussian over covered pixels alone and compared with `CHANGED`.
    """
    from scipy.ndimage import gaussian_filter

    areas = np.zeros(pictures.covered.shape, dtype=bool)
    for area, prior, current, covered in zip(areas, pictures.prior, pictures.current, pictures.covered, strict=True):
        if not covered.any():
            continue
        slope, offset = _line(prior[covered], current[covered])
        left = np.where(covered, current - (slope * prior + offset), 0.0).astype(float)
        sigma = SMOOTHING * covered.shape[0]
        share = gaussian_filter(covered.astype(float), sigma)
        smooth = np.divide(gaussian_filter(left, sigma), share, out=np.zeros_like(left), where=covered)
        area[:] = np.abs(smooth) > CHANGED
    return areas & pictures.covered


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and offset of y over x by least squares; slope 0 where x does not vary."""
    spread = float(np.var(x))
    slope = float(np.mean((x - x.mean()) * (y - y.mean()))) / spread if spread else 0.0
    return slope, float(y.mean() - slope * x.mean())


def ssim_unchanged(pictures: Pictures) -> pd.DataFrame:
    """The structural similarity to the registered prior (Wang et al., 2004), over covered pixels that did not change.

    Elsewhere the picture is replaced by the prior before windows are laid, so that what lies there counts nowhere.
    NaN where no pixel is left.
    """
    kept = pictures.covered & ~changed_area(pictures)
    return pd.DataFrame({"ssim_unchanged": _similarity(pictures, kept)})


def ssim_prior(pictures: Pictures) -> pd.DataFrame:
    """The structural similarity to the registered prior over the pixels that it covers; NaN where it covers none."""
    return pd.DataFrame({"ssim_prior": _similarity(pictures, pictures.covered)})


def _similarity(pictures: Pictures, kept: np.ndarray) -> np.ndarray:
    """The mean of SSIM's map over the kept pixels; NaN where there are none."""
    from skimage.metrics import structural_similarity

    values = np.full(len(kept), np.nan)
    for i, (generated, prior, here) in enumerate(zip(pictures.generated, pictures.prior, kept, strict=True)):
        if here.any():
            shown = np.where(here, generated, prior)
            windows = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
            similarity = structural_similarity(prior, shown, data_range=1.0, full=True, **windows)[1]
            values[i] = similarity[here].mean()
    return values


def difference_to_prior(pictures: Pictures) -> pd.DataFrame:
    """The mean absolute difference to the registered prior over the pixels that it covers; NaN where it covers none."""
    differences = np.abs(pictures.generated - pictures.prior)
    sums, counts = (differences * pictures.covered).sum(axis=(1, 2)), pictures.covered.sum(axis=(1, 2))
    mean = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    return pd.DataFrame({"difference_to_prior": mean})


def prior_scores(pictures: Pictures, judges: Any) -> pd.DataFrame:
    """What the pathology classifier says of the registered prior."""
    return pd.DataFrame(judges.pathology(pictures.prior), columns=[f"prior_pathology_{name}" for name in judges.labels])


def matched_race_scores(pictures: Pictures, judges: Any, grey_levels: np.ndarray) -> pd.DataFrame:
    """What the race classifier says of the pictures once each has the same histogram.

    ``grey_levels``: the grey levels of a picture's pixels, sorted, that each picture gets, rank by rank (Gonzalez and
    Woods: histogram specification). Pixels of equal grey, as in a black border, share them out at random: mapped to one
    level, as scikit-image does, they would still tell by it how many they are.
    """
    ties = keyed("ties of grey levels").random(grey_levels.size)
    matched = np.empty(pictures.generated.shape, np.float32)
    for picture, out in zip(pictures.generated, matched, strict=True):
        out.flat[np.lexsort((ties, picture.ravel()))] = grey_levels
    scores = judges.race(np.clip(matched, 0.0, 1.0))
    return pd.DataFrame(scores, columns=[f"matched_race_{name}" for name in RACES])


def feature_columns(pictures: Pictures, judges: Any, training_features: np.ndarray) -> pd.DataFrame:
    """The features of picture and prior, and the distance of the picture's to the nearest of training pictures."""
    features, prior_features = (
        judges.features(seen).astype(np.float16) for seen in (pictures.generated, pictures.prior)
    )
    distances = nearest_distance(features, training_features)
    return pd.DataFrame(
        {"features": list(features), "prior_features": list(prior_features), "distance_to_training": distances}
    )


def nearest_distance(features: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The Euclidean distance of each row (n, width) to the nearest of the ``others`` (m, width)."""
    from sklearn.metrics import pairwise_distances_argmin_min

    result: np.ndarray = pairwise_distances_argmin_min(features.astype(float), others.astype(float))[1]
    return result


def organ_overlap(pictures: Pictures, segmenter: Any) -> pd.DataFrame:
    """The Dice of each organ of the picture with that of the registered prior and of the true current picture.

    NaN where the segmenter finds nothing of the organ on the real picture. ``segmenter`` None: all are NaN.
    """
    columns = [f"{organ}_dice_{reference}" for reference in ("prior", "current") for organ in ORGANS]
    if segmenter is None:
        return pd.DataFrame(np.nan, index=range(len(pictures.generated)), columns=columns)
    found = segmenter.organs(pictures.generated)
    values = []
    for real in (pictures.prior, pictures.current):
        expected = segmenter.organs(real)
        values += [dice(found[organ], expected[organ]) for organ in ORGANS]
    return pd.DataFrame(dict(zip(columns, values, strict=True)))


def comparisons(
    judges: Any, segmenter: Any, grey_levels: np.ndarray, training_features: np.ndarray
) -> Sequence[Comparison]:
    """All that a row of the table `scores` says beside the scores of the generated picture itself.

    ``segmenter``: None where there is none.
    """
    return (
        ssim_unchanged,
        difference_to_prior,
        partial(organ_overlap, segmenter=segmenter),
        partial(prior_scores, judges=judges),
        partial(matched_race_scores, judges=judges, grey_levels=grey_levels),
        partial(feature_columns, judges=judges, training_features=training_features),
    )
