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


def with_reports(prior: str, current: str, labels_of_edema: tuple[int | None, int | None]) -> dict[str, np.ndarray]:
    """What `labels.changes` makes of one pair with these reports and labels of edema; pneumothorax is always absent."""
    triples, known, patients = two_studies()
    known["impression"] = [current, prior]  # study 2 stands first
    known["edema"], known["pneumothorax"] = pd.array(labels_of_edema[::-1], "Int8"), pd.array([0, 0], "Int8")
    rows = labels.attributes(triples, known, patients)
    truth = pd.DataFrame({"study_id": [1, 2], "severity_edema_left": [0.4, 0.0], "severity_edema_right": [0.2, 0.9]})
    settings = {"findings": FINDINGS, "blank": "negative", "uncertain": "masked"}
    return labels.changes(rows, truth, settings)


@pytest.mark.parametrize(
    ("prior", "current", "edema", "changed", "move"),
    [
        ("Pulmonary edema.", "Pulmonary edema has worsened.", (1, 1), 1, 1),
        ("Pulmonary edema.", "Improved pulmonary edema.", (1, 1), 1, -1),
        ("Pulmonary edema.", "Unchanged pulmonary edema.", (1, 1), 0, np.nan),
        ("No pulmonary edema.", "New pulmonary edema.", (0, 1), 1, np.nan),
        ("The lungs are clear.", "The lungs are clear.", (0, 0), 0, np.nan),
        ("The lungs are clear.", "The lungs are clear.", (0, 1), 1, np.nan),  # the labels alone differ
        ("The lungs are clear.", "The lungs are clear.", (0, -1), np.nan, np.nan),
        ("The lungs are clear.", "A new left picc line.", (0, 0), 1, np.nan),
    ],
)
def test_a_pair_has_changed_where_reports_or_labels_tell_it(
    prior: str, current: str, edema: tuple[int, int], changed: float, move: float
) -> None:
    found = with_reports(prior, current, edema)
    np.testing.assert_array_equal(found["changed"], [changed])
    np.testing.assert_array_equal(found["moves"], [[move, np.nan]])


def test_the_true_severity_is_that_of_the_worst_side() -> None:
    found = with_reports("Edema.", "Edema.", (1, 1))
    np.testing.assert_array_equal(found["true_severity_before"], [[0.4, np.nan]])
    np.testing.assert_array_equal(found["true_severity"], [[0.9, np.nan]])
