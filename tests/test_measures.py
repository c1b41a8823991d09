"""The measures: known values, what each needs, and the change AUC, which no copy of the prior can win."""

import dataclasses
import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from biomedjourney import measures, tables
from biomedjourney.evaluate import cmig, summary
from biomedjourney.measures import (
    CHANGE_AUC,
    CHANGE_AUC_LIKE_PRIORS,
    IN_PAPER,
    LEAST_PAIRS,
    MEASURES,
    PATHOLOGY_AUC,
    RACES,
    Evidence,
    Measure,
    Targets,
)

FINDINGS = ("edema", "fracture")
PAPER = [  # pathology AUC, race AUC, age r, CMIG as recomputed and as printed
    (49.90, 77.13, 2.73, 26.91, 18.14),
    (58.10, 78.25, 17.82, 46.58, 42.12),
    (79.61, 84.71, 28.91, 62.77, 66.08),
    (80.54, 97.22, 79.38, 84.11, 83.23),
]


def evidence(
    pathology: np.ndarray,
    current: np.ndarray,
    prior: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    pair_ids: list[str] | None = None,
    prior_scores: np.ndarray | None = None,
) -> Evidence:
    """Evidence of the findings alone, (n, labels): scores, labels of the current study and of the prior one."""
    rows, findings = len(pathology), [f"finding_{i}" for i in range(pathology.shape[1])]
    scores = pd.DataFrame(pathology, columns=[f"pathology_{name}" for name in findings])
    for i, name in enumerate(findings if prior_scores is not None else ()):
        scores[f"prior_pathology_{name}"] = prior_scores[:, i]  # type: ignore[index]
    scores["pair_id"] = [str(i) for i in range(rows)] if pair_ids is None else pair_ids
    unknown = np.full(rows, np.nan)
    targets = Targets(current, prior, np.ones(current.shape, bool), np.full((rows, 3), np.nan), unknown)
    counted = tuple(range(len(findings)))
    return Evidence(scores, targets, tuple(findings), np.ones((1, rows)) if weights is None else weights, counted)


def random_evidence(seed: int, rows: int = 200, replicates: int = 3) -> Evidence:
    """Scores that say something about every target, with masked labels, patients of unknown race and age, and ties."""
    rng = np.random.default_rng(seed)

    def labels() -> np.ndarray:
        result = rng.integers(0, 2, (rows, len(FINDINGS))).astype(float)
        result[rng.random(result.shape) < 0.1] = np.nan
        return result

    race = np.eye(3)[rng.integers(0, 3, rows)]
    race[rng.random(rows) < 0.1] = np.nan
    age = rng.uniform(20, 90, rows)
    age[rng.random(rows) < 0.1] = np.nan
    true_findings = rng.integers(0, 2, (rows, len(FINDINGS))).astype(float)
    targets = Targets(labels(), labels(), rng.random((rows, len(FINDINGS))) < 0.8, race, age, true_findings)
    scores = pd.DataFrame({"pair_id": [f"{i}-{i + 1}" for i in range(rows)]})
    for i, name in enumerate(FINDINGS):
        scores[f"pathology_{name}"] = np.round(np.nan_to_num(targets.findings[:, i]) + rng.normal(0, 1, rows), 1)
        scores[f"prior_pathology_{name}"] = np.round(0.5 * scores[f"pathology_{name}"] + rng.normal(0, 1, rows), 1)
    for i, name in enumerate(RACES):
        scores[f"race_{name}"] = np.nan_to_num(race[:, i]) + rng.normal(0, 1, rows)
    scores["age"] = np.nan_to_num(age, nan=50.0) + rng.normal(0, 20, rows)
    weights = np.vstack([np.ones(rows), rng.integers(1, 4, (replicates, rows))]).astype(float)
    return Evidence(scores, targets, FINDINGS, weights, tuple(range(len(FINDINGS))))


def mean_area(scores: pd.DataFrame, prefix: str, names: tuple[str, ...], labels: np.ndarray) -> float:
    """scikit-learn's AUC of each column of scores, NaN labels left out, and their mean."""
    areas = []
    for i, name in enumerate(names):
        is_known = ~np.isnan(labels[:, i])
        areas.append(roc_auc_score(labels[is_known, i], scores.loc[is_known, f"{prefix}_{name}"]))
    return float(np.mean(areas))


def age_correlation(seen: Evidence) -> float:
    is_known = ~np.isnan(seen.targets.age)
    return float(np.corrcoef(seen.scores["age"][is_known], seen.targets.age[is_known])[0, 1])


def comparisons(
    seen: Evidence, place: int, prior_labels: tuple[int, ...], mentioned: bool = False, like_priors: bool = False
) -> tuple[float, int]:
    """Of one finding: how many comparisons of a positive and a negative of one prior label are won, and of how many."""
    scores, labels, prior = (
        seen.pathology_scores(place),
        seen.targets.findings[:, place],
        seen.targets.prior_findings[:, place],
    )
    if mentioned:
        prior = np.where(seen.targets.mentioned[:, place], prior, np.nan)
    before = seen.scores[f"prior_pathology_{FINDINGS[place]}"].to_numpy()
    won, number = 0.0, 0
    for prior_label in prior_labels:
        in_stratum = (prior == prior_label) & ~np.isnan(labels)
        bounds = np.quantile(before[in_stratum], (0.25, 0.5, 0.75))
        quarter = (before[:, None] >= bounds).sum(axis=1) if like_priors else np.zeros(len(before))
        for part in range(4):
            with_finding = scores[in_stratum & (quarter == part) & (labels == 1)]
            without = scores[in_stratum & (quarter == part) & (labels == 0)]
            for score in with_finding:
                won += (score > without).sum() + 0.5 * (score == without).sum()
            number += len(with_finding) * len(without)
    return won, number


def change_area(
    seen: Evidence, prior_labels: tuple[int, ...] = (0, 1), mentioned: bool = False, like_priors: bool = False
) -> float:
    of_findings = [comparisons(seen, place, prior_labels, mentioned, like_priors) for place in range(len(FINDINGS))]
    return float(np.mean([won / number for won, number in of_findings]))


def findings_area(seen: Evidence, labels: np.ndarray | None) -> float:
    assert labels is not None
    return mean_area(seen.scores, "pathology", FINDINGS, labels)


def race_area(seen: Evidence) -> float:
    return mean_area(seen.scores, "race", RACES, seen.targets.race)


REFERENCES: dict[str, Callable[[Evidence], float]] = {
    "pathology_auc": lambda seen: findings_area(seen, seen.targets.findings),
    "race_auc": race_area,
    "age_r": age_correlation,
    "cmig": lambda seen: cmig(findings_area(seen, seen.targets.findings), race_area(seen), age_correlation(seen)),
    "change_auc": change_area,
    "change_auc_absent_before": lambda seen: change_area(seen, prior_labels=(0,)),
    "change_auc_present_before": lambda seen: change_area(seen, prior_labels=(1,)),
    "change_auc_mentioned": lambda seen: change_area(seen, mentioned=True),
    "change_auc_like_priors": lambda seen: change_area(seen, like_priors=True),
    "pathology_auc_true": lambda seen: findings_area(seen, seen.targets.true_findings),
}
ALL = pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)


@ALL
def test_every_measure_agrees_with_its_reference(measure: Measure) -> None:
    for seed in range(3):
        seen = random_evidence(seed)
        assert measure.compute(seen)[0] == pytest.approx(REFERENCES[measure.name](seen))
        assert seen.value(measure).shape == (4,)


@ALL
def test_a_weight_says_how_often_a_row_counts(measure: Measure) -> None:
    seen = random_evidence(5)
    for replicate in range(len(seen.weights)):
        repeats = seen.weights[replicate].astype(int)
        rows = np.repeat(np.arange(len(repeats)), repeats)
        repeated = dataclasses.replace(
            seen,
            scores=seen.scores.iloc[rows].reset_index(drop=True),
            targets=seen.targets.take(rows),
            weights=np.ones((1, len(rows))),
            _values={},
        )
        assert seen.value(measure)[replicate] == pytest.approx(repeated.value(measure)[0])


@ALL
def test_a_measure_whose_needs_are_absent_is_undefined(measure: Measure) -> None:
    assert measure.needs
    for name in measure.needs:
        seen = random_evidence(0)
        lacking = dataclasses.replace(seen, targets=dataclasses.replace(seen.targets, **{name: None}), _values={})
        assert np.isnan(lacking.value(measure)).all()
        assert lacking.value(measure).shape == (4,)


@ALL
def test_a_measure_reads_no_other_target_than_it_says(measure: Measure) -> None:
    seen = random_evidence(0)
    others = {field.name for field in dataclasses.fields(Targets)} - set(measure.needs)
    alone = dataclasses.replace(seen, targets=dataclasses.replace(seen.targets, **dict.fromkeys(others)), _values={})
    np.testing.assert_array_equal(alone.value(measure), seen.value(measure))


@pytest.mark.parametrize("measure", [m for m in MEASURES if m.by_finding], ids=lambda measure: measure.name)
def test_the_mean_over_the_findings_is_that_of_each_finding_alone(measure: Measure) -> None:
    seen = random_evidence(2)
    alone = [seen.for_finding(finding).value(measure) for finding in FINDINGS]
    assert not np.allclose(alone[0], alone[1])
    np.testing.assert_allclose(np.mean(alone, axis=0), seen.value(measure))


@ALL
def test_a_measure_of_scores_that_say_nothing_is_that_of_chance(measure: Measure) -> None:
    seen = random_evidence(0, rows=4000)
    rng = np.random.default_rng(1)
    nothing = seen.scores.assign(**{name: rng.random(4000) for name in seen.scores if name != "pair_id"})
    value = dataclasses.replace(seen, scores=nothing, _values={}).value(measure)[0]
    if measure.chance is None:
        assert measure.name == "cmig"
    else:
        assert value == pytest.approx(measure.chance, abs=0.04)


def test_a_value_is_computed_once() -> None:
    calls = []

    def compute(seen: Evidence) -> np.ndarray:
        calls.append(seen.counted)
        return np.zeros(len(seen.weights))

    measure = Measure("counted", "counted", "fraction", "how often it is computed", (), compute)
    seen = random_evidence(0)
    for evidence_used in (seen, seen, seen.for_finding("fracture")):
        evidence_used.value(measure)
    assert calls == [(0, 1), (1,)]


def test_every_measure_is_declared_in_full() -> None:
    assert set(REFERENCES) == {measure.name for measure in MEASURES}
    assert len({measure.name for measure in MEASURES}) == len({measure.title for measure in MEASURES}) == len(MEASURES)
    for measure in MEASURES:
        assert measure.name.isidentifier()
        assert measure.title
        assert measure.unit
        assert measure.description
    assert set(measures.GUIDING) <= set(MEASURES)
    assert set(IN_PAPER) <= set(measures.MAIN) <= set(MEASURES)
    assert {measure.part_of for measure in MEASURES} - {None} <= {measure.name for measure in measures.MAIN}


def test_a_new_measure_is_in_the_rows_of_the_summary_with_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    def share_of_the_old(seen: Evidence) -> np.ndarray:
        return seen.weights @ (seen.targets.age > 60) / seen.weights.sum(axis=1)

    new = Measure("old", "the old", "fraction", "share of patients above 60", ("age",), share_of_the_old)
    monkeypatch.setattr(measures, "MEASURES", (*MEASURES, new))
    seen = random_evidence(0, replicates=200)
    row = summary.measured(seen, measures.MEASURES)
    assert list(row) == ["n", *(f"{m.name}{end}" for m in measures.MEASURES for end in ("", "_low", "_high"))]
    assert row["old"] == pytest.approx((seen.targets.age > 60).mean())
    assert row["old_low"] < row["old"] < row["old_high"]


def test_a_new_measure_has_its_columns_in_the_tables() -> None:
    code = (
        "from biomedjourney import measures\n"
        "new = measures.Measure('new', 'new', 'years', 'new', (), lambda seen: seen.weights[:, 0], by_finding=True)\n"
        "measures.MEASURES = (*measures.MEASURES, new)\n"
        "measures.MAIN = (*measures.MAIN, new)\n"
        "from biomedjourney import tables\n"
        "for name in ('systems', 'ablations', 'findings', 'subgroups', 'guidance'):\n"
        "    columns = [c for c in tables.table(name).columns if c.name.startswith('new')]\n"
        "    print(name, *(f'{c.name}:{c.unit}' for c in columns))\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    columns = "new:years new_low:years new_high:years"
    differences = "new_difference:years new_difference_low:years new_difference_high:years"
    spread = "new_seeds_least:years new_seeds_greatest:years"
    assert printed.splitlines() == [
        *(f"{name} {columns} {differences} {spread}" for name in ("systems", "ablations")),
        *(f"{name} {columns}" for name in ("findings", "subgroups")),
        "guidance",
    ]


def test_the_tables_hold_every_measure_and_nothing_else() -> None:
    def columns(name: str) -> list[str]:
        return [column.name for column in tables.table(name).columns]

    def with_ends(declared: list[Measure]) -> list[str]:
        return [f"{measure.name}{end}" for measure in declared for end in ("", "_low", "_high")]

    paper = [f"paper_{measure.name}" for measure in IN_PAPER]
    differences = [f"{measure.name}_difference{end}" for measure in MEASURES for end in ("", "_low", "_high")]
    seeds = [f"{measure.name}_seeds_{end}" for measure in measures.MAIN for end in ("least", "greatest")]
    measured = ["n", *with_ends([*MEASURES]), *differences, *seeds, *paper]
    assert columns("systems") == ["system", *measured]
    assert columns("ablations") == ["system", "ablation_of", *measured]
    assert columns("subgroups") == ["system", "group", "n", *with_ends([*MEASURES])]
    assert columns("findings") == ["system", "finding", "n", *with_ends([m for m in MEASURES if m.by_finding])]
    guiding = [measure.name for measure in measures.GUIDING]
    assert columns("guidance") == ["system", "text_scale", "image_scale", "n", *guiding, "chosen"]
    differences = [f"{name}_difference{end}" for name in guiding for end in ("", "_low", "_high")]
    sampler = ["system", "solver", "steps", "evaluations", "n"]
    assert columns("samplers") == [*sampler, *with_ends([*measures.GUIDING]), *differences, "within"]
    for measure in MEASURES:
        for end in ("", "_low", "_high"):
            column = tables.table("systems").column_for(f"{measure.name}{end}")
            assert column is not None
            assert column.unit == measure.unit
            assert column.nullable
        assert tables.table("systems").column_for(measure.name).description == measure.description  # type: ignore[union-attr]


def changes(seed: int, pairs: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the prior and of the current study, (pairs, 2): three findings in four stay as they were."""
    rng = np.random.default_rng(seed)
    prior = rng.integers(0, 2, (pairs, 2)).astype(float)
    return prior, np.where(rng.random((pairs, 2)) < 0.25, 1 - prior, prior)


def test_a_copy_of_the_prior_has_a_high_pathology_auc_and_no_change_auc() -> None:
    prior, current = changes(0)
    copy = evidence(prior + np.random.default_rng(1).normal(0, 0.2, prior.shape), current, prior)
    assert copy.value(PATHOLOGY_AUC)[0] > 0.7
    assert copy.value(CHANGE_AUC)[0] == pytest.approx(0.5, abs=0.03)


def test_the_severity_before_helps_a_copy_but_not_among_like_priors() -> None:
    """Of each prior label as many pairs of each of four severities: the more severe, the more often it is there."""
    rng = np.random.default_rng(0)
    severity = np.tile(np.arange(4.0), 1000)[:, None]
    prior = np.repeat([0.0, 1.0], 2000)[:, None]
    current = (rng.random(prior.shape) < 0.2 + 0.2 * severity).astype(float)
    of_prior = prior + 0.2 * severity + rng.uniform(0, 0.1, prior.shape)
    copy = evidence(of_prior, current, prior, prior_scores=of_prior)
    assert copy.value(CHANGE_AUC)[0] > 0.65
    assert copy.value(CHANGE_AUC_LIKE_PRIORS)[0] == pytest.approx(0.5, abs=0.03)
    perfect = evidence(current, current, prior, prior_scores=of_prior)
    assert perfect.value(CHANGE_AUC_LIKE_PRIORS)[0] == 1.0
    assert np.isnan(evidence(of_prior, current, prior).value(CHANGE_AUC_LIKE_PRIORS)[0]), "no scores of the priors"


def test_quarters_are_those_of_the_sample_in_every_replicate_and_do_not_depend_on_seeds() -> None:
    prior, current = changes(3, pairs=400)
    rng = np.random.default_rng(4)
    scores, of_prior = rng.normal(0, 1, prior.shape), rng.normal(0, 1, prior.shape)
    weights = np.vstack([np.ones(400), rng.integers(0, 3, 400)]).astype(float)
    once = evidence(scores, current, prior, prior_scores=of_prior, weights=weights)
    twice = [np.vstack([values] * 2) for values in (scores, current, prior)]
    names = [str(i) for i in range(400)] * 2
    seeds = evidence(*twice, prior_scores=np.vstack([of_prior] * 2), weights=np.hstack([weights] * 2), pair_ids=names)
    np.testing.assert_allclose(seeds.value(CHANGE_AUC_LIKE_PRIORS), once.value(CHANGE_AUC_LIKE_PRIORS))
    doubled = evidence(scores, current, prior, prior_scores=of_prior, weights=2 * weights)
    np.testing.assert_allclose(doubled.value(CHANGE_AUC_LIKE_PRIORS), once.value(CHANGE_AUC_LIKE_PRIORS))


def test_a_perfect_score_has_a_change_auc_of_one() -> None:
    prior, current = changes(0)
    assert evidence(current, current, prior).value(CHANGE_AUC)[0] == 1.0
    assert evidence(1 - current, current, prior).value(CHANGE_AUC)[0] == 0.0


def strata(*counts: tuple[int, int, int, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, current and prior labels (n, 1) of strata (prior label, positives, negatives, score of a positive).

    The score of a negative is 0.5.
    """
    rows = []
    for prior_label, positives, negatives, score in counts:
        rows += [(score, 1.0, prior_label)] * positives + [(0.5, 0.0, prior_label)] * negatives
    scores, current, prior = np.array(rows, dtype=float).T[:, :, None]
    return scores, current, prior


def test_the_change_auc_is_weighted_by_the_comparable_pairs() -> None:
    seen = evidence(*strata((0, 10, 50, 0.0), (1, 20, 20, 1.0)))
    assert seen.value(CHANGE_AUC)[0] == pytest.approx(20 * 20 / (10 * 50 + 20 * 20))
    double = np.where(seen.targets.prior_findings[:, 0] == 0, 1.0, 3.0)
    weighted = evidence(*strata((0, 10, 50, 0.0), (1, 20, 20, 1.0)), weights=double[None])
    assert weighted.value(CHANGE_AUC)[0] == pytest.approx(9 * 400 / (500 + 9 * 400))


def test_a_stratum_with_fewer_than_ten_pairs_of_a_label_is_left_out() -> None:
    assert LEAST_PAIRS == 10
    for few in ((0, 9, 50, 0.0), (0, 50, 9, 0.0), (0, 0, 50, 0.0)):
        assert evidence(*strata(few, (1, 20, 20, 1.0))).value(CHANGE_AUC)[0] == 1.0
    assert np.isnan(evidence(*strata((0, 9, 50, 0.0), (1, 20, 9, 1.0))).value(CHANGE_AUC)[0])


def test_a_pair_drawn_with_two_seeds_is_one_pair() -> None:
    scores, current, prior = (np.concatenate([rows, rows]) for rows in strata((0, 9, 50, 0.0), (1, 20, 20, 1.0)))
    pair_ids = [str(i) for i in range(len(scores) // 2)] * 2
    assert evidence(scores, current, prior, pair_ids=pair_ids).value(CHANGE_AUC)[0] == 1.0
    assert evidence(scores, current, prior).value(CHANGE_AUC)[0] < 1.0, "with 18 pairs the stratum counts"


def test_a_finding_without_a_stratum_is_left_out_of_the_mean() -> None:
    scores, current, prior = (np.hstack([rows, rows]) for rows in strata((1, 20, 20, 0.0)))
    prior[:, 1] = np.nan
    assert evidence(scores, current, prior).value(CHANGE_AUC)[0] == 0.0


def test_masked_labels_do_not_count_in_the_change_auc() -> None:
    scores, current, prior = strata((0, 30, 30, 0.0), (1, 20, 20, 1.0))
    expected = evidence(scores, current, prior).value(CHANGE_AUC)[0]
    for masked_current, masked_prior in ((np.nan, 0.0), (np.nan, 1.0), (1.0, np.nan), (0.0, np.nan), (np.nan, np.nan)):
        extra = np.full((25, 1), 0.7)
        seen = evidence(
            np.vstack([scores, extra]),
            np.vstack([current, np.full((25, 1), masked_current)]),
            np.vstack([prior, np.full((25, 1), masked_prior)]),
        )
        assert seen.value(CHANGE_AUC)[0] == pytest.approx(expected)


def test_the_change_auc_is_undefined_in_a_replicate_that_lacks_a_label() -> None:
    scores, current, prior = strata((0, 10, 10, 1.0))
    weights = np.ones((3, 20))
    weights[1, :10] = 0
    np.testing.assert_array_equal(evidence(scores, current, prior, weights=weights).value(CHANGE_AUC), [1, np.nan, 1])


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
    assert np.isnan(measures.correlation(np.r_[1.0, np.full(39, np.nan)], y, np.ones((1, 40)))[0])


def test_a_mean_is_over_what_the_sample_defines_in_every_replicate() -> None:
    never, always, once = np.array([np.nan, 0.9, 0.9]), np.array([0.8, 0.6, 0.4]), np.array([0.2, np.nan, 0.3])
    np.testing.assert_allclose(measures.mean_of_known([never, always], 3), always)
    np.testing.assert_allclose(measures.mean_of_known([never, always, once], 3), [0.5, np.nan, 0.35])
    shares = [np.ones(3), np.array([3.0, 1, 1]), np.array([1.0, 0, 1])]  # nothing of the last one in the replicate
    np.testing.assert_allclose(measures.mean_of_known([never, always, once], 3, shares), [0.65, 0.6, 0.35])
    assert np.isnan(measures.mean_of_known([], 3)).all()
    assert np.isnan(measures.mean_of_known([never], 3)).all()


def test_a_replicate_without_a_positive_of_a_rare_finding_does_not_count_as_one_of_the_others_alone() -> None:
    rng = np.random.default_rng(1)
    labels = np.stack([rng.integers(0, 2, 60), np.arange(60) < 2], axis=1).astype(float)
    scores = pd.DataFrame({"subject_id": np.arange(60)})
    scores["pathology_common"], scores["pathology_rare"] = labels[:, 0] + rng.normal(0, 0.1, 60), rng.random(60)
    weights = measures.patient_weights(np.arange(60), 400, 0)
    targets = measures.Targets(labels, labels, labels > 0, np.eye(3)[rng.integers(0, 3, 60)], rng.random(60))
    areas = measures.Evidence(scores, targets, ("common", "rare"), weights, (0, 1)).value(measures.PATHOLOGY_AUC)
    np.testing.assert_array_equal(np.isnan(areas), (weights[:, labels[:, 1] == 1] == 0).all(axis=1))
    assert 20 < np.isnan(areas).sum() < 200


def test_the_bootstrap_draws_whole_patients() -> None:
    subjects = np.array([7, 7, 3, 3, 3, 9])
    weights = measures.patient_weights(subjects, 200, 1)
    assert (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    assert (weights[1:, [0, 2, 5]].sum(axis=1) == 3).all()
    assert (weights == measures.patient_weights(subjects, 200, 1)).all()
    assert (weights != measures.patient_weights(subjects, 200, 2)).any()
    in_another_order = [5, 0, 3, 1, 2, 4]
    np.testing.assert_array_equal(
        measures.patient_weights(subjects[in_another_order], 200, 1), weights[:, in_another_order]
    )


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


def test_the_parts_of_the_change_auc_tell_new_findings_from_resolved_ones() -> None:
    prior, current = changes(2)
    noise = np.random.default_rng(3).normal(0, 0.2, prior.shape)
    never_takes_away = evidence(np.maximum(prior, current) + noise, current, prior)
    assert never_takes_away.value(measures.CHANGE_AUC_ABSENT_BEFORE)[0] > 0.95
    assert never_takes_away.value(measures.CHANGE_AUC_PRESENT_BEFORE)[0] == pytest.approx(0.5, abs=0.05)
    never_adds = evidence(np.minimum(prior, current) + noise, current, prior)
    assert never_adds.value(measures.CHANGE_AUC_ABSENT_BEFORE)[0] == pytest.approx(0.5, abs=0.05)
    assert never_adds.value(measures.CHANGE_AUC_PRESENT_BEFORE)[0] > 0.95


def test_findings_that_reports_do_not_repeat_lift_a_copy_only_where_blanks_count() -> None:
    prior, current = changes(4)
    rng = np.random.default_rng(5)
    copy = prior + rng.normal(0, 0.2, prior.shape)
    hidden = (prior == 1) & (rng.random(prior.shape) < 0.3)  # the earlier report leaves them out
    seen = evidence(copy, current, np.where(hidden, 0, prior))
    seen = dataclasses.replace(seen, targets=dataclasses.replace(seen.targets, mentioned=~hidden), _values={})
    assert seen.value(CHANGE_AUC)[0] > 0.55
    assert seen.value(measures.CHANGE_AUC_MENTIONED)[0] == pytest.approx(0.5, abs=0.03)


def test_a_paired_difference_has_a_narrower_interval_than_two_systems_apart() -> None:
    """Two systems whose scores differ by little: patients who are hard are hard for both."""
    rng = np.random.default_rng(6)
    subjects = np.arange(300)
    current = rng.integers(0, 2, (300, 1)).astype(float)
    weights = measures.patient_weights(subjects, 500, 0)
    hard = rng.normal(0, 1, current.shape)
    better, worse = (
        evidence(current + hard + rng.normal(0, noise, current.shape), current, current, weights=weights)
        for noise in (0.05, 0.5)
    )
    values, reference = better.value(PATHOLOGY_AUC), worse.value(PATHOLOGY_AUC)
    estimate, low, high = measures.difference(values, reference)
    assert estimate == pytest.approx(values[0] - reference[0])
    assert low < estimate < high
    assert low > 0
    assert measures.interval(values)[1] < measures.interval(reference)[2]
    assert measures.difference(values, values) == (0.0, 0.0, 0.0)


def test_dice_of_known_masks() -> None:
    mask = np.zeros((4, 6, 8), bool)
    mask[:, 1:5, 2:6] = True
    other = np.stack([mask[0], ~mask[0], np.roll(mask[0], 2, axis=1), np.zeros_like(mask[0])])
    np.testing.assert_allclose(measures.dice(other, mask), [1.0, 0.0, 0.5, 0.0])
    half = mask & (np.arange(8) < 4)
    np.testing.assert_allclose(measures.dice(half, mask), 2 / 3)
    np.testing.assert_allclose(measures.dice(half, mask), measures.dice(mask, half))
    assert np.isnan(measures.dice(other, np.zeros_like(mask))).all(), "an empty reference has no overlap to measure"
