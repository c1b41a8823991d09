"""The measures beyond the paper: known values, and the way each moves when one thing is made worse."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import polynomial_kernel

from biomedjourney import beyond, measures
from biomedjourney.beyond import BEYOND
from biomedjourney.measures import RACES, Evidence, Measure, Targets

FINDINGS = ("edema", "fracture")
WIDTH = 6


def random_evidence(seed: int, rows: int = 120, seeds: int = 1) -> Evidence:
    """Pictures that show what they should, with noise: two patients in three have two pairs; each row counts once."""
    rng = np.random.default_rng(seed)
    pairs = rows // seeds
    prior, current = (rng.integers(0, 2, (pairs, 2)).astype(float) for _ in range(2))
    severity = current * rng.uniform(0.35, 1, (pairs, 2))
    before = prior * rng.uniform(0.35, 1, (pairs, 2))
    race = np.eye(3)[rng.integers(0, 3, pairs)]
    features = rng.normal(0, 1, (pairs, WIDTH))
    of_pairs = Targets(
        current,
        prior,
        np.ones(current.shape, bool),
        race,
        rng.uniform(20, 90, pairs),
        true_severity=severity,
        true_severity_before=before,
        changed=(prior != current).any(axis=1).astype(float),
        moves=np.where((prior == 1) & (current == 1), rng.choice([-1.0, 1.0], (pairs, 2)), np.nan),
        thresholds=np.full((pairs, 2), 0.5),
        real_scores=current + rng.normal(0, 0.2, current.shape),
        real_features=features,
        real_distance=rng.uniform(1, 2, pairs),
    )
    place = np.tile(np.arange(pairs), seeds)
    targets = of_pairs.take(place)
    noise = rng.normal(0, 0.3, (len(place), 2))
    scores = pd.DataFrame({"pair_id": [f"p{i}" for i in place], "subject_id": 2 * place // 3})
    scores["seed"] = np.repeat(np.arange(seeds), pairs)
    scores["training_seed"] = 0
    moved = np.nan_to_num(_known(targets.moves)) * 0.2
    for i, name in enumerate(FINDINGS):
        scores[f"pathology_{name}"] = _known(targets.true_severity)[:, i] + noise[:, i]
        scores[f"prior_pathology_{name}"] = scores[f"pathology_{name}"] - moved[:, i] + rng.normal(0, 0.2, len(place))
    for i, name in enumerate(RACES):
        scores[f"matched_race_{name}"] = targets.race[:, i] + rng.normal(0, 1, len(place))
    for measure in beyond.ORGAN_DICE:
        scores[measure.name] = rng.uniform(0.5, 1, len(place))
    scores["ssim_unchanged"] = rng.uniform(0.5, 1, len(place))
    scores["difference_to_prior"] = 0.1 + 0.05 * _known(targets.changed) + rng.uniform(0, 0.1, len(place))
    scores["seeds_ms_ssim"] = rng.uniform(0.5, 1, len(place))
    scores["distance_to_training"] = rng.uniform(1, 2, len(place))
    scores["prior_features"] = list(_known(targets.real_features) + rng.normal(0, 2, (len(place), WIDTH)))
    scores["features"] = list(_known(targets.real_features) + rng.normal(0, 0.5, (len(place), WIDTH)))
    return Evidence(scores, targets, FINDINGS, np.ones((1, len(place))), (0, 1))


def _known(values: np.ndarray | None) -> np.ndarray:
    assert values is not None
    return values


def value(measure: Measure, seen: Evidence, **columns: object) -> float:
    """The measure on the sample itself, with other columns of scores."""
    return float(measure.compute(dataclasses.replace(seen, scores=seen.scores.assign(**columns), _values={}))[0])


def with_targets(seen: Evidence, **changes: np.ndarray) -> Evidence:
    return dataclasses.replace(seen, targets=dataclasses.replace(seen.targets, **changes), _values={})


ALL = pytest.mark.parametrize("measure", BEYOND, ids=lambda measure: measure.name)
# Their nearest neighbours and quantiles are those of the sample in every replicate: the pictures alone are weighted.
FIXED = ("precision", "recall", "near_training")


@pytest.fixture(autouse=True)
def few_pairs_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beyond, "LEAST_FOR_FID", 50)


@ALL
def test_every_measure_is_defined_on_full_evidence_and_declared_in_full(measure: Measure) -> None:
    seen = random_evidence(0, seeds=2)
    assert np.isfinite(measure.compute(seen)).all()
    assert measure.compute(seen).shape == (1,)
    assert measure.name.isidentifier()
    assert measure.title
    assert measure.unit
    assert measure.description
    assert measure not in measures.MEASURES
    assert measure.part_of in {None, *(other.name for other in BEYOND)}


def test_names_and_titles_are_distinct() -> None:
    every = [*measures.MEASURES, *BEYOND]
    assert len({m.name for m in every}) == len({m.title for m in every}) == len(every)


@ALL
def test_a_measure_whose_needs_are_absent_is_undefined_and_reads_no_other_target(measure: Measure) -> None:
    seen = random_evidence(0, seeds=2)
    for name in measure.needs:
        assert np.isnan(with_targets(seen, **{name: None}).value(measure)).all()  # type: ignore[arg-type]
    others = {field.name for field in dataclasses.fields(Targets)} - set(measure.needs)
    alone = with_targets(seen, **dict.fromkeys(others))  # type: ignore[arg-type]
    np.testing.assert_array_equal(alone.value(measure), seen.value(measure))


@ALL
def test_a_weight_says_how_often_a_row_counts(measure: Measure) -> None:
    """Each row repeated, of patients that are drawn again, is what a bootstrap's replicate stands for."""
    seen = random_evidence(1, seeds=2)
    repeats = np.random.default_rng(0).integers(1, 4, len(seen.scores) // 2)
    repeats = np.tile(repeats, 2)
    weighted = dataclasses.replace(seen, weights=repeats[None].astype(float), _values={})
    rows = np.repeat(np.arange(len(repeats)), repeats)
    repeated = dataclasses.replace(
        seen,
        scores=seen.scores.iloc[rows].reset_index(drop=True),
        targets=seen.targets.take(rows),
        weights=np.ones((1, len(rows))),
        _values={},
    )
    if measure.name == "near_training":
        limit = np.quantile(_known(seen.targets.real_distance), beyond.CLOSE)
        expected = np.average(seen.scores["distance_to_training"] < limit, weights=repeats)
    elif measure.name == "diversity":  # the pictures of a pair are compared within each draw of its patient
        draws = np.concatenate([np.arange(count) for count in repeats]).astype(str)
        repeated.scores["pair_id"] += "-" + draws
        expected = repeated.value(measure)[0]
    elif measure.name in ("fid", "label_kl"):  # of the sample alone
        return
    else:
        expected = repeated.value(measure)[0]
    assert weighted.value(measure)[0] == pytest.approx(expected)


@ALL
def test_a_measure_of_pictures_that_say_nothing_is_that_of_chance(measure: Measure) -> None:
    seen = random_evidence(2, rows=2000)
    rng = np.random.default_rng(3)
    numbers = [
        name
        for name in seen.scores
        if name not in ("pair_id", "subject_id", "seed", "training_seed", "features", "prior_features")
    ]
    nothing = {name: rng.random(len(seen.scores)) for name in numbers}
    if measure.chance is not None:
        assert value(measure, seen, **nothing) == pytest.approx(measure.chance, abs=0.06)
        assert abs(value(measure, seen) - measure.chance) > 0.06


def test_ssim_and_stillness_are_means_of_the_pictures_that_count() -> None:
    seen = random_evidence(4, rows=4)
    ssim = np.array([0.5, 0.7, np.nan, 0.9])
    assert value(beyond.SSIM_UNCHANGED, seen, ssim_unchanged=ssim) == pytest.approx(0.7)
    seen, differences = random_evidence(4, rows=40), np.tile([0.9, 0.1, 0.3, 0.9], 10)
    still = with_targets(seen, changed=np.tile([1.0, 0.0, 0.0, np.nan], 10))
    assert value(beyond.STILLNESS, still, difference_to_prior=differences) == pytest.approx(0.2)


def changing(moved: float) -> tuple[Evidence, dict[str, object]]:
    """Forty patients, the first twenty of which get a finding; the others lose it. ``moved``: how far pictures lie.

    All priors lie at 0, the real follow-up pictures with the finding at 1 to 3 and those without it at 2 to 4.
    """
    seen = random_evidence(6, rows=40)
    gets = np.arange(40) < 20
    labels = np.stack([gets, np.zeros(40)], axis=1).astype(float)
    before = np.stack([~gets, np.zeros(40)], axis=1).astype(float)
    place = np.linspace(0, 2, 20)
    real = np.zeros((40, WIDTH))
    real[:, 0] = np.r_[1 + place, 2 + place]
    seen = with_targets(seen, findings=labels, prior_findings=before, real_features=real)
    return seen, {
        "subject_id": np.arange(40),
        "prior_features": list(np.zeros((40, WIDTH))),
        "features": list(np.eye(1, WIDTH)[[0] * 40] * moved),
    }


def latent_divergence(nearer: float, farther: float) -> float:
    return float(np.log(0.8 * np.exp(nearer) + 0.2 * np.exp(farther)))


def test_the_latent_divergence_is_least_between_the_two_sorts_of_real_pictures() -> None:
    seen, columns = changing(0.0)  # a copy: no real picture is as near, and all are as far
    assert value(beyond.MINIMALITY, seen, **columns) == pytest.approx(latent_divergence(0, 1))
    seen, columns = changing(9.0)
    assert value(beyond.MINIMALITY, seen, **columns) == pytest.approx(latent_divergence(1, 0))
    seen, columns = changing(2.5)  # those who get it: 15 of 20 nearer with it, less themselves, and 15 of 20 farther
    with_it, without = np.linspace(1, 3, 20) <= 2.5, np.linspace(2, 4, 20) <= 2.5
    expected = [latent_divergence((with_it.sum() - own) / 19, (~without).mean()) for own in with_it]
    expected += [latent_divergence((without.sum() - own) / 19, (~with_it).mean()) for own in without]
    assert value(beyond.MINIMALITY, seen, **columns) == pytest.approx(np.mean(expected))


def test_the_latent_divergence_needs_ten_pairs_whose_finding_changes() -> None:
    seen, columns = changing(1.0)
    for pairs, is_defined in ((9, False), (10, True)):
        before = seen.targets.findings.copy()
        before[:pairs, 0] = 1 - before[:pairs, 0]
        few = with_targets(seen, prior_findings=before)
        assert np.isfinite(value(beyond.MINIMALITY, few, **columns)) == is_defined


def test_with_fewer_than_ten_pairs_without_a_change_nothing_is_said_of_them() -> None:
    seen = random_evidence(4, rows=40)
    for unchanged, is_defined in ((9, False), (10, True)):
        few = with_targets(seen, changed=(np.arange(40) >= unchanged).astype(float))
        for measure in (beyond.STILLNESS, beyond.AMOUNT_AUC):
            assert np.isfinite(measure.compute(few)).all() == is_defined


def test_the_amount_of_change_is_compared_between_pairs_with_and_without_a_change() -> None:
    seen = random_evidence(5)
    changed = _known(seen.targets.changed)
    assert value(beyond.AMOUNT_AUC, seen, difference_to_prior=changed) == 1.0
    assert value(beyond.AMOUNT_AUC, seen, difference_to_prior=np.zeros(len(changed))) == 0.5
    expected = roc_auc_score(changed, seen.scores["difference_to_prior"])
    assert value(beyond.AMOUNT_AUC, seen) == pytest.approx(expected)


def test_the_direction_accuracy_of_a_copy_is_below_that_of_chance_and_of_the_truth_one() -> None:
    seen = random_evidence(6, rows=400)
    targets = seen.targets
    columns = {}
    for i, name in enumerate(FINDINGS):
        columns[f"prior_pathology_{name}"] = 0.2 + 0.6 * targets.prior_findings[:, i]
        columns[f"pathology_{name}"] = (
            0.2 + 0.6 * targets.findings[:, i] + 0.1 * np.nan_to_num(_known(targets.moves)[:, i])
        )
    assert value(beyond.DIRECTION_ACCURACY, seen, **columns) == 1.0
    copied = columns | {f"pathology_{name}": columns[f"prior_pathology_{name}"] for name in FINDINGS}
    assert value(beyond.DIRECTION_ACCURACY, seen, **copied) == 0.0
    always = columns | {f"pathology_{name}": np.full(400, 0.9) for name in FINDINGS}
    assert value(beyond.DIRECTION_ACCURACY, seen, **always) == 0.5
    of_new, of_resolved, of_worse, of_improved = (
        next(m for m in BEYOND if m.name == f"direction_{name}") for name in beyond.DIRECTIONS
    )
    assert [value(m, seen, **always) for m in (of_new, of_resolved, of_worse, of_improved)] == [1.0, 0.0, 1.0, 0.0]


def test_a_direction_with_fewer_than_ten_pairs_is_undefined() -> None:
    seen = random_evidence(7)
    before = np.ones((120, 2))
    before[:9, 0] = 0
    few = with_targets(seen, prior_findings=before, findings=np.ones((120, 2)))
    new = next(m for m in BEYOND if m.name == "direction_new")
    assert np.isnan(new.compute(few)).all()
    assert np.isnan(beyond.DIRECTION_ACCURACY.compute(few)).all(), "the rest would reward pictures without findings"
    before[9, 0] = 0
    assert np.isfinite(new.compute(with_targets(few, prior_findings=before))).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 3)), min_size=3, max_size=12))
def test_the_rank_correlation_is_that_of_scipy_on_repeated_rows(rows: list[tuple[int, int, int]]) -> None:
    x, y, repeats = (np.array(column) for column in zip(*rows, strict=True))
    found = beyond.rank_correlation(x.astype(float), y.astype(float), repeats[None].astype(float))[0]
    if len(set(x)) < 2 or len(set(y)) < 2:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(np.repeat(x, repeats), np.repeat(y, repeats)).statistic)


def test_the_severity_is_compared_among_pairs_of_like_severity_before() -> None:
    seen = random_evidence(8, rows=400)
    before, after = _known(seen.targets.true_severity_before), _known(seen.targets.true_severity)
    right = {f"pathology_{name}": after[:, i] for i, name in enumerate(FINDINGS)}
    wrong = {f"pathology_{name}": -after[:, i] for i, name in enumerate(FINDINGS)}
    assert value(beyond.SEVERITY_RHO, seen, **right) == pytest.approx(1.0)
    assert value(beyond.SEVERITY_RHO, seen, **wrong) == pytest.approx(-1.0)
    tied = with_targets(seen, true_severity=np.clip(before + 0.01 * after, 0, 1))
    copy = {f"pathology_{name}": np.round(before[:, i], 1) for i, name in enumerate(FINDINGS)}
    whole = spearmanr(copy["pathology_edema"], _known(tied.targets.true_severity)[:, 0]).statistic
    assert value(beyond.SEVERITY_RHO, tied, **copy) < whole  # what was severe before tells nothing within a grade


def test_the_kernel_distance_is_the_unbiased_one_and_nothing_for_the_real_pictures() -> None:
    rng = np.random.default_rng(9)
    real, generated = rng.normal(0, 1, (30, 4)), rng.normal(0.5, 1, (30, 4))
    subjects, weights = np.arange(30), np.ones((1, 30))
    within = (~np.eye(30, dtype=bool)).astype(float)
    gram = {pair: polynomial_kernel(a, b, degree=3, gamma=1 / 4, coef0=1) for pair, (a, b) in
            {"gg": (generated, generated), "rr": (real, real), "gr": (generated, real)}.items()}  # fmt: skip
    expected = sum(sign * (gram[pair] * within).sum() for pair, sign in (("gg", 1), ("rr", 1), ("gr", -2))) / (30 * 29)
    found = beyond.kernel_distance(generated, real, subjects, weights)[0]
    assert found == pytest.approx(expected)
    assert beyond.kernel_distance(real, real, subjects, weights)[0] == pytest.approx(0, abs=1e-12)
    assert found < beyond.kernel_distance(generated + 1, real, subjects, weights)[0]


def test_the_kernel_distance_of_another_sample_of_the_same_pictures_is_about_nothing() -> None:
    rng = np.random.default_rng(10)
    subjects, weights = np.arange(60), np.ones((1, 60))
    drawn = [beyond.kernel_distance(*rng.normal(0, 1, (2, 60, 4)), subjects, weights)[0] for _ in range(60)]
    assert abs(np.mean(drawn)) < 3 * np.std(drawn) / np.sqrt(60)


def test_the_frechet_distance_is_that_of_two_normal_distributions() -> None:
    rng = np.random.default_rng(8)
    sample = rng.normal(0, 1, (5000, 3))
    whitened = (sample - sample.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(sample, rowvar=False))).T
    turn = np.linalg.qr(rng.normal(0, 1, (3, 3)))[0]
    real, wide = whitened @ turn, (whitened * [1, 2, 3] + [0, 0, 4]) @ turn
    assert beyond.frechet_distance(wide, real) == pytest.approx(4**2 + (2 - 1) ** 2 + (3 - 1) ** 2)
    assert beyond.frechet_distance(real, wide) == pytest.approx(beyond.frechet_distance(wide, real))
    assert beyond.frechet_distance(wide, wide) == pytest.approx(0, abs=1e-9)
    flat = real * [1, 1, 0]  # a covariance without full rank
    assert beyond.frechet_distance(flat, flat) == pytest.approx(0, abs=1e-6)


def test_the_frechet_distance_needs_many_pairs_and_no_distance_of_distributions_has_an_interval() -> None:
    few, many = (random_evidence(13, rows=rows) for rows in (49, 50))
    assert np.isnan(few.value(beyond.FID)).all()
    weights = measures.patient_weights(many.scores["subject_id"].to_numpy(), 5, 0)
    for measure in (beyond.FID, beyond.LABEL_KL):
        estimate, *replicates = dataclasses.replace(many, weights=weights, _values={}).value(measure)
        assert len(replicates) == 5
        assert estimate > 0
        assert np.isnan(replicates).all()
    same = list(_known(many.targets.real_features))
    assert value(beyond.FID, many, features=same) == pytest.approx(0, abs=1e-9)


def test_precision_falls_with_odd_pictures_and_recall_with_missing_ones() -> None:
    seen = random_evidence(11, rows=200)
    real = _known(seen.targets.real_features)
    assert value(beyond.PRECISION, seen, features=list(real)) == value(beyond.RECALL, seen, features=list(real)) == 1.0
    odd = real.copy()
    odd[:50] += 100
    assert value(beyond.PRECISION, seen, features=list(odd)) == pytest.approx(0.75)
    one_sort = np.where(real[:, :1] > 0, real, -real) * 0.3 + np.eye(WIDTH)[0]
    assert value(beyond.PRECISION, seen, features=list(one_sort)) > 0.9
    assert value(beyond.RECALL, seen, features=list(one_sort)) < 0.5


def test_the_divergence_of_labels_is_that_of_two_shares() -> None:
    seen = random_evidence(12, rows=1000)
    calls = with_targets(seen, real_scores=np.tile(np.arange(1000)[:, None] < 300, 2).astype(float))
    same = {f"pathology_{name}": np.arange(1000) >= 700 for name in FINDINGS}
    assert value(beyond.LABEL_KL, calls, **same) == pytest.approx(0)
    half = {f"pathology_{name}": np.arange(1000) < 500 for name in FINDINGS}
    expected = 0.3 * np.log(0.3 / 0.5) + 0.7 * np.log(0.7 / 0.5)
    assert value(beyond.LABEL_KL, calls, **half) == pytest.approx(expected, rel=0.01)
    never = {f"pathology_{name}": np.zeros(1000) for name in FINDINGS}
    assert np.isfinite(value(beyond.LABEL_KL, calls, **never))
    assert value(beyond.LABEL_KL, calls, **never) > expected


def test_pictures_near_training_pictures_are_told() -> None:
    seen = random_evidence(13, rows=200)
    real = _known(seen.targets.real_distance)
    assert value(beyond.TRAINING_DISTANCE, seen, distance_to_training=real) == 1.0
    assert value(beyond.NEAR_TRAINING, seen, distance_to_training=real) == pytest.approx(0.05)
    assert value(beyond.TRAINING_DISTANCE, seen, distance_to_training=real / 4) == 0.25
    assert value(beyond.NEAR_TRAINING, seen, distance_to_training=real / 4) == 1.0


def test_diversity_is_that_of_the_seeds_of_a_pair_and_undefined_with_one() -> None:
    seen = random_evidence(14, seeds=2)
    real = _known(seen.targets.real_features)
    assert np.isnan(value(beyond.DIVERSITY, random_evidence(14)))
    assert value(beyond.DIVERSITY, seen, features=list(real)) == 0.0
    noise = np.random.default_rng(0).normal(0, 1, real.shape)
    little, much = (value(beyond.DIVERSITY, seen, features=list(real + s * noise)) for s in (0.1, 1.0))
    assert 0 < little < much < 1
    unrelated = value(beyond.DIVERSITY, seen, features=list(noise))
    assert unrelated == pytest.approx(1.0, abs=0.1)


def test_a_weighted_median_and_mean_leave_out_what_is_unknown() -> None:
    values, weights = np.array([3.0, 1.0, np.nan, 2.0]), np.array([[1.0, 1, 5, 1], [5.0, 1, 1, 1], [0, 0, 1, 0]])
    np.testing.assert_allclose(beyond.weighted_median(values, weights), [2.0, 3.0, np.nan])
    np.testing.assert_allclose(beyond.weighted_mean(values, weights), [2.0, 18 / 7, np.nan])
