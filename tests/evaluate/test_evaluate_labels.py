import numpy as np
import pandas as pd
import pytest

from biomedjourney.errors import UserError
from biomedjourney.evaluate import labels
from biomedjourney.pretrain.targets import binary_labels
from biomedjourney.tables import CHEXPERT_LABELS

FINDINGS = ["edema", "pneumothorax"]


def studies(edema: list, pneumothorax: list, no_finding: list) -> pd.DataFrame:
    columns = {"edema": edema, "pneumothorax": pneumothorax, "no_finding": no_finding}
    return pd.DataFrame({name: pd.array(values, dtype="Int8") for name, values in columns.items()})


@pytest.mark.parametrize(
    ("blank", "uncertain", "expected"),
    [
        ("negative", "masked", [1, np.nan, 0, 0]),
        ("masked", "masked", [1, np.nan, np.nan, 0]),
        ("negative", "negative", [1, 0, 0, 0]),
        ("masked", "positive", [1, 1, np.nan, 0]),
    ],
)
def test_labels_follow_the_configuration(blank: str, uncertain: str, expected: list[float]) -> None:
    table = studies([1, -1, None, 0], [None] * 4, [None] * 4)
    found = binary_labels(table, {"findings": FINDINGS, "blank": blank, "uncertain": uncertain})
    np.testing.assert_array_equal(found[:, 0], expected)


def test_no_finding_makes_a_blank_a_negative_but_leaves_what_is_said() -> None:
    table = studies([None, 1], [None, None], [1, 1])
    found = binary_labels(table, {"findings": FINDINGS, "blank": "masked", "uncertain": "masked"})
    np.testing.assert_array_equal(found, [[0, 0], [1, 0]])


def test_truth_is_present_on_any_side_and_unknown_where_the_truth_has_no_column() -> None:
    truth = pd.DataFrame({"severity_edema_left": [0.0, 0.0, 0.2], "severity_edema_right": [0.5, 0.0, 0.0]})
    found = labels.true_labels(truth, FINDINGS)
    np.testing.assert_array_equal(found, [[1, np.nan], [0, np.nan], [1, np.nan]])


def test_race_is_left_out_where_it_is_null() -> None:
    found = labels.one_hot_race(pd.Series(["Black", None, "Asian"], dtype="str"))
    np.testing.assert_array_equal(found, [[0, 1, 0], [np.nan] * 3, [1, 0, 0]])


def two_studies() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """A triple from study 1 (edema) to study 2 (pneumothorax, edema uncertain), its studies and its patient."""
    triples = pd.DataFrame({"pair_id": ["1-2"], "subject_id": [5], "prior_study_id": [1], "study_id": [2]})
    known = pd.DataFrame({"study_id": [2, 1], "subject_id": [5, 5], "age": pd.array([61, 60], "Int16")})
    for name in CHEXPERT_LABELS:
        known[name] = pd.array([None, None], dtype="Int8")
    known["findings"], known["impression"] = "", ""
    known["edema"], known["pneumothorax"] = pd.array([-1, 1], "Int8"), pd.array([1, None], "Int8")
    return triples, known, pd.DataFrame({"subject_id": [5], "sex": ["F"], "race": ["White"]})


def test_targets_are_those_of_the_current_study_and_the_labels_of_the_prior_one() -> None:
    triples, known, patients = two_studies()
    rows = labels.attributes(triples, known, patients)
    assert list(rows.index) == ["1-2"]
    truth = pd.DataFrame({"study_id": [1, 2], "severity_edema": [0.4, 0.0], "severity_pneumothorax": [0.0, 0.3]})
    settings = {"findings": FINDINGS, "blank": "negative", "uncertain": "masked"}
    targets = labels.targets(rows, settings, truth)
    np.testing.assert_array_equal(targets.findings, [[np.nan, 1]])
    np.testing.assert_array_equal(targets.prior_findings, [[1, 0]])
    np.testing.assert_array_equal(targets.race, [[0, 0, 1]])
    np.testing.assert_array_equal(targets.age, [61])
    np.testing.assert_array_equal(targets.true_findings, [[0, 1]])
    assert labels.targets(rows, settings).true_findings is None
    with pytest.raises(UserError, match="table truth: study 2 is not there"):
        labels.targets(rows, settings, truth[truth["study_id"] == 1])


def test_a_pair_without_a_study_or_patient_is_named() -> None:
    triples, known, patients = two_studies()
    for studies_given, patients_given, expected in (
        (known[known["study_id"] != 2], patients, "table studies: study_id 2 of pair 1-2"),
        (known[known["study_id"] != 1], patients, "table studies: prior_study_id 1 of pair 1-2"),
        (known, patients.assign(subject_id=6), "table patients: subject_id 5 of pair 1-2"),
    ):
        with pytest.raises(UserError, match=expected):
            labels.attributes(triples, studies_given, patients_given)
