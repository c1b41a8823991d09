"""The three commands on fabricated tables, whose judges read a picture's content from its brightness."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from sklearn.metrics import roc_auc_score

import biomedjourney.pretrain
from biomedjourney import tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from biomedjourney.evaluate import cmig, guidance, samplers, summary
from biomedjourney.measures import CHANGE_AUC, GUIDING, MAIN, MEASURES
from tests.helpers import evaluation, fabricated


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return fabricated.write(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def scores(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The table `scores` of each system."""
    return evaluation.score_all(inputs, tmp_path_factory.mktemp("scores"))


@pytest.fixture(scope="module")
def written(
    inputs: dict[str, Path], scores: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("measured")
    result = evaluation.measure(inputs, scores, folder, "--truth", str(inputs["truth"]))
    assert result.exit_code == 0, result.output
    return {name: tables.read(folder / f"{name}.parquet", name) for name in evaluation.OUTPUTS}


def compared(inputs: dict[str, Path], split: str) -> pd.DataFrame:
    return tables.read(inputs["triples"], "triples").query("compared and split == @split")


def replaced(inputs: dict[str, Path], name: str, rows: pd.DataFrame, folder: Path) -> dict[str, Path]:
    """The inputs with other rows in the table ``name``."""
    table = name.partition("/")[0]
    path = folder / f"changed-{name.replace('/', '-')}.parquet"
    tables.write(path, table, rows)
    return inputs | {name: path}


def refusal(result: Result) -> str:
    assert isinstance(result.exception, UserError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_systems_come_in_the_order_of_their_declaration_with_the_paper_beside_them(
    inputs: dict[str, Path], scores: list[Path], written: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    systems = written["systems"].set_index("system")
    assert list(systems.index) == list(fabricated.SYSTEMS)
    assert systems.loc["biomedjourney", "paper_race_auc"] == 0.9722
    assert systems.loc["copy-prior", "paper_pathology_auc":].isna().all()
    assert list(written["ablations"]["system"]) == ["biomedjourney", "no-registration"]
    assert written["ablations"].set_index("system").loc["no-registration", "paper_cmig"] == 0.7638
    other_order = evaluation.measure(inputs, scores[::-1], tmp_path, "--truth", str(inputs["truth"]))
    assert other_order.exit_code == 0
    pd.testing.assert_frame_equal(tables.read(tmp_path / "systems.parquet", "systems"), written["systems"])


def test_the_measures_tell_the_systems_apart(written: dict[str, pd.DataFrame], inputs: dict[str, Path]) -> None:
    systems = written["systems"].set_index("system")
    assert systems.loc["biomedjourney", "race_auc_low"] > systems.loc["text-only", "race_auc_high"]
    assert systems.loc["biomedjourney", "age_r_low"] > systems.loc["text-only", "age_r_high"]
    assert systems.loc["biomedjourney", "pathology_auc"] > systems.loc["copy-prior", "pathology_auc"] + 0.2
    assert systems.loc["biomedjourney", "change_auc"] > systems.loc["copy-prior", "change_auc"] + 0.2
    assert abs(systems.loc["untrained", "pathology_auc"] - 0.5) < 0.15
    assert (systems["n"] == len(compared(inputs, "test"))).all()
    assert systems["n"].iloc[0] < (tables.read(inputs["triples"], "triples")["split"] == "test").sum()
    for measure in MEASURES:
        low, estimate, high = (systems[f"{measure.name}{end}"] for end in ("_low", "", "_high"))
        assert ((low <= estimate) & (estimate <= high)).all(), measure.name


def test_a_row_follows_from_the_scores(written: dict[str, pd.DataFrame], inputs: dict[str, Path]) -> None:
    scores = written["scores"].query("system == 'biomedjourney'").set_index("pair_id")
    triples = compared(inputs, "test").set_index("pair_id").loc[scores.index]
    studies = tables.read(inputs["studies"], "studies").set_index("study_id").loc[triples["study_id"]]
    patients = tables.read(inputs["patients"], "patients").set_index("subject_id").loc[triples["subject_id"]]
    truth = tables.read(inputs["truth"], "truth").set_index("study_id").loc[triples["study_id"]]
    pathology = np.mean(
        [roc_auc_score(studies[f].fillna(0).astype(int), scores[f"pathology_{f}"]) for f in fabricated.FINDINGS]
    )
    true_pathology = np.mean(
        [roc_auc_score(truth[f"severity_{f}"] > 0, scores[f"pathology_{f}"]) for f in fabricated.FINDINGS]
    )
    is_known = patients["race"].notna().to_numpy()
    race = np.mean(
        [
            roc_auc_score((patients["race"] == name).to_numpy()[is_known], scores[f"race_{name}"][is_known])
            for name in tables.RACES
        ]
    )
    age = np.corrcoef(scores["age"], studies["age"].astype(float))[0, 1]
    row = written["systems"].iloc[0]
    assert row["pathology_auc"] == pytest.approx(pathology)
    assert row["pathology_auc_true"] == pytest.approx(true_pathology)
    assert row["race_auc"] == pytest.approx(race)
    assert row["age_r"] == pytest.approx(age, abs=1e-6)
    assert row["cmig"] == pytest.approx(cmig(pathology, race, age), abs=1e-6)


def test_the_change_auc_compares_pairs_of_the_same_prior_label(
    written: dict[str, pd.DataFrame], inputs: dict[str, Path]
) -> None:
    scores = written["scores"].query("system == 'biomedjourney'").set_index("pair_id")["pathology_edema"]
    triples = compared(inputs, "test").set_index("pair_id")
    edema = tables.read(inputs["studies"], "studies").set_index("study_id")["edema"].fillna(0)
    prior, current = edema.loc[triples["prior_study_id"]].array, edema.loc[triples["study_id"]].array
    won, compared_pairs = 0.0, 0
    for label in (0, 1):
        with_finding = scores[triples.index[(prior == label) & (current == 1)]].to_numpy()
        without = scores[triples.index[(prior == label) & (current == 0)]].to_numpy()
        assert min(len(with_finding), len(without)) >= 5
        if min(len(with_finding), len(without)) >= 10:
            won += (with_finding[:, None] > without[None]).sum()
            compared_pairs += len(with_finding) * len(without)
    row = written["findings"].query("system == 'biomedjourney' and finding == 'edema'").iloc[0]
    assert row["change_auc"] == pytest.approx(won / compared_pairs)


def test_a_picture_is_compared_with_the_registered_prior_of_its_pair(written: dict[str, pd.DataFrame]) -> None:
    mean = written["scores"].groupby("system")["difference_to_prior"].mean()
    assert mean["copy-prior"] == 0
    assert 0 < mean["biomedjourney"] < mean["text-only"] < mean["untrained"]


def test_findings_and_subgroups_have_every_system(written: dict[str, pd.DataFrame], inputs: dict[str, Path]) -> None:
    findings = written["findings"]
    assert len(findings) == len(fabricated.SYSTEMS) * len(fabricated.FINDINGS)
    means = findings.groupby("system")[["pathology_auc", "pathology_auc_true"]].mean()
    for name in means.columns:
        assert means.loc["biomedjourney", name] == pytest.approx(written["systems"].iloc[0][name])
    assert set(written["subgroups"]["system"]) == set(fabricated.SYSTEMS)
    groups = written["subgroups"].query("system == 'biomedjourney'").set_index("group")
    for attribute in ("race", "sex", "view", "age", "interval_days"):
        parts = groups[[str(group).startswith(attribute) for group in groups.index]]
        assert parts["n"].sum() == len(compared(inputs, "test")), attribute
    assert np.isnan(groups.loc["race=Asian", "race_auc"])


def test_a_subgroup_is_measured_on_its_own_pairs(
    written: dict[str, pd.DataFrame], inputs: dict[str, Path], scores: list[Path], tmp_path: Path
) -> None:
    """The women's row is what a test set of women alone gives."""
    patients = tables.read(inputs["patients"], "patients")
    women = set(patients.loc[patients["sex"] == "F", "subject_id"])
    triples = tables.read(inputs["triples"], "triples")
    triples["compared"] &= triples["subject_id"].isin(women)
    of_women = tables.read(scores[0], "scores").query("subject_id in @women")
    tables.write(tmp_path / "women.parquet", "scores", of_women)
    inputs = replaced(inputs, "triples", triples, tmp_path)
    result = evaluation.measure(inputs, [tmp_path / "women.parquet"], tmp_path, "--truth", str(inputs["truth"]))
    assert result.exit_code == 0, result.output
    expected = tables.read(tmp_path / "systems.parquet", "systems").iloc[0]
    row = written["subgroups"].query("system == 'biomedjourney' and group == 'sex=F'").iloc[0]
    for measure in MEASURES:
        for end in ("", "_low", "_high"):
            assert row[f"{measure.name}{end}"] == pytest.approx(expected[f"{measure.name}{end}"], nan_ok=True)


def test_a_finding_counts_the_pairs_whose_label_is_known(
    scores: list[Path], inputs: dict[str, Path], tmp_path: Path
) -> None:
    result = evaluation.measure(inputs, scores[:1], tmp_path, labels={"blank": "masked"})
    assert result.exit_code == 0, result.output
    edema = tables.read(inputs["studies"], "studies").set_index("study_id")["edema"]
    known = int(edema.loc[compared(inputs, "test")["study_id"]].notna().sum())
    findings = tables.read(tmp_path / "findings.parquet", "findings").set_index("finding")
    assert 0 < known < len(compared(inputs, "test"))
    assert findings.loc["edema", "n"] == known


def test_without_the_truth_the_measure_that_needs_it_is_null(
    scores: list[Path], inputs: dict[str, Path], tmp_path: Path
) -> None:
    assert evaluation.measure(inputs, scores[:1], tmp_path).exit_code == 0
    row = tables.read(tmp_path / "systems.parquet", "systems").iloc[0]
    assert row[["pathology_auc_true", "pathology_auc_true_low", "pathology_auc_true_high"]].isna().all()
    assert row[["pathology_auc", "change_auc"]].notna().all()


def test_the_same_seed_gives_the_same_tables(
    written: dict[str, pd.DataFrame], inputs: dict[str, Path], tmp_path: Path
) -> None:
    scores = evaluation.score_all(inputs, tmp_path / "scores")
    result = evaluation.measure(inputs, scores, tmp_path, "--truth", str(inputs["truth"]))
    assert result.exit_code == 0, result.output
    for name in evaluation.OUTPUTS:
        pd.testing.assert_frame_equal(tables.read(tmp_path / f"{name}.parquet", name), written[name])


def test_scores_do_not_depend_on_the_shards_or_the_batch_size(
    inputs: dict[str, Path], scores: list[Path], tmp_path: Path
) -> None:
    pictures = tables.read(inputs["generated/text-only"], "generated")
    shards = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    for path, rows in zip(shards, (pictures.iloc[:7], pictures.iloc[7:]), strict=True):
        tables.write(path, "generated", rows)
    result = evaluation.score("text-only", inputs, shards, tmp_path / "scores.parquet", evaluate={"batch_size": 3})
    assert result.exit_code == 0, result.output
    sharded = tables.read(tmp_path / "scores.parquet", "scores").set_index("pair_id").sort_index()
    whole = tables.read(scores[fabricated.SYSTEMS.index("text-only")], "scores").set_index("pair_id").sort_index()
    pd.testing.assert_frame_equal(sharded, whole)
    subjects = compared(inputs, "test").set_index("pair_id")["subject_id"]
    assert sharded["subject_id"].to_dict() == subjects.to_dict()


def test_every_seed_has_a_picture_of_every_pair(scores: list[Path], inputs: dict[str, Path], tmp_path: Path) -> None:
    pictures = tables.read(inputs["generated/untrained"], "generated")
    two_seeds = pd.concat([pictures, pictures.assign(seed=1)])
    changed = replaced(inputs, "generated/untrained", two_seeds, tmp_path)
    both = evaluation.score("untrained", inputs, [changed["generated/untrained"]], tmp_path / "untrained.parquet")
    assert both.exit_code == 0, both.output
    assert evaluation.measure(inputs, [tmp_path / "untrained.parquet"], tmp_path).exit_code == 0
    assert tables.read(tmp_path / "systems.parquet", "systems").iloc[0]["n"] == len(compared(inputs, "test"))
    changed = replaced(inputs, "generated/untrained", two_seeds.iloc[:-1], tmp_path)
    lacking = evaluation.score("untrained", inputs, [changed["generated/untrained"]], tmp_path / "lacking.parquet")
    assert "system untrained (seed 1)" in refusal(lacking)
    assert "1 missing, 0 extra" in refusal(lacking)
    assert not (tmp_path / "lacking.parquet").exists()


def test_training_seeds_are_pooled_and_their_spread_is_told(
    written: dict[str, pd.DataFrame], scores: list[Path], inputs: dict[str, Path], tmp_path: Path
) -> None:
    """A system of two training seeds, one of which draws as biomedjourney does and the other as text-only does."""
    scores_of = {path.stem: tables.read(path, "scores") for path in scores}
    first, second = (
        scores_of[system].assign(system="biomedjourney", training_seed=seed)
        for seed, system in enumerate(("biomedjourney", "text-only"))
    )
    copy = scores_of["copy-prior"]
    tables.write(tmp_path / "scores.parquet", "scores", pd.concat([second, copy, first]))
    more = ("--truth", str(inputs["truth"]))
    assert evaluation.measure(inputs, [tmp_path / "scores.parquet"], tmp_path / "out", *more).exit_code == 0
    systems = tables.read(tmp_path / "out" / "systems.parquet", "systems").set_index("system")
    alone = written["systems"].set_index("system")
    ends = [f"{measure.name}_seeds_{end}" for measure in MAIN for end in ("least", "greatest")]
    assert alone[ends].isna().all(axis=None)
    assert systems.loc["copy-prior", ends].isna().all()
    row = systems.loc["biomedjourney"]
    assert row["n"] == alone.loc["biomedjourney", "n"]
    for measure in MAIN:
        values = alone.loc[["biomedjourney", "text-only"], measure.name]
        assert row[f"{measure.name}_seeds_least"] == pytest.approx(values.min())
        assert row[f"{measure.name}_seeds_greatest"] == pytest.approx(values.max())
    assert row["race_auc_seeds_least"] < row["race_auc"] < row["race_auc_seeds_greatest"]


def test_a_second_training_seed_that_draws_the_same_pictures_changes_no_interval(
    written: dict[str, pd.DataFrame], scores: list[Path], inputs: dict[str, Path], tmp_path: Path
) -> None:
    """The bootstrap draws patients: all pictures of one come together."""
    ours, untrained = (
        tables.read(next(path for path in scores if path.stem == system), "scores")
        for system in ("biomedjourney", "untrained")
    )
    twice = pd.concat([ours, untrained, ours.assign(training_seed=1)])
    tables.write(tmp_path / "scores.parquet", "scores", twice)
    more = ("--truth", str(inputs["truth"]))
    assert evaluation.measure(inputs, [tmp_path / "scores.parquet"], tmp_path / "out", *more).exit_code == 0
    doubled = tables.read(tmp_path / "out" / "systems.parquet", "systems").set_index("system")
    expected = written["systems"].set_index("system").loc[doubled.index]
    same = [column for column in expected if "_seeds_" not in column]
    pd.testing.assert_frame_equal(doubled[same], expected[same], check_exact=False, rtol=1e-9)


def test_every_training_seed_has_a_picture_of_every_pair(inputs: dict[str, Path], tmp_path: Path) -> None:
    pictures = tables.read(inputs["generated/untrained"], "generated")
    lacking = pd.concat([pictures, pictures.iloc[1:].assign(training_seed=1)])
    changed = replaced(inputs, "generated/untrained", lacking, tmp_path)
    result = evaluation.score("untrained", inputs, [changed["generated/untrained"]], tmp_path / "lacking.parquet")
    assert "system untrained (seed 0, training seed 1) covers" in refusal(result)


def test_an_ablation_is_compared_with_the_system_that_it_is_one_of(
    written: dict[str, pd.DataFrame], inputs: dict[str, Path], scores: list[Path], tmp_path: Path
) -> None:
    of_another = {"systems": {"no-registration": {"ablation_of": "text-only"}}}
    result = evaluation.measure(inputs, scores, tmp_path, "--truth", str(inputs["truth"]), **of_another)
    assert result.exit_code == 0, result.output
    ablations = tables.read(tmp_path / "ablations.parquet", "ablations").set_index("system")
    assert ablations["ablation_of"].fillna("").to_dict() == {"text-only": "", "no-registration": "text-only"}
    differences = [column for column in ablations if "_difference" in column]
    assert ablations.loc["text-only", differences].isna().all()
    systems = written["systems"].set_index("system")
    pd.testing.assert_frame_equal(tables.read(tmp_path / "systems.parquet", "systems"), written["systems"])
    for measure in MEASURES:
        apart = systems.loc["no-registration", measure.name] - systems.loc["text-only", measure.name]
        row = ablations.loc["no-registration"]
        assert row[f"{measure.name}_difference"] == pytest.approx(apart)
        assert row[f"{measure.name}_difference_low"] <= apart <= row[f"{measure.name}_difference_high"]


def test_pictures_of_other_pairs_than_the_compared_ones_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    pictures = tables.read(inputs["generated/text-only"], "generated")
    validation_pair = compared(inputs, "validation")["pair_id"].iloc[0]
    for rows, expected in (
        (pictures.iloc[3:], "3 missing, 0 extra"),
        (pd.concat([pictures, pictures.iloc[:1].assign(pair_id=validation_pair)]), "0 missing, 1 extra"),
    ):
        changed = replaced(inputs, "generated/text-only", rows, tmp_path)
        result = evaluation.score("text-only", inputs, [changed["generated/text-only"]], tmp_path / "scores.parquet")
        assert "system text-only" in refusal(result)
        assert expected in refusal(result)


def test_a_system_that_lacks_pictures_is_named(inputs: dict[str, Path], tmp_path: Path) -> None:
    pictures = tables.read(inputs["generated/untrained"], "generated")
    one_lacks = pictures.copy()
    one_lacks.loc[2, "png"] = None
    for rows, expected in (
        (one_lacks, f"pair {pictures.loc[2, 'pair_id']} has no picture"),
        (pictures.iloc[:0], "no pictures in it"),
    ):
        changed = replaced(inputs, "generated/untrained", rows, tmp_path)
        result = evaluation.score("untrained", inputs, [changed["generated/untrained"]], tmp_path / "scores.parquet")
        assert expected in refusal(result)


def test_scores_that_cannot_be_compared_are_refused(
    scores: list[Path], inputs: dict[str, Path], tmp_path: Path
) -> None:
    first = tables.read(scores[0], "scores")
    tables.write(tmp_path / "mystery.parquet", "scores", first.assign(system="mystery"))
    tables.write(tmp_path / "lacking.parquet", "scores", first.iloc[2:])
    for given, overlay, expected in (
        ([*scores, tmp_path / "mystery.parquet"], {}, "mystery.parquet: no system 'mystery' in the configuration"),
        ([*scores, scores[0]], {}, "scores of biomedjourney are in another file already"),
        ([tmp_path / "lacking.parquet"], {}, "lacking.parquet: system biomedjourney (seed 0) covers"),
        (scores, {"labels": {"findings": ["fracture"]}}, "does not know 'fracture'"),
    ):
        result = evaluation.measure(inputs, given, tmp_path / "out", **overlay)
        assert expected in refusal(result)
        assert not (tmp_path / "out").exists()


def test_a_cohort_with_no_compared_pair_is_refused(inputs: dict[str, Path], scores: list[Path], tmp_path: Path) -> None:
    triples = tables.read(inputs["triples"], "triples").assign(compared=False)
    changed = replaced(inputs, "triples", triples, tmp_path)
    for result in (
        evaluation.score("untrained", changed, [inputs["generated/untrained"]], tmp_path / "scores.parquet"),
        evaluation.measure(changed, scores, tmp_path),
    ):
        assert "test pairs has an accepted registration and a valid description" in refusal(result)


def test_a_finding_with_one_class_is_left_out_and_said(
    inputs: dict[str, Path], scores: list[Path], tmp_path: Path
) -> None:
    studies = tables.read(inputs["studies"], "studies").assign(edema=0)
    result = evaluation.measure(replaced(inputs, "studies", studies, tmp_path), scores, tmp_path)
    assert result.exit_code == 0
    assert result.output.count("finding edema has one class alone") == 1
    findings = tables.read(tmp_path / "findings.parquet", "findings").query("system == 'biomedjourney'")
    systems = tables.read(tmp_path / "systems.parquet", "systems")
    assert systems.iloc[0]["pathology_auc"] == pytest.approx(findings["pathology_auc"].dropna().mean())
    assert findings["pathology_auc"].isna().sum() == 1


def test_the_view_is_that_of_the_current_image(inputs: dict[str, Path], scores: list[Path], tmp_path: Path) -> None:
    images, triples = tables.read(inputs["images"], "images"), compared(inputs, "test")
    images.loc[images["dicom_id"].isin(triples["dicom_id"].iloc[:7]), "view"] = "AP"
    images.loc[images["dicom_id"].isin(triples["prior_dicom_id"]) & (images["view"] == "PA"), "view"] = "LL"
    expected = images.set_index("dicom_id")["view"].loc[triples["dicom_id"]].value_counts().to_dict()
    assert {"AP", "LL"} <= set(expected) <= {"AP", "LL", "PA"}
    result = evaluation.measure(replaced(inputs, "images", images, tmp_path), scores[:1], tmp_path)
    assert result.exit_code == 0, result.output
    groups = tables.read(tmp_path / "subgroups.parquet", "subgroups").set_index("group")["n"]
    assert {view: groups[f"view={view}"] for view in expected} == expected
    lacking = replaced(inputs, "images", images[images["dicom_id"] != triples["dicom_id"].iloc[0]], tmp_path)
    said = refusal(evaluation.measure(lacking, scores[:1], tmp_path))
    assert f"table images: dicom_id {triples['dicom_id'].iloc[0]} is not there" in said


def test_groups_are_bounded_as_the_configuration_says() -> None:
    rows = pd.DataFrame(
        {
            "race": ["Asian", "Black", None, "White"],
            "sex": ["F", None, "M", "F"],
            "view": ["PA", "AP", None, "PA"],
            "age": pd.array([49, 50, None, 80], "Int16"),
            "interval_days": [1.0, 30.0, 364.9, 365.0],
        }
    )
    masks = summary.groups(rows, {"age_groups": [80, 50], "interval_groups": [30, 365]})
    members = {name: list(np.flatnonzero(mask)) for name, mask in masks.items()}
    assert members == {
        "race=Asian": [0],
        "race=Black": [1],
        "race=White": [3],
        "race=unknown": [2],
        "sex=F": [0, 3],
        "sex=M": [2],
        "sex=unknown": [1],
        "view=AP": [1],
        "view=PA": [0, 3],
        "view=unknown": [2],
        "age<50": [0],
        "age=50-79": [1],
        "age>=80": [3],
        "age=unknown": [2],
        "interval_days<30": [0],
        "interval_days=30-364": [1, 2],
        "interval_days>=365": [3],
    }


SWEPT = pd.DataFrame(
    {
        "text_scale": [3.0, 1.5, 1.5, 4.0],
        "image_scale": [1.0, 2.0, 1.0, 1.0],
        "change_auc": [0.8, 0.7, 0.8, 0.9],
        "pathology_auc": 0.8,
        "race_auc": [0.90, 0.91, 0.90, 0.88],
        "age_r": [0.80, 0.795, 0.80, 0.81],
        "cmig": [0.80, 0.85, 0.80, 0.80],
    },
    index=[4, 5, 6, 7],
)


@pytest.mark.parametrize(
    ("changed", "chosen"),
    [
        ({}, 6),  # 7 changes most and loses 0.03 of the race AUC; of 4 and 6, equal in all, the lower scales
        ({"race_auc": [0.90, 0.91, 0.90, 0.90]}, 7),
        ({"pathology_auc": [0.81, 0.80, 0.80, 0.80]}, 4),
        ({"age_r": [0.90, 0.79, 0.50, 0.82]}, 4),
        ({"race_auc": [0.5, 0.9, 0.6, 0.7], "age_r": [0.9, 0.2, 0.5, 0.8]}, 7),  # none keeps both: 7 loses 0.2
        ({"change_auc": np.nan, "pathology_auc": [0.7, 0.9, 0.8, 0.9]}, 5),
        ({"change_auc": [np.nan, 0.1, np.nan, 0.9]}, 5),
        ({"race_auc": np.nan, "age_r": np.nan}, 7),
    ],
)
def test_guidance_takes_the_largest_change_that_keeps_race_and_age(changed: dict[str, Any], chosen: int) -> None:
    row = guidance.choose(SWEPT.assign(**changed))
    assert row[row].index.tolist() == [chosen]


def choose_guidance(inputs: dict[str, Path], sweeps: list[Path], out: Path, **overlay: Any) -> Result:
    return measure_validation(inputs, "guidance", "sweeps", sweeps, out, **overlay)


def measure_validation(
    inputs: dict[str, Path], kind: str, table: str, files: list[Path], out: Path, **overlay: Any
) -> Result:
    """The command ``kind`` on the table of validation pictures, judged by fabricated judges."""
    words = ["evaluate", kind, "--config", fabricated.config_text(**overlay), "--system", "biomedjourney"]
    words += ["--judges", "judges", f"--{kind}", str(out)]
    for name in ("triples", "studies", "patients"):
        words += [f"--{name}", str(inputs[name])]
    for path in files:
        words += [f"--{table}", str(path)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(biomedjourney.pretrain, "load_judges", lambda folder: fabricated.Judges())
        return CliRunner().invoke(commands, words)


def test_guidance_measures_every_pair_of_scales(inputs: dict[str, Path], tmp_path: Path) -> None:
    triples = compared(inputs, "validation")
    png = tables.find([inputs["pixels"]], "pixels", "dicom_id", triples["dicom_id"])
    blank = fabricated.pixels.encode_png(np.random.default_rng(0).random((32, 32)))
    rows = pd.DataFrame(
        [
            {"text_scale": text_scale, "image_scale": 1.5, "pair_id": pair_id}
            | {"png": png[dicom_id]["png"] if text_scale == 3.0 else blank}
            for text_scale in (1.5, 3.0)
            for pair_id, dicom_id in zip(triples["pair_id"], triples["dicom_id"], strict=True)
        ]
    )
    shards = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    for path, part in zip(shards, (rows.iloc[:9], rows.iloc[9:]), strict=True):
        tables.write(path, "sweeps", part)
    result = choose_guidance(inputs, shards, tmp_path / "guidance.parquet")
    assert result.exit_code == 0, result.output
    chosen = tables.read(tmp_path / "guidance.parquet", "guidance").set_index("text_scale")
    assert list(chosen["chosen"]) == [False, True]
    assert set(chosen["system"]) == {"biomedjourney"}
    assert list(chosen["n"]) == [len(triples)] * 2
    defined = [measure.name for measure in GUIDING if measure is not CHANGE_AUC]  # which needs ten pairs of each label
    assert chosen.loc[3.0, defined].notna().all()

    test_pair = compared(inputs, "test")["pair_id"].iloc[0]
    for changed, expected in (
        (rows.iloc[1:], "table sweeps, text_scale 1.5, image_scale 1.5 covers"),
        (rows.replace(triples["pair_id"].iloc[0], test_pair), "table sweeps covers"),
    ):
        tables.write(tmp_path / "changed.parquet", "sweeps", changed)
        assert expected in refusal(choose_guidance(inputs, [tmp_path / "changed.parquet"], tmp_path / "g.parquet"))
    labels = {"findings": ["fracture"]}
    assert "does not know 'fracture'" in refusal(choose_guidance(inputs, shards, tmp_path / "g.parquet", labels=labels))


def test_samplers_are_compared_with_the_one_of_most_evaluations(inputs: dict[str, Path], tmp_path: Path) -> None:
    """By hand: one draws the same pictures as the reference, and one draws noise."""
    triples = compared(inputs, "validation")
    png = tables.find([inputs["pixels"]], "pixels", "dicom_id", triples["dicom_id"])
    rng = np.random.default_rng(0)
    rows = []
    for solver, steps, evaluations in (("ddim", 2, 4), ("ddim", 50, 150), ("dpm-solver++", 20, 60)):
        for pair_id, dicom_id in zip(triples["pair_id"], triples["dicom_id"], strict=True):
            noise = fabricated.pixels.encode_png(rng.random((32, 32)))
            row = {"solver": solver, "steps": steps, "evaluations": evaluations, "pair_id": pair_id}
            rows.append(row | {"png": noise if steps == 2 else png[dicom_id]["png"]})
    shards = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    for path, part in zip(shards, (rows[:9], rows[9:]), strict=True):
        tables.write(path, "sampled", pd.DataFrame(part))
    overlay: dict[str, Any] = {"evaluate": {"bootstrap": 200}}
    result = measure_validation(inputs, "samplers", "sampled", shards, tmp_path / "out.parquet", **overlay)
    assert result.exit_code == 0, result.output
    found = tables.read(tmp_path / "out.parquet", "samplers")
    assert found["steps"].tolist() == [50, 20, 2]
    assert found["n"].eq(len(triples)).all()
    reference, same, noise = (row for _, row in found.iterrows())
    for name in ("race_auc", "age_r"):
        assert pd.isna(reference[f"{name}_difference"])
        assert (same[f"{name}_difference"], same[f"{name}_difference_low"]) == (0, 0)
        assert noise[f"{name}_difference"] == pytest.approx(noise[name] - reference[name])
        assert noise[f"{name}_difference_low"] <= noise[f"{name}_difference"] <= noise[f"{name}_difference_high"] < 0
    assert pd.isna(reference["within"])
    assert found["within"].tolist()[1:] == [True, False]
    assert "biomedjourney: dpm-solver++, 20 steps, 60 evaluations: within" in result.output


def test_a_sampler_is_within_where_both_ends_of_every_interval_are() -> None:
    row = {f"{measure.name}_difference_{end}": 0.02 for measure in GUIDING for end in ("low", "high")}
    assert samplers.within(row)
    for end in ("race_auc_difference_low", "cmig_difference_high"):
        for value in (-0.0201, 0.0201, None):
            assert not samplers.within(row | {end: value})
