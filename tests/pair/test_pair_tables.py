"""Pairs, singles and the split: examples and properties."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from biomedjourney import tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from biomedjourney.pair.pair import pair, split_by_folder

DEFAULT = {
    "views": ["PA"],
    "same_view": True,
    "priors": "last",
    "largest_gap_days": None,
    "split": "paper",
    "validation_share": 0.1,
    "text": ["impression", "findings"],
}
EPOCH = pd.Timestamp("2150-01-01")
Cohort = tuple[pd.DataFrame, pd.DataFrame]


def make(*rows: tuple[int, int, float, str, str, list[str | None]]) -> Cohort:
    """Studies and images of rows (subject, study, day, findings, impression, views)."""
    studies = pd.DataFrame(
        {
            "study_id": [row[1] for row in rows],
            "subject_id": [row[0] for row in rows],
            "study_time": [EPOCH + pd.Timedelta(days=row[2]) for row in rows],
            "age": pd.array([60] * len(rows), "Int16"),
            "findings": [row[3] for row in rows],
            "impression": [row[4] for row in rows],
            **{label: pd.array([None] * len(rows), "Int8") for label in tables.CHEXPERT_LABELS},
        }
    )
    images = pd.DataFrame(
        [
            {
                "dicom_id": f"{row[1]}-{i}",
                "study_id": row[1],
                "subject_id": row[0],
                "view": view,
                "rows": 100 + i,
                "columns": 100,
                "path": "p",
                "official_split": tables.SPLITS[row[0] % 3] if row[0] % 4 else None,
            }
            for row in rows
            for i, view in enumerate(row[5])
        ],
        columns=[c.name for c in tables.table("images").columns],
    )
    return studies, images


def whole(images: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"dicom_id": images["dicom_id"], "bytes": 1, "problem": ""})


def run(cohort: Cohort, **changed_settings: Any) -> dict[str, pd.DataFrame]:
    results = pair(*cohort, whole(cohort[1]), {"seed": 0, "pair": DEFAULT | changed_settings})
    return {name: tables.conform(name, data).to_pandas() for name, data in results.items()}


A, B = 10000001, 19000001
ONE = make((A, 53, 0, "F", "Impression one.", ["PA"]), (A, 51, 9.5, "Findings ___ two.", "___", ["AP", "PA", "PA"]))


def test_a_pair() -> None:
    results = run(ONE)
    assert results["pairs"].to_dict("records") == [
        {
            "pair_id": "53-51",
            "subject_id": A,
            "prior_study_id": 53,
            "study_id": 51,
            "prior_dicom_id": "53-0",
            "dicom_id": "51-2",
            "interval_days": 9.5,
            "split": "train",
        }
    ]
    assert results["singles"]["text"].tolist() == ["Impression one.", "Findings two."]
    assert results["exclusions"].set_index("id")["reason"].to_dict() == {
        "51-0": "view AP, not PA",
        "51-1": "the study has another image that comes first",
    }


def test_the_first_listed_view_that_a_study_has_then_the_most_pixels_then_the_name() -> None:
    studies, images = ONE
    assert run(ONE, views=["AP", "PA"], same_view=False)["singles"]["dicom_id"].tolist() == ["53-0", "51-0"]
    level = images.assign(rows=100)
    assert run((studies, level))["singles"]["dicom_id"].tolist() == ["53-0", "51-1"]


def test_sections_are_taken_in_the_order_of_the_configuration() -> None:
    assert run(ONE, text=["findings", "impression"])["singles"]["text"].tolist() == ["Impression one.", "Findings two."]
    cohort = make((A, 1, 0, "Findings.", "Impression.", ["PA"]), (A, 2, 1, "Findings.", "", ["PA"]))
    assert run(cohort, text=["findings", "impression"])["singles"]["text"].tolist() == ["Findings.", "Findings."]
    with pytest.raises(UserError, match="pairs: a study and the one before it"):
        run(cohort, text=["impression"])


def test_pairs_are_of_one_view_unless_the_configuration_says_otherwise() -> None:
    rows = [(A, study, study, "", "Some text.", [view]) for study, view in ((1, "PA"), (2, "AP"), (3, "PA"))]
    frontal = {"views": ["PA", "AP"]}
    assert run(make(*rows), **frontal)["pairs"]["pair_id"].tolist() == ["1-3"]
    assert run(make(*rows), **frontal, same_view=False)["pairs"]["pair_id"].tolist() == ["1-2", "2-3"]


def test_all_ordered_pairs() -> None:
    rows = [(A, study, day, "", "Some text.", ["PA"]) for study, day in ((1, 0), (2, 5), (3, 5), (4, 9))]
    results = run(make(*rows), priors="all")
    assert results["pairs"]["pair_id"].tolist() == ["1-2", "1-3", "1-4", "2-4", "3-4"]
    assert results["exclusions"].set_index("id")["reason"].to_dict() == {"2-3": "both studies at the same time"}


def test_a_damaged_file_gives_way_to_another_image_of_the_study() -> None:
    studies, images = ONE
    files = whole(images)
    files.loc[files["dicom_id"] == "51-2", "problem"] = "truncated"
    results = pair(studies, images, files, {"seed": 0, "pair": DEFAULT})
    assert results["singles"]["dicom_id"].tolist() == ["53-0", "51-1"]
    assert results["exclusions"].set_index("id")["reason"]["51-2"] == "file truncated"
    files["problem"] = "missing"
    with pytest.raises(UserError, match="'images: with a whole file' left nothing: the files of the listed views are"):
        pair(studies, images, files, {"seed": 0, "pair": DEFAULT})


def test_studies_at_one_time_make_no_pair() -> None:
    rows = [(A, study, day, "", "Some text.", ["PA"]) for study, day in ((1, 0), (2, 0), (3, 1))]
    results = run(make(*rows))
    assert results["pairs"]["pair_id"].tolist() == ["2-3"]
    assert results["exclusions"].set_index("id")["reason"].to_dict() == {"1-2": "both studies at the same time"}


def test_the_largest_gap() -> None:
    rows = [(A, study, day, "", "Some text.", ["PA"]) for study, day in ((1, 0), (2, 30), (3, 61))]
    results = run(make(*rows), largest_gap_days=30)
    assert results["pairs"]["pair_id"].tolist() == ["1-2"]
    assert results["exclusions"]["reason"].tolist() == ["more than 30 days apart"]
    assert len(results["singles"]) == 3


@pytest.mark.parametrize(
    ("changed_settings", "message"),
    [
        (
            {"views": ["LL"]},
            "'images: of a listed view' left nothing: pair.views asks for LL, the images have PA 3, AP 1",
        ),
        ({"text": ["impression"]}, "'pairs: a study and the one before it' left nothing"),
        ({"largest_gap_days": 9}, "'pairs: at most 9 days apart' left nothing: pair.largest_gap_days is 9"),
        ({"split": "official"}, "'studies: in the split' left nothing"),
    ],
)
def test_an_empty_cohort_says_which_filter_emptied_it(changed_settings: dict[str, Any], message: str) -> None:
    studies, images = ONE
    with pytest.raises(UserError) as error:
        run((studies, images.assign(official_split=None)), **changed_settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_no_text_at_all() -> None:
    with pytest.raises(UserError, match="'studies: with text' left nothing: no text in impression or findings"):
        run(make((A, 1, 0, "___", "", ["PA"])))


def test_a_patient_on_two_sides_of_the_published_split() -> None:
    studies, images = ONE
    with pytest.raises(UserError, match=f"patient {A} in two splits"):
        run((studies, images.assign(official_split=["train", "train", "test", "test"])), split="official")


def test_the_share_of_validation_patients() -> None:
    subjects = pd.Series(range(10_000_000, 10_020_000))
    shares = split_by_folder(subjects, 0.1, 0).value_counts(normalize=True)
    assert shares["validation"] == pytest.approx(0.1, abs=0.01)
    assert not split_by_folder(subjects, 0.1, 0).equals(split_by_folder(subjects, 0.1, 1))
    assert set(split_by_folder(pd.Series([19_000_000, 19_999_999]), 0.1, 0)) == {"test"}


texts = st.sampled_from(["Small effusion.", "Seen ___ again.", "___", ""])
studies_drawn = st.lists(
    st.tuples(
        st.sampled_from([10000001, 15000003, 19000001, 19000000]),
        st.integers(0, 12),
        texts,
        texts,
        st.lists(st.sampled_from(["PA", "AP", "PA", "LATERAL", None]), min_size=1, max_size=4),
    ),
    min_size=12,
    max_size=30,
)


@settings(deadline=None, max_examples=40)
@given(
    drawn_studies=studies_drawn,
    views=st.permutations(["PA", "AP"]).flatmap(lambda v: st.sampled_from([v, v[:1]])),
    sections=st.permutations(["impression", "findings"]).flatmap(lambda s: st.sampled_from([s, s[:1]])),
    same_view=st.booleans(),
    priors=st.sampled_from(["last", "all"]),
    gap=st.sampled_from([None, 1, 5]),
    split=st.sampled_from(["paper", "official"]),
    seed=st.integers(0, 5),
    damaged=st.sets(st.integers(0, 40), max_size=8),
)
def test_any_cohort(
    drawn_studies: list[Any],
    views: list[str],
    sections: list[str],
    same_view: bool,
    priors: str,
    gap: int | None,
    split: str,
    seed: int,
    damaged: set[int],
) -> None:
    rows = [(subject, 900 - i, day, f, p, v) for i, (subject, day, f, p, v) in enumerate(drawn_studies)]
    studies, images = make(*rows)
    files = whole(images)
    files.loc[files.index.isin(damaged), "problem"] = "truncated"
    pair_settings = DEFAULT | {"views": views, "text": sections, "largest_gap_days": gap, "split": split}
    pair_settings |= {"same_view": same_view, "priors": priors, "validation_share": 0.4}
    try:
        paired = pair(studies, images, files, {"seed": seed, "pair": pair_settings})
    except UserError:
        reject()
    results = {name: tables.conform(name, data).to_pandas() for name, data in paired.items()}
    singles, pairs = results["singles"], results["pairs"]
    for data in (singles, pairs):
        assert (data.groupby("subject_id")["split"].nunique() == 1).all()
    if split == "paper":
        assert ((singles["split"] == "test") == (singles["subject_id"] // 1_000_000 == 19)).all()
    assert singles["study_id"].is_unique
    assert not singles["text"].str.contains("__").any()
    assert singles["text"].str.len().gt(0).all()
    assert not set(files.loc[files["problem"] != "", "dicom_id"]) & set(singles["dicom_id"])
    assert {tuple(row) for row in pairs[["prior_study_id", "study_id"]].to_numpy().tolist()} == expected_pairs(
        singles.merge(studies[["study_id", "study_time"]]).merge(images[["dicom_id", "view"]]), same_view, priors, gap
    )
    dicoms = singles.set_index("study_id")["dicom_id"]
    for row in pairs.itertuples():
        assert (row.prior_dicom_id, row.dicom_id) == (dicoms[row.prior_study_id], dicoms[row.study_id])
        assert row.pair_id == f"{row.prior_study_id}-{row.study_id}"
    assert_everything_is_accounted_for(results, studies, images, priors)


def expected_pairs(singles: pd.DataFrame, same_view: bool, priors: str, gap: int | None) -> set[tuple[int, int]]:
    """The pairs by the rule of the documentation, study by study."""
    pairs = set()
    rows = list(singles.itertuples())
    for row in rows:
        before = [
            other
            for other in rows
            if other.subject_id == row.subject_id
            and (other.view == row.view or not same_view)
            and (other.study_time, other.study_id) < (row.study_time, row.study_id)
        ]
        before.sort(key=lambda other: (other.study_time, other.study_id))
        for prior in before[-1:] if priors == "last" else before:
            days = (row.study_time - prior.study_time) / pd.Timedelta(days=1)
            if days > 0 and (gap is None or days <= gap):
                pairs.add((prior.study_id, row.study_id))
    return pairs


def assert_everything_is_accounted_for(
    results: dict[str, pd.DataFrame], studies: pd.DataFrame, images: pd.DataFrame, priors: str
) -> None:
    left_out = results["exclusions"].groupby("kind")["id"].agg(set).to_dict()
    singles = results["singles"]
    assert left_out.get("study", set()) | set(singles["study_id"].astype(str)) == set(studies["study_id"].astype(str))
    assert left_out.get("image", set()) | set(singles["dicom_id"]) == set(images["dicom_id"])
    cohort = results["cohort"]
    for unit, total in (("images", len(images)), ("studies", len(studies))):
        rows = cohort[cohort["step"].str.startswith(f"{unit}:")]
        before = total
        for _, step in rows.groupby("step", sort=False):
            assert step["kept"].nunique() == 1
            before -= step["dropped"].sum()
            assert step["kept"].iloc[0] == before
        assert before == len(singles)
        assert rows["dropped"].sum() == len(left_out.get("image" if unit == "images" else "study", set()))
    rows = cohort[cohort["step"].str.startswith("pairs:")]
    start = len(singles) if priors == "last" else rows["kept"].iloc[0]
    assert start - rows["dropped"].sum() == len(results["pairs"])
    assert (results["exclusions"]["kind"] == "pair").sum() == rows["dropped"].iloc[1 if priors == "last" else 0 :].sum()
    by_split = cohort[cohort["step"].str.startswith("pairs in ")]
    assert by_split["kept"].sum() == len(results["pairs"])
    assert by_split["paper"].isna().all()
    assert cohort.set_index("step")["paper"]["singles: one image and text per study"] == 157_148


def test_the_command_joins_the_accounts(tmp_path: Path) -> None:
    studies, images = ONE
    tables.write(tmp_path / "studies.parquet", "studies", studies)
    tables.write(tmp_path / "images.parquet", "images", images)
    tables.write(tmp_path / "files.parquet", "image_files", whole(images))
    results = run(ONE)
    earlier_cohort = results["cohort"].iloc[:1].assign(step="images: in the metadata", dropped=0, reason="", paper=None)
    tables.write(tmp_path / "c.parquet", "cohort", earlier_cohort.astype({"paper": "Int64"}))
    exclusion = {"kind": "study", "id": "7", "step": "studies: with a report", "reason": "no report"}
    earlier_exclusions = pd.DataFrame([exclusion])
    tables.write(tmp_path / "e.parquet", "exclusions", earlier_exclusions)
    config = str({"seed": 0, "pair": DEFAULT}).replace("None", "null")
    flags = ["--studies", "studies.parquet", "--images", "images.parquet"]
    flags += ["--image-files", "files.parquet"]
    flags += ["--ingest-cohort", "c.parquet", "--ingest-exclusions", "e.parquet", "--pairs", "out/pairs.parquet"]
    flags += ["--singles", "out/singles.parquet", "--cohort", "out/cohort.parquet"]
    flags += ["--exclusions", "out/exclusions.parquet"]
    places = [word if word.startswith("--") else str(tmp_path / word) for word in flags]
    result = CliRunner().invoke(commands, ["pair", "tables", "--config", config, *places], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "singles: one image and text per study: 2 (paper: 157148)" in result.output
    out = tmp_path / "out"
    pd.testing.assert_frame_equal(tables.read(out / "pairs.parquet", "pairs"), results["pairs"])
    assert len(tables.read(out / "cohort.parquet", "cohort")) == len(results["cohort"]) + 1
    assert set(tables.read(out / "exclusions.parquet", "exclusions")["id"]) == {"7", *results["exclusions"]["id"]}
