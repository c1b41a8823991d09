"""The measures that the paper does not have: what the pictures show, and not only what three classifiers say of them.

They are declared and computed as those in `measures`; docs/measures.md gives each one's formula and reason. They
stand in a table of their own, `beyond`.
"""

from functools import partial

import numpy as np

from biomedjourney.measures import (
    LEAST_PAIRS,
    ORGANS,
    RACES,
    Evidence,
    Measure,
    auc,
    mean_of_known,
    share,
    weighted_correlation,
)

LEAST_FOR_FID = 2048  # pairs: with fewer the distance is larger than it should be by more than systems differ
NEIGHBOURS = 3  # k of Kynkäänniemi et al. (2019)
CLOSE = 0.05  # quantile of the real pictures' distances below which a picture is close to a training picture
GRADES = (0.0, 0.55, 0.8)  # severities before: absent, up to .55, up to .8, and above
OF_CHANGED, OF_UNCHANGED = 0.8, 0.2  # weights of counterfactual latent divergence, as in Melistas et al.'s code
DIRECTIONS = ("new", "resolved", "worse", "improved")


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of ``values`` (rows,), NaN left out. Returns (replicates,)."""
    known = ~np.isnan(values)
    total = weights[:, known].sum(axis=1)
    return np.divide(weights[:, known] @ values[known], total, out=np.full(len(weights), np.nan), where=total > 0)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The least of ``values`` (rows,) that half of the weight does not exceed, NaN left out. Returns (replicates,)."""
    known = np.flatnonzero(~np.isnan(values))
    if not known.size:
        return np.full(len(weights), np.nan)
    order = known[np.argsort(values[known], kind="stable")]
    reached = np.cumsum(weights[:, order], axis=1)
    return np.where(reached[:, -1] > 0, values[order][(reached >= reached[:, -1:] / 2).argmax(axis=1)], np.nan)


def weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Ranks of ``values`` (rows,) where each row counts ``weights`` (replicates, rows) times; ties share their middle.

    Returns (replicates, rows).
    """
    order = np.argsort(values, kind="stable")
    is_first = np.r_[True, np.diff(values[order]) != 0]
    ties = np.add.reduceat(weights[:, order], np.flatnonzero(is_first), axis=1)
    middles = np.cumsum(ties, axis=1) - ties / 2
    places = np.empty(len(values), dtype=np.intp)
    places[order] = np.cumsum(is_first) - 1
    return middles[:, places]


def rank_correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's correlation of two arrays (rows,), ranked anew in each replicate. Returns (replicates,)."""
    return weighted_correlation(weighted_ranks(x, weights), weighted_ranks(y, weights), weights)


def kernel_distance(generated: np.ndarray, real: np.ndarray, subjects: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The unbiased squared MMD of two sets of features (rows, width) with the kernel (x·y / width + 1)³.

    Row i of ``real`` is the true picture of row i of ``generated``. Pictures of the same patient are never compared
    with each other, so that neither repeated patients of a bootstrap nor the pairing biases it. Returns (replicates,).
    """
    x, y = generated.astype(float), real.astype(float)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1.0) ** 3

    cross = kernel(x, y)
    others = (subjects[:, None] != subjects[None]).astype(float)
    terms = (kernel(x, x) + kernel(y, y) - cross - cross.T) * others
    total = ((weights @ others) * weights).sum(axis=1)
    return np.divide(((weights @ terms) * weights).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)


def frechet_distance(generated: np.ndarray, real: np.ndarray) -> float:
    """The squared Fréchet distance of two normal distributions, with means and covariances of features (rows, width).

    The trace of the root of the product of both covariances A and B is that of the root of √A B √A, which is symmetric,
    so that no rounding makes it complex (Heusel et al., 2017).
    """
    x, y = generated.astype(float), real.astype(float)
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0.0)).sum()
    return float(((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2.0 * shared)


def in_manifold(points: np.ndarray, manifold: np.ndarray) -> np.ndarray:
    """Whether each of ``points`` (n, width) is as near to a point of the ``manifold`` as its third neighbour there.

    Equal points of the manifold count once. NaN where it has too few of them (Kynkäänniemi et al., 2019).
    """
    from scipy.spatial.distance import cdist

    points, manifold = points.astype(float), np.unique(manifold.astype(float), axis=0)
    if len(manifold) <= NEIGHBOURS:
        return np.full(len(points), np.nan)
    radii = np.sort(cdist(manifold, manifold), axis=1)[:, NEIGHBOURS]
    return (cdist(points, manifold) <= radii).any(axis=1).astype(float)


def _column(evidence: Evidence, name: str) -> np.ndarray:
    return evidence.scores[name].to_numpy(dtype=float)


def _features(evidence: Evidence, column: str = "features") -> np.ndarray:
    return np.stack(evidence.scores[column].to_list()).astype(float)


def _first_seed(evidence: Evidence) -> np.ndarray:
    """Whether each row is of the first training seed and of the first seed of its sampling noise: one row per pair."""
    first = np.ones(len(evidence.scores), dtype=bool)
    for name in ("training_seed", "seed"):
        seeds = evidence.scores[name].to_numpy()
        first &= seeds == seeds.min()
    return first


def _known(value: np.ndarray | None) -> np.ndarray:
    assert value is not None
    return value


def _minimality(evidence: Evidence) -> np.ndarray:
    """Over all pairs and findings whose label differs from before. The real pictures stay those of the sample.

    Each prior is compared with the real follow-up pictures of other patients: with those of its own label, and with
    those of the label that the picture should have.
    """
    from scipy.spatial.distance import cdist

    targets, subjects = evidence.targets, evidence.scores["subject_id"].to_numpy()
    real = np.unique(evidence.scores["pair_id"].to_numpy(), return_index=True)[1]
    priors = _features(evidence, "prior_features")
    moved = np.abs(_features(evidence) - priors).sum(axis=1, keepdims=True)
    to_real = cdist(priors, _known(targets.real_features)[real].astype(float), "cityblock")
    others = subjects[:, None] != subjects[real]
    values, weights = [], []
    for i in evidence.counted:
        before, now = targets.prior_findings[:, i], targets.findings[:, i]
        rows = np.flatnonzero(np.abs(now - before) == 1.0)
        if len(set(evidence.scores["pair_id"].to_numpy()[rows])) < LEAST_PAIRS:
            continue
        like_now, like_before = (
            others[rows] & (targets.findings[real, i] == label[rows, None]) for label in (now, before)
        )
        nearer = share(((to_real[rows] <= moved[rows]) & like_now).sum(axis=1), like_now.sum(axis=1))
        farther = share(((to_real[rows] >= moved[rows]) & like_before).sum(axis=1), like_before.sum(axis=1))
        values.append(np.log(OF_CHANGED * np.exp(nearer) + OF_UNCHANGED * np.exp(farther)))
        weights.append(evidence.weights[:, rows])
    if not values:
        return np.full(len(evidence.weights), np.nan)
    return weighted_mean(np.concatenate(values), np.concatenate(weights, axis=1))


def _mean(evidence: Evidence, column: str) -> np.ndarray:
    return weighted_mean(_column(evidence, column), evidence.weights)


def _unchanged(evidence: Evidence) -> np.ndarray:
    """Which rows are of pairs without a change; none where these are fewer than ten."""
    rows = _known(evidence.targets.changed) == 0.0
    return rows & (evidence.scores.loc[rows, "pair_id"].nunique() >= LEAST_PAIRS)


def _stillness(evidence: Evidence) -> np.ndarray:
    unchanged = _unchanged(evidence)
    return weighted_mean(np.where(unchanged, _column(evidence, "difference_to_prior"), np.nan), evidence.weights)


def _amount_auc(evidence: Evidence) -> np.ndarray:
    differences = _column(evidence, "difference_to_prior")
    counted = ~np.isnan(differences) & (_unchanged(evidence) | (_known(evidence.targets.changed) == 1.0))
    return auc(differences, np.where(counted, _known(evidence.targets.changed), np.nan), evidence.weights)


def _direction(evidence: Evidence, direction: str) -> np.ndarray:
    """The share of pairs that went this way, over all findings, whose picture went it too."""
    targets, right, total = evidence.targets, np.zeros(len(evidence.weights)), np.zeros(len(evidence.weights))
    pairs = set()
    for i in evidence.counted:
        score, limit = evidence.pathology_scores(i), _known(targets.thresholds)[:, i]
        before, now, move = targets.prior_findings[:, i], targets.findings[:, i], _known(targets.moves)[:, i]
        prior_score = _column(evidence, f"prior_pathology_{evidence.findings[i]}")
        went, shown = {
            "new": ((before == 0) & (now == 1) & ~np.isnan(limit), score > limit),
            "resolved": ((before == 1) & (now == 0) & ~np.isnan(limit), score <= limit),
            "worse": (move > 0, score > prior_score),
            "improved": (move < 0, score < prior_score),
        }[direction]
        right += evidence.weights[:, went] @ shown[went]
        total += evidence.weights[:, went].sum(axis=1)
        pairs |= {(i, pair) for pair in evidence.scores["pair_id"].to_numpy()[went]}
    enough = (total > 0) & (len(pairs) >= LEAST_PAIRS)
    return np.divide(right, total, out=np.full(len(total), np.nan), where=enough)


def _direction_accuracy(evidence: Evidence) -> np.ndarray:
    """NaN where a direction has too few pairs: without `new`, pictures that never show a finding would win."""
    return np.mean([_direction(evidence, name) for name in DIRECTIONS], axis=0)


def _kid(evidence: Evidence) -> np.ndarray:
    subjects = evidence.scores["subject_id"].to_numpy()
    return kernel_distance(_features(evidence), _known(evidence.targets.real_features), subjects, evidence.weights)


def _of_the_sample(value: float, evidence: Evidence) -> np.ndarray:
    """A distance between distributions without an interval: a replicate, in which patients occur twice, has more."""
    return np.r_[value, np.full(len(evidence.weights) - 1, np.nan)]


def _fid(evidence: Evidence) -> np.ndarray:
    if evidence.scores["pair_id"].nunique() < LEAST_FOR_FID:
        return np.full(len(evidence.weights), np.nan)
    return _of_the_sample(frechet_distance(_features(evidence), _known(evidence.targets.real_features)), evidence)


def _precision(evidence: Evidence) -> np.ndarray:
    inside = in_manifold(_features(evidence), _known(evidence.targets.real_features))
    return weighted_mean(inside, evidence.weights)


def _recall(evidence: Evidence) -> np.ndarray:
    first = _first_seed(evidence)
    inside = in_manifold(_known(evidence.targets.real_features)[first], _features(evidence)[first])
    return weighted_mean(inside, evidence.weights[:, first])


def _label_kl(evidence: Evidence) -> np.ndarray:
    """Half a picture is added to each count, so that a finding that is never called has no infinite divergence."""
    divergences = []
    for i in evidence.counted:
        limit = _known(evidence.targets.thresholds)[:, i]
        if np.isnan(limit).any():
            continue
        p, q = (
            (evidence.weights[0] @ (scores > limit) + 0.5) / (evidence.weights[0].sum() + 1.0)
            for scores in (_known(evidence.targets.real_scores)[:, i], evidence.pathology_scores(i))
        )
        divergences.append(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
    return _of_the_sample(float(np.mean(divergences)) if divergences else np.nan, evidence)


def _matched_race_auc(evidence: Evidence) -> np.ndarray:
    areas = [
        auc(_column(evidence, f"matched_race_{race}"), evidence.targets.race[:, i], evidence.weights)
        for i, race in enumerate(RACES)
    ]
    return mean_of_known(areas, len(evidence.weights))


def _severity_rho(evidence: Evidence) -> np.ndarray:
    """Within grades of the severity before; the mean over grades and findings, weighted by pairs."""
    before, after = _known(evidence.targets.true_severity_before), _known(evidence.targets.true_severity)
    pairs, correlations, shares = evidence.scores["pair_id"].to_numpy(), [], []
    for i in evidence.counted:
        grades = np.where(np.isnan(before[:, i]), -1, np.searchsorted(GRADES, before[:, i]))
        for grade in range(len(GRADES) + 1):
            rows = grades == grade
            if len(set(pairs[rows])) < LEAST_PAIRS:
                continue
            weights = evidence.weights[:, rows]
            correlations.append(rank_correlation(evidence.pathology_scores(i)[rows], after[rows, i], weights))
            shares.append(weights.sum(axis=1))
    return mean_of_known(correlations, len(evidence.weights), shares)


def _training_distance(evidence: Evidence) -> np.ndarray:
    ratios = _column(evidence, "distance_to_training") / _known(evidence.targets.real_distance)
    return weighted_median(ratios, evidence.weights)


def _near_training(evidence: Evidence) -> np.ndarray:
    limit = np.quantile(_known(evidence.targets.real_distance)[_first_seed(evidence)], CLOSE)
    return weighted_mean((_column(evidence, "distance_to_training") < limit).astype(float), evidence.weights)


def _diversity(evidence: Evidence) -> np.ndarray:
    """The mean distance of one model's pictures of a pair, over that of two patients' pictures; NaN with one seed."""
    from scipy.spatial.distance import cdist

    columns = ("pair_id", "subject_id", "training_seed")
    pairs, subjects, models = (evidence.scores[name].to_numpy() for name in columns)
    distances, weights = cdist(_features(evidence), _features(evidence)), evidence.weights
    same_pair = (pairs[:, None] == pairs) & (models[:, None] == models) & ~np.eye(len(pairs), dtype=bool)
    others = (subjects[:, None] != subjects).astype(float)
    of_pair = weighted_mean(share((distances * same_pair).sum(axis=1), same_pair.sum(axis=1)), weights)
    summed, compared = (((weights @ matrix) * weights).sum(axis=1) for matrix in (distances * others, others))
    return of_pair / share(summed, compared)


SSIM_UNCHANGED = Measure(
    name="ssim_unchanged",
    title="SSIM where nothing changes",
    unit="fraction",
    description="SSIM of the picture with the registered prior, outside the area in which the true current picture "
    "differs from that prior",
    needs=(),
    compute=partial(_mean, column="ssim_unchanged"),
)
ORGAN_DICE = tuple(
    Measure(
        name=f"{organ}_dice_{reference}",
        title=f"{organ} Dice with the {title}",
        unit="fraction",
        description=f"mean Dice of the {organ} of the picture with that of the {picture}, as a segmenter marks them",
        needs=(),
        compute=partial(_mean, column=f"{organ}_dice_{reference}"),
    )
    for reference, title, picture in (
        ("prior", "prior", "registered prior"),
        ("current", "real follow-up", "real follow-up picture"),
    )
    for organ in ORGANS
)
MINIMALITY = Measure(
    name="minimality",
    title="counterfactual latent divergence",
    unit="0 to 1",
    description="whether a picture whose finding changes is as far from its prior as the change needs, and no farther, "
    "beside real pictures with and without the finding, on features; the lower, the better",
    needs=("findings", "prior_findings", "real_features"),
    compute=_minimality,
)
STILLNESS = Measure(
    name="stillness",
    title="difference without a change",
    unit="grey level, 0 to 1",
    description="mean absolute difference to the registered prior where reports and labels tell no change; the lower, "
    "the stiller",
    needs=("changed",),
    compute=_stillness,
)
AMOUNT_AUC = Measure(
    name="amount_auc",
    title="AUC of the amount of change",
    unit="fraction",
    description="whether pairs with a change differ more from the registered prior than pairs without one",
    needs=("changed",),
    compute=_amount_auc,
    chance=0.5,
)
DIRECTION_ACCURACY = Measure(
    name="direction_accuracy",
    title="direction accuracy",
    unit="fraction",
    description="mean over new, resolved, worse and improved of the share of such pairs whose picture goes that way",
    needs=("findings", "prior_findings", "thresholds", "moves"),
    compute=_direction_accuracy,
)
_OF_DIRECTIONS = tuple(
    Measure(
        name=f"direction_{direction}",
        title=f"direction, {direction}",
        unit="fraction",
        description=f"share of the pairs with a finding that is {direction}, {meaning}",
        needs=DIRECTION_ACCURACY.needs,
        compute=partial(_direction, direction=direction),
        part_of="direction_accuracy",
    )
    for direction, meaning in (
        ("new", "whose picture has a score above the classifier's threshold"),
        ("resolved", "whose picture has a score not above the classifier's threshold"),
        ("worse", "whose picture has a higher score than the registered prior"),
        ("improved", "whose picture has a lower score than the registered prior"),
    )
)
SEVERITY_RHO = Measure(
    name="severity_rho",
    title="Spearman with the true severity",
    unit="correlation",
    description="rank correlation of the score with the phantom's true severity, among pairs of like severity before",
    needs=("true_severity", "true_severity_before"),
    compute=_severity_rho,
    chance=0.0,
)
RACE_AUC_MATCHED = Measure(
    name="race_auc_matched",
    title="race AUC, intensities matched",
    unit="fraction",
    description="race AUC on pictures with one and the same histogram: race without what grey levels alone tell",
    needs=("race",),
    compute=_matched_race_auc,
    chance=0.5,
)
KID = Measure(
    name="kid",
    title="KID",
    unit="squared MMD",
    description="kernel distance to the real follow-up pictures on features of the pathology classifier",
    needs=("real_features",),
    compute=_kid,
)
FID = Measure(
    name="fid",
    title="FID",
    unit="squared distance",
    description="Fréchet distance to the real follow-up pictures on features of the pathology classifier, without an "
    f"interval; null with fewer than {LEAST_FOR_FID} pairs",
    needs=("real_features",),
    compute=_fid,
)
PRECISION = Measure(
    name="precision",
    title="precision",
    unit="fraction",
    description="share of the pictures that lie among the real follow-up pictures, by nearest neighbours of features",
    needs=("real_features",),
    compute=_precision,
)
RECALL = Measure(
    name="recall",
    title="recall",
    unit="fraction",
    description="share of the real follow-up pictures that lie among the pictures, by nearest neighbours of features",
    needs=("real_features",),
    compute=_recall,
)
LABEL_KL = Measure(
    name="label_kl",
    title="KL of label distributions",
    unit="nats",
    description="KL divergence of how often the classifier calls a finding, real follow-up pictures against the "
    "pictures, mean over the findings",
    needs=("thresholds", "real_scores"),
    compute=_label_kl,
)
TRAINING_DISTANCE = Measure(
    name="training_distance",
    title="distance to training",
    unit="ratio",
    description="median of the distance to the nearest training picture over that of the real follow-up picture, on "
    "features; well below 1: the pictures may be memorised",
    needs=("real_distance",),
    compute=_training_distance,
)
NEAR_TRAINING = Measure(
    name="near_training",
    title="near a training picture",
    unit="fraction",
    description="share of the pictures nearer to a training picture than all but 5 % of the real follow-up pictures",
    needs=("real_distance",),
    compute=_near_training,
)
DIVERSITY = Measure(
    name="diversity",
    title="diversity",
    unit="ratio",
    description="distance of two pictures of the same pair, of different seeds, over that of two patients' pictures, "
    "on features",
    needs=(),
    compute=_diversity,
)
SEEDS_MS_SSIM = Measure(
    name="seeds_ms_ssim",
    title="MS-SSIM of two seeds",
    unit="fraction",
    description="multi-scale SSIM of two pictures of the same pair, of different seeds; the lower, the more diverse",
    needs=(),
    compute=partial(_mean, column="seeds_ms_ssim"),
)

IN_PAPER = tuple(measure for measure in ORGAN_DICE if measure.name == "lung_dice_prior")  # the paper prints figures
BEYOND = (
    *(SSIM_UNCHANGED, *ORGAN_DICE, MINIMALITY, STILLNESS, AMOUNT_AUC),
    *(DIRECTION_ACCURACY, *_OF_DIRECTIONS),
    *(SEVERITY_RHO, RACE_AUC_MATCHED),
    *(KID, FID, PRECISION, RECALL, LABEL_KL),
    *(TRAINING_DISTANCE, NEAR_TRAINING, DIVERSITY, SEEDS_MS_SSIM),
)
