import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from biomedjourney.evaluate import cmig, measures

PAPER = [  # pathology AUC, race AUC, age r, CMIG as recomputed and as printed
    (49.90, 77.13, 2.73, 26.91, 18.14),
    (58.10, 78.25, 17.82, 46.58, 42.12),
    (79.61, 84.71, 28.91, 62.77, 66.08),
    (80.54, 97.22, 79.38, 84.11, 83.23),
]


@pytest.mark.parametrize(("pathology", "race", "age", "recomputed", "printed"), PAPER)
def test_cmig_follows_its_definition_and_not_the_printed_column(
    pathology: float, race: float, age: float, recomputed: float, printed: float
) -> None:
    value = 100 * cmig(pathology / 100, race / 100, age / 100)
    assert round(value, 2) == recomputed
    assert abs(value - printed) > 0.5


def test_cmig_counts_a_negative_correlation_as_zero() -> None:
    assert cmig(0.8, 0.9, -0.5) == 0.0


@pytest.mark.parametrize(
    "values", [(80.5, 0.9, 0.8), (-0.1, 0.9, 0.8), (0.8, 1.01, 0.8), (0.8, 0.9, -1.1), (0.8, 0.9, math.nan)]
)
def test_cmig_refuses_what_is_no_fraction(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="expected a fraction"):
        cmig(*values)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=2, max_size=30).filter(
        lambda rows: {b for _, b, w in rows if w} == {True, False}
    )
)
def test_auc_agrees_with_scikit_learn_with_ties_and_weights(rows: list[tuple[int, bool, int]]) -> None:
    scores, positive, weights = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    expected = roc_auc_score(positive, scores, sample_weight=weights)
    assert measures.auc(scores, positive, weights[None])[0] == pytest.approx(expected)


def test_auc_leaves_out_masked_rows_and_is_undefined_with_one_class() -> None:
    weights = np.ones((1, 4))
    assert measures.auc(np.array([1.0, 2, 3, 9]), np.array([0.0, 0, 1, np.nan]), weights)[0] == 1.0
    assert np.isnan(measures.auc(np.arange(4.0), np.ones(4), weights)[0])
    assert np.isnan(measures.auc(np.arange(4.0), np.full(4, np.nan), weights)[0])


def test_correlation_agrees_with_numpy_and_is_undefined_for_a_constant() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(50, 10, 40), rng.normal(50, 10, 40)
    repeats = rng.integers(0, 3, 40)
    expected = np.corrcoef(np.repeat(x, repeats), np.repeat(y, repeats))[0, 1]
    assert measures.correlation(x, y, repeats[None].astype(float))[0] == pytest.approx(expected)
    assert np.isnan(measures.correlation(np.full(40, 61.3), y, np.ones((1, 40)))[0])


def test_bootstrap_of_a_full_size_table_is_fast() -> None:
    rng = np.random.default_rng(0)
    positive = rng.integers(0, 2, (1214, 5)).astype(float)
    began = time.perf_counter()
    weights = measures.patient_weights(np.arange(1214) // 3, 1000, 0)
    measures.mean_auc(rng.random((1214, 5)), positive, weights)
    assert time.perf_counter() - began < 10  # about 0.6 s on an idle core


def test_the_bootstrap_draws_whole_patients() -> None:
    subjects = np.array([7, 7, 3, 3, 3, 9])
    weights = measures.patient_weights(subjects, 200, 1)
    assert (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    assert (weights[1:, [0, 2, 5]].sum(axis=1) == 3).all()
    assert (weights == measures.patient_weights(subjects, 200, 1)).all()
    assert (weights != measures.patient_weights(subjects, 200, 2)).any()


def test_repeating_the_rows_of_each_patient_does_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(3)
    positive = rng.integers(0, 2, 80).astype(float)
    scores = positive + rng.normal(0, 1.2, 80)

    def width(repeats: int) -> float:
        subjects = np.repeat(np.arange(80), repeats)
        weights = measures.patient_weights(subjects, 800, 0)
        areas = measures.auc(np.repeat(scores, repeats), np.repeat(positive, repeats), weights)
        _, low, high = measures.interval(areas)
        return high - low

    assert width(4) == pytest.approx(width(1))


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(11)
    truth = 0.5 * (1 + math.erf(1.0 / 2.0))  # AUC of two unit normals one standard deviation apart
    covered = 0
    for trial in range(120):
        positive = np.repeat([0.0, 1.0], 60)
        scores = positive + rng.normal(size=120)
        weights = measures.patient_weights(np.arange(120), 300, trial)
        _, low, high = measures.interval(measures.auc(scores, positive, weights))
        covered += low <= truth <= high
    assert 0.87 <= covered / 120 <= 0.995


def test_interval_skips_replicates_in_which_the_measure_is_undefined() -> None:
    assert measures.interval(np.array([0.7, 0.6, np.nan, 0.8]))[1] == pytest.approx(0.605)
    assert np.isnan(measures.interval(np.array([np.nan, 0.6]))[1])
