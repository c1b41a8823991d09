"""What is counted before the tables are there."""

import csv
import gzip
from collections import defaultdict
from pathlib import Path

import pytest

from bench import full_size
from biomedjourney.errors import UserError
from biomedjourney.plan import counts
from tests.helpers.plans import settings_of
from tests.helpers.workflow_runs import PAPER, SMOKE


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_phantom_is_counted_before_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: one film at least per visit; a pair for each visit with an earlier one of the same view."""
    all_drawn = counts.count(settings_of(SMOKE, {"phantom": {"patients": 400}}))
    assert all_drawn.patients == 400
    assert all_drawn.images > all_drawn.studies > all_drawn.singles > all_drawn.all_pairs > 400
    assert all_drawn.pairs["train"] > all_drawn.pairs["test"] > all_drawn.pairs["validation"] / 2 > 0
    monkeypatch.setattr(counts, "MOST_DRAWN", 200)
    half_drawn = counts.count(settings_of(SMOKE, {"phantom": {"patients": 400}}))
    assert "400 patients, by its seed, of which 200 were drawn" in half_drawn.source
    assert half_drawn.patients == 400
    assert half_drawn.all_pairs == pytest.approx(all_drawn.all_pairs, rel=0.15)


@pytest.mark.parametrize("split", ["paper", "official"])
def test_raw_metadata_are_counted_where_they_are(empty_folder: Path, split: str) -> None:
    full_size.write(empty_folder, share=0.01)
    data = {"images": str(empty_folder / "mimic-cxr-jpg")}
    found = counts.count(settings_of(PAPER, {"data": data, "pair": {"split": split}}))
    with gzip.open(empty_folder / "mimic-cxr-jpg/mimic-cxr-2.0.0-metadata.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    with_pa = {row["study_id"] for row in rows if row["ViewPosition"] == "PA"}
    times: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in rows:
        if row["study_id"] in with_pa:
            times[row["subject_id"]].add((row["StudyDate"], row["StudyTime"].partition(".")[0]))
    assert (found.images, found.studies) == (len(rows), len({row["study_id"] for row in rows}))
    assert found.singles == len(with_pa)
    assert found.all_pairs == pytest.approx(sum(len(each) - 1 for each in times.values()), abs=3), "times of one study"
    assert found.pairs["test"] == pytest.approx(found.all_pairs * {"paper": 0.1, "official": 0.014}[split], rel=0.8)
    assert "reports not read" in found.source


def test_without_anything_at_hand_the_size_of_mimic_is_taken(empty_folder: Path) -> None:
    assert counts.count(settings_of(PAPER)) == counts.MIMIC
    folder = empty_folder / "resources/mimic-cxr-jpg/2.1.0"
    folder.mkdir(parents=True)
    (folder / "mimic-cxr-2.0.0-metadata.csv").write_text("dicom_id,subject_id\n1,2\n")
    with pytest.raises(UserError, match=r"mimic-cxr-2\.0\.0-metadata\.csv"):
        counts.count(settings_of(PAPER))
