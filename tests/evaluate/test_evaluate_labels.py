import numpy as np
import pandas as pd
import pytest

from biomedjourney.errors import UserError
from biomedjourney.evaluate import labels
from biomedjourney.pretrain.targets import binary_labels

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


def test_a_pair_without_study_or_patient_is_named() -> None:
    pairs = pd.DataFrame({"pair_id": ["1-2"], "subject_id": [5], "study_id": [2]})
    known = studies([0], [0], [None]).assign(study_id=[2], subject_id=[5])
    with pytest.raises(UserError, match="table studies: study_id 2 of pair 1-2"):
        labels.attributes(pairs, known.assign(study_id=3), pd.DataFrame({"subject_id": [5]}))
    with pytest.raises(UserError, match="table patients: subject_id 5 of pair 1-2"):
        labels.attributes(pairs, known, pd.DataFrame({"subject_id": [6]}))
