"""Real pictures through the classifier: the table, the thresholds, and what the measures get of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.spatial.distance import cdist

import biomedjourney.pretrain
from biomedjourney import tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from biomedjourney.evaluate import real
from tests.helpers import fabricated


def test_the_table_holds_training_validation_and_current_test_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(biomedjourney.pretrain, "load_judges", lambda folder: fabricated.Judges())
    inputs = fabricated.write(tmp_path, systems=())
    words = ["evaluate", "real", "--config", fabricated.config_text(), "--judges", "judges"]
    for name in ("singles", "triples", "pixels"):
        words += [f"--{name}", str(inputs[name])]
    result = CliRunner().invoke(commands, [*words, "--real", str(tmp_path / "out.parquet")])
    assert result.exit_code == 0, result.output
    found = tables.read(tmp_path / "out.parquet", "real").set_index("dicom_id")
    singles = tables.read(inputs["singles"], "singles").query("split != 'test'")
    compared = tables.read(inputs["triples"], "triples").query("compared and split == 'test'")
    assert set(found.index) == {*singles["dicom_id"], *compared["dicom_id"]}
    assert found["split"].to_dict() == {
        **singles.set_index("dicom_id")["split"],
        **compared.set_index("dicom_id")["split"],
    }
    training, others = (real.stacked(rows["features"]) for _, rows in found.groupby(found["split"] != "train"))
    rest = found[found["split"] != "train"]
    np.testing.assert_allclose(rest["distance_to_training"], cdist(others, training).min(axis=1), rtol=1e-3)
    assert found.loc[found["split"] == "train", "distance_to_training"].isna().all()


def test_the_threshold_separates_best_and_is_undefined_with_one_class() -> None:
    scores = np.array([0.1, 0.2, 0.4, 0.6, 0.7, 0.9])
    labels = np.array([0, 0, 1, 0, 1, 1.0])
    found = real.thresholds(np.stack([scores, scores, scores], axis=1), np.stack([labels, labels > 2, labels], axis=1))
    assert np.isnan(found[1])
    called = scores > found[0]
    reached = max(((scores >= t)[labels == 1].mean() - (scores >= t)[labels == 0].mean()) for t in scores)
    assert called[labels == 1].mean() - called[labels == 0].mean() == pytest.approx(reached)
    masked = np.where(scores == 0.6, np.nan, labels)
    assert 0.2 < real.thresholds(scores[:, None], masked[:, None])[0] < 0.4


def test_what_the_measures_get_is_that_of_each_pair_and_of_validation_studies() -> None:
    table = pd.DataFrame(
        {
            "dicom_id": ["a", "b", "c", "d"],
            "study_id": [1, 2, 3, 4],
            "split": ["validation", "validation", "test", "train"],
            "pathology_edema": [0.2, 0.6, 0.9, 0.0],
            "distance_to_training": [1.0, 2.0, 3.0, np.nan],
            "features": [np.full(2, i, np.float16) for i in range(4)],
        }
    )
    labels = pd.DataFrame({"edema": [0.0, 1.0, 0.0]}, index=[1, 2, 3])
    found = real.of_pairs(table, ["c", "b", "c"], ["edema"], labels)
    np.testing.assert_allclose(found["thresholds"], [[0.4]] * 3)
    np.testing.assert_allclose(found["real_scores"], [[0.9], [0.6], [0.9]])
    np.testing.assert_allclose(found["real_features"], [[2, 2], [1, 1], [2, 2]])
    np.testing.assert_allclose(found["real_distance"], [3, 2, 3])
    with pytest.raises(UserError, match="table real: dicom_id x is not there"):
        real.of_pairs(table, ["x"], ["edema"], labels)
