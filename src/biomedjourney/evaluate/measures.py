"""The measures, each for one set of weights a row, so that a bootstrap is one matrix of weights.

``weights`` has the shape (replicates, rows): how often each row counts. A measure that cannot be computed in a
replicate (one class is absent, a variance is zero) is NaN there.
"""

import numpy as np

Numbers = np.ndarray | float


def cmig(pathology_auc: float, race_auc: float, age_r: float) -> float:
    """The counterfactual medical image generation score, sqrt(P * sqrt(R * A)), of arXiv 2310.10765.

    All three are fractions: P and R areas in [0, 1], A a correlation in [-1, 1], which counts as 0 below 0.
    Returns a value in [0, 1]. Raises ValueError outside these ranges. The values printed in the paper do not
    follow from its columns: this definition gives 0.2691, 0.4658, 0.6277 and 0.8411 on the rows of its main table.
    """
    given = (("pathology_auc", pathology_auc, 0.0), ("race_auc", race_auc, 0.0), ("age_r", age_r, -1.0))
    for name, value, low in given:
        if not low <= value <= 1.0:
            raise ValueError(f"{name} is {value}, expected a fraction from {low:g} to 1")
    return float(combine(pathology_auc, race_auc, age_r))


def combine(pathology_auc: Numbers, race_auc: Numbers, age_r: Numbers) -> np.ndarray:
    """CMIG of the three measures as numbers or arrays; NaN where one of them is NaN."""
    return np.sqrt(np.multiply(pathology_auc, np.sqrt(np.multiply(race_auc, np.maximum(age_r, 0.0)))))


def auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted area under the ROC curve, ties counted half: the Mann-Whitney statistic.

    ``scores`` and ``positive`` (0, 1, NaN for a row to leave out) have the shape (rows,). Returns (replicates,).
    """
    known = ~np.isnan(positive)
    order = np.flatnonzero(known)[np.argsort(scores[known], kind="stable")]
    if not order.size:
        return np.full(len(weights), np.nan)
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    counted = weights[:, order]
    is_positive = positive[order] > 0.5
    positives = np.add.reduceat(counted * is_positive, starts, axis=1)
    negatives = np.add.reduceat(counted * ~is_positive, starts, axis=1)
    below = np.cumsum(negatives, axis=1)
    total = positives.sum(axis=1) * below[:, -1]
    wins = (positives * (below - 0.5 * negatives)).sum(axis=1)
    return np.divide(wins, total, out=np.full(len(weights), np.nan), where=total > 0)


def correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted Pearson correlation of two arrays (rows,), rows with a NaN left out. Returns (replicates,)."""
    known = ~(np.isnan(x) | np.isnan(y))
    if known.sum() < 2:
        return np.full(len(weights), np.nan)
    x, y, weights = x[known] - x[known].mean(), y[known] - y[known].mean(), weights[:, known]
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = weights @ x / total, weights @ y / total
        covariance = weights @ (x * y) / total - mean_x * mean_y
        variance_x, variance_y = weights @ x**2 / total - mean_x**2, weights @ y**2 / total - mean_y**2
        varies = (variance_x > 1e-12 * x.var()) & (variance_y > 1e-12 * y.var())
        return np.where(varies, np.clip(covariance / np.sqrt(variance_x * variance_y), -1.0, 1.0), np.nan)


def mean_auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean of the columns' AUCs, over those with both classes; NaN if there is none. Arrays (rows, columns)."""
    areas = np.stack([auc(scores[:, i], positive[:, i], weights) for i in range(scores.shape[1])])
    count = (~np.isnan(areas)).sum(axis=0)
    return np.divide(np.nansum(areas, axis=0), count, out=np.full(len(weights), np.nan), where=count > 0)


def patient_weights(subjects: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """Weights of shape (1 + replicates, rows): all ones first, then a bootstrap that draws whole patients.

    The draws depend on the seed and on the sorted patients alone, so that systems scored on the same patients
    are resampled alike.
    """
    patients, index = np.unique(subjects, return_inverse=True)
    draws = np.random.default_rng([seed, 0xB007]).multinomial(
        len(patients), np.full(len(patients), 1.0 / len(patients)), size=replicates
    )
    return np.vstack([np.ones(len(subjects)), draws[:, index]])


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """The estimate (the first value) and the 95 % percentile interval of the replicates after it; NaN where none is."""
    estimate, replicates = values[0], values[1:][~np.isnan(values[1:])]
    if np.isnan(estimate) or not replicates.size:
        return float(estimate), float("nan"), float("nan")
    low, high = np.quantile(replicates, (0.025, 0.975))
    return float(estimate), float(low), float(high)
