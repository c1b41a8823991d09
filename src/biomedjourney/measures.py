"""Every measure, declared once: its name, title and unit, what it needs, and the function that computes it.

A measure is computed for all bootstrap replicates at once. ``weights`` has the shape (replicates, rows) and says how
often each row counts; the first replicate is the sample itself. Where a measure cannot be computed (one class is
absent, a variance is zero) its value is NaN.

To add a measure, write its function, declare it, and append it to `MEASURES`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd

RACES = ("Asian", "Black", "White")
ORGANS = ("lung", "heart")  # both lungs count as one
LEAST_PAIRS = 10  # of each label in a stratum of the change AUC; an AUC over fewer says little
Numbers = np.ndarray | float


@dataclass(frozen=True)
class Targets:
    """What n pictures should show, NaN where a picture does not count for a measure."""

    findings: np.ndarray  # (n, labels), 0 or 1: the labels of the current study
    prior_findings: np.ndarray  # (n, labels), 0 or 1: the labels of the prior study
    mentioned: np.ndarray  # (n, labels), True where both studies' labels say something, that it is absent too
    race: np.ndarray  # (n, 3), 0 or 1 in the order of RACES; all NaN where the race is unknown
    age: np.ndarray  # (n,), years
    true_findings: np.ndarray | None = None  # (n, labels), the phantom's truth
    true_severity: np.ndarray | None = None  # (n, labels), 0 to 1: the phantom's truth, of the worst side
    true_severity_before: np.ndarray | None = None  # (n, labels), the same of the prior study
    changed: np.ndarray | None = None  # (n,), 1 where reports or labels tell a change, 0 where both tell none
    moves: np.ndarray | None = None  # (n, labels), 1 where a finding that stays gets worse, -1 where it improves
    thresholds: np.ndarray | None = None  # (n, labels), the score above which the classifier calls a finding
    real_scores: np.ndarray | None = None  # (n, labels), the pathology scores of the real follow-up pictures
    real_features: np.ndarray | None = None  # (n, width), their features
    real_distance: np.ndarray | None = None  # (n,), their distance to the nearest training picture

    def take(self, rows: np.ndarray) -> "Targets":
        known = {name: value for name, value in vars(self).items() if value is not None}
        return replace(self, **{name: value[rows] for name, value in known.items()})


@dataclass(frozen=True)
class Evidence:
    """What the measures read: the classifiers' scores of n pictures, the targets, and the bootstrap's weights.

    ``scores``: rows of the table `scores` of one system. ``findings``: the labels, in the order of the targets.
    ``counted``: the places in ``findings`` that count.
    """

    scores: pd.DataFrame
    targets: Targets
    findings: tuple[str, ...]
    weights: np.ndarray
    counted: tuple[int, ...]
    _values: dict[str, np.ndarray] = field(default_factory=dict, compare=False)

    def value(self, measure: "Measure") -> np.ndarray:
        """The measure in every replicate, (replicates,), computed once; NaN where what it needs is not there."""
        if measure.name not in self._values:
            absent = any(getattr(self.targets, name) is None for name in measure.needs)
            unknown = np.full(len(self.weights), np.nan)
            self._values[measure.name] = unknown if absent else measure.compute(self)
        return self._values[measure.name]

    def for_finding(self, finding: str) -> "Evidence":
        """The same evidence with one finding alone."""
        return replace(self, counted=(self.findings.index(finding),), _values={})

    def pathology_scores(self, place: int, picture: str = "") -> np.ndarray:
        """The scores of the pictures, or with ``picture`` "prior_" those of the registered priors."""
        return self.scores[f"{picture}pathology_{self.findings[place]}"].to_numpy(dtype=float)


@dataclass(frozen=True)
class Measure:
    """One measure. ``needs``: the fields of `Targets` that it reads; where one of them is None it is undefined.

    ``chance``: its value for pictures that have nothing to do with the patient; None where that is not known.
    ``by_finding``: whether it is also measured for each finding alone. ``part_of``: the measure that this one explains;
    such a one is left out of the main table.
    """

    name: str
    title: str
    unit: str
    description: str
    needs: tuple[str, ...]
    compute: Callable[[Evidence], np.ndarray]
    chance: float | None = None
    by_finding: bool = False
    part_of: str | None = None


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
    return share(*comparisons(scores, positive, weights))


def comparisons(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many comparisons of a positive with a negative row the positive one wins, ties half, and how many there are.

    Weighted; shapes as of `auc`, both of whose results have the shape (replicates,).
    """
    known = ~np.isnan(positive)
    order = np.flatnonzero(known)[np.argsort(scores[known], kind="stable")]
    if not order.size:
        return np.zeros(len(weights)), np.zeros(len(weights))
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    counted = weights[:, order]
    is_positive = positive[order] > 0.5
    positives = np.add.reduceat(counted * is_positive, starts, axis=1)
    negatives = np.add.reduceat(counted * ~is_positive, starts, axis=1)
    below = np.cumsum(negatives, axis=1)
    return (positives * (below - 0.5 * negatives)).sum(axis=1), positives.sum(axis=1) * below[:, -1]


def share(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Part over total; NaN where the total is zero."""
    return np.divide(part, total, out=np.full(len(total), np.nan), where=total > 0)


def correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted Pearson correlation of two arrays (rows,), rows with a NaN left out. Returns (replicates,)."""
    known = ~(np.isnan(x) | np.isnan(y))
    if known.sum() < 2:
        return np.full(len(weights), np.nan)
    return weighted_correlation(x[known] - x[known].mean(), y[known] - y[known].mean(), weights[:, known])


def weighted_correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted Pearson correlation of x and y, (rows,) or (replicates, rows) with values of each replicate.

    Their means should be near zero, or their spread not small beside it. NaN where one of them does not vary.
    Returns (replicates,).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = weights / weights.sum(axis=1, keepdims=True)

        def mean(values: np.ndarray) -> np.ndarray:
            return shares @ values if values.ndim == 1 else (shares * values).sum(axis=1)

        mean_x, mean_y, square_x, square_y = mean(x), mean(y), mean(x**2), mean(y**2)
        covariance = mean(x * y) - mean_x * mean_y
        variance_x, variance_y = square_x - mean_x**2, square_y - mean_y**2
        varies = (variance_x > 1e-12 * square_x) & (variance_y > 1e-12 * square_y)
        return np.where(varies, np.clip(covariance / np.sqrt(variance_x * variance_y), -1.0, 1.0), np.nan)


def dice(found: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The overlap 2 |A and B| / (|A| + |B|) of masks (Dice, 1945): 1 where they are the same, 0 where they are apart.

    Both are bool (..., rows, columns); returns (...). NaN where the reference is empty, whatever was found: there is
    nothing to overlap with, and so every system counts on the same pictures.
    """
    both, in_found, in_reference = (mask.sum(axis=(-2, -1)) for mask in (found & reference, found, reference))
    total = np.where(in_reference > 0, in_found + in_reference, np.nan)
    return 2.0 * both / total


def mean_of_known(values: list[np.ndarray], replicates: int, shares: list[np.ndarray] | None = None) -> np.ndarray:
    """The mean of arrays (replicates,), weighted by ``shares``, over those that are known in the sample.

    The sample is the first replicate; NaN is unknown. A replicate that lacks what the sample has is NaN too: its mean
    would be that of fewer, perhaps easier findings.
    """
    total, weight = np.zeros(replicates), np.zeros(replicates)
    for i, value in enumerate(values):
        if np.isnan(value[0]):
            continue
        part = np.ones(replicates) if shares is None else shares[i]
        total += np.where(part > 0, part * value, 0.0)
        weight += part
    return share(total, weight)


def _pathology_auc(evidence: Evidence) -> np.ndarray:
    return _auc_over_findings(evidence, evidence.targets.findings)


def _pathology_auc_true(evidence: Evidence) -> np.ndarray:
    assert evidence.targets.true_findings is not None
    return _auc_over_findings(evidence, evidence.targets.true_findings)


def _auc_over_findings(evidence: Evidence, labels: np.ndarray) -> np.ndarray:
    areas = [auc(evidence.pathology_scores(i), labels[:, i], evidence.weights) for i in evidence.counted]
    return mean_of_known(areas, len(evidence.weights))


def _race_auc(evidence: Evidence) -> np.ndarray:
    areas = [
        auc(evidence.scores[f"race_{race}"].to_numpy(dtype=float), evidence.targets.race[:, i], evidence.weights)
        for i, race in enumerate(RACES)
    ]
    return mean_of_known(areas, len(evidence.weights))


def _age_r(evidence: Evidence) -> np.ndarray:
    return correlation(evidence.scores["age"].to_numpy(dtype=float), evidence.targets.age, evidence.weights)


def _cmig(evidence: Evidence) -> np.ndarray:
    return combine(*(evidence.value(measure) for measure in (PATHOLOGY_AUC, RACE_AUC, AGE_R)))


def _change_auc(
    evidence: Evidence,
    prior_labels: tuple[float, ...] = (0.0, 1.0),
    blanks: bool = True,
    like_priors: bool = False,
) -> np.ndarray:
    """AUC among pairs of the same prior label: over these labels by comparable pairs, then the mean over findings.

    ``blanks`` False: pairs of which a study does not mention the finding are left out. ``like_priors``: only pairs
    whose priors lie in the same quarter of the priors' scores are compared; NaN where these scores are not there.
    """
    weights, pairs = evidence.weights, evidence.scores["pair_id"].to_numpy()
    by_finding = []
    for i in evidence.counted:
        if like_priors and f"prior_pathology_{evidence.findings[i]}" not in evidence.scores:
            return np.full(len(weights), np.nan)
        won, compared = np.zeros(len(weights)), np.zeros(len(weights))
        for prior_label in prior_labels:
            in_stratum = evidence.targets.prior_findings[:, i] == prior_label
            if not blanks:
                in_stratum &= evidence.targets.mentioned[:, i]
            labels = np.where(in_stratum, evidence.targets.findings[:, i], np.nan)
            if min(len(set(pairs[labels == label])) for label in (0.0, 1.0)) < LEAST_PAIRS:
                continue
            groups = [labels]
            if like_priors:
                known = np.flatnonzero(~np.isnan(labels))
                quarters = np.full(len(labels), -1)
                quarters[known] = _quarters(evidence.pathology_scores(i, "prior_")[known], pairs[known])
                groups = [np.where(quarters == quarter, labels, np.nan) for quarter in range(4)]
            for group in groups:
                wins, total = comparisons(evidence.pathology_scores(i), group, weights)
                won, compared = won + wins, compared + total
        by_finding.append(share(won, compared))
    return mean_of_known(by_finding, len(weights))


def _quarters(values: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The quarter of the distinct pairs' values in which each value lies, 0 (the lowest) to 3."""
    distinct = np.unique(pairs, return_index=True)[1]
    return np.searchsorted(np.quantile(values[distinct], (0.25, 0.5, 0.75)), values, side="right")


PATHOLOGY_AUC = Measure(
    name="pathology_auc",
    title="pathology AUC",
    unit="fraction",
    description="mean AUC of the pathology classifier over the findings",
    needs=("findings",),
    compute=_pathology_auc,
    chance=0.5,
    by_finding=True,
)
RACE_AUC = Measure(
    name="race_auc",
    title="race AUC",
    unit="fraction",
    description="mean one-against-the-rest AUC of the race classifier",
    needs=("race",),
    compute=_race_auc,
    chance=0.5,
)
AGE_R = Measure(
    name="age_r",
    title="age r",
    unit="correlation",
    description="Pearson correlation of the age classifier's output with the patient's age",
    needs=("age",),
    compute=_age_r,
    chance=0.0,
)
CMIG = Measure(
    name="cmig",
    title="CMIG",
    unit="fraction",
    description="sqrt(pathology_auc * sqrt(race_auc * max(age_r, 0)))",
    needs=("findings", "race", "age"),
    compute=_cmig,
)
CHANGE_AUC = Measure(
    name="change_auc",
    title="change AUC",
    unit="fraction",
    description="pathology AUC among pairs whose prior study has the same label, which no copy of the prior can win: "
    "over both labels weighted by comparable pairs, then the mean over the findings",
    needs=("findings", "prior_findings"),
    compute=_change_auc,
    chance=0.5,
    by_finding=True,
)
CHANGE_AUC_ABSENT_BEFORE = replace(
    CHANGE_AUC,
    name="change_auc_absent_before",
    title="change AUC, absent before",
    description="change_auc among pairs whose prior study does not have the finding: whether new findings are drawn",
    compute=partial(_change_auc, prior_labels=(0.0,)),
    part_of="change_auc",
)
CHANGE_AUC_PRESENT_BEFORE = replace(
    CHANGE_AUC,
    name="change_auc_present_before",
    title="change AUC, present before",
    description="change_auc among pairs whose prior study has the finding: whether resolved findings are taken away",
    compute=partial(_change_auc, prior_labels=(1.0,)),
    part_of="change_auc",
)
CHANGE_AUC_MENTIONED = replace(
    CHANGE_AUC,
    name="change_auc_mentioned",
    title="change AUC, mentioned in both",
    description="change_auc among pairs of which both reports mention the finding: a blank label may hide a finding "
    "that the report does not repeat, and that helps a copy of the prior",
    needs=("findings", "prior_findings", "mentioned"),
    compute=partial(_change_auc, blanks=False),
    part_of="change_auc",
)
CHANGE_AUC_LIKE_PRIORS = replace(
    CHANGE_AUC,
    name="change_auc_like_priors",
    title="change AUC, like priors",
    description="change_auc among pairs whose prior pictures also lie in the same quarter of the classifier's scores: "
    "how severe a finding was before helps a copy of the prior",
    compute=partial(_change_auc, like_priors=True),
    part_of="change_auc",
)
PATHOLOGY_AUC_TRUE = Measure(
    name="pathology_auc_true",
    title="pathology AUC on true labels",
    unit="fraction",
    description="pathology_auc on the phantom's true labels",
    needs=("true_findings",),
    compute=_pathology_auc_true,
    chance=0.5,
    by_finding=True,
)

# Measured on validation patients, to choose the guidance scales.
GUIDING = (PATHOLOGY_AUC, RACE_AUC, AGE_R, CMIG, CHANGE_AUC)
ALLOWED = 0.02  # of each of these and its interval, where another sampler changes nothing that counts
IN_PAPER = (PATHOLOGY_AUC, RACE_AUC, AGE_R, CMIG)  # the paper prints these
MEASURES = (
    *IN_PAPER,
    CHANGE_AUC,
    PATHOLOGY_AUC_TRUE,
    CHANGE_AUC_ABSENT_BEFORE,
    CHANGE_AUC_PRESENT_BEFORE,
    CHANGE_AUC_MENTIONED,
    CHANGE_AUC_LIKE_PRIORS,
)
MAIN = tuple(measure for measure in MEASURES if measure.part_of is None)  # of the main table
RANKING = (CMIG, CHANGE_AUC)  # both sets of judges rank the systems by these


def difference(values: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """A measure less that of another system, with its paired interval: `interval` of both replicates' differences.

    Both have the shape (replicates,) and are of the same patients, drawn alike. So what is hard about some patients
    for both systems does not widen the interval.
    """
    return interval(values - reference)


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
