import re
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biomedjourney import measures, pixels, tables
from biomedjourney.measures import IN_PAPER, MAIN, MEASURES
from biomedjourney.report import charts, claims, examples, registration, subgroups
from biomedjourney.report.text import main_table, percent
from biomedjourney.systems import BY_NAME
from tests.helpers import fabricated


def systems(**rows: tuple[float, ...]) -> pd.DataFrame:
    """Rows of the measures in their order, those that are left out undefined.

    Their intervals reach 0.05 to either side, those of the differences to the first row 0.02.
    """
    result = []
    for name, values in rows.items():
        row: dict = {"system": name.replace("_", "-")}
        for measure, value in zip_longest(MEASURES, values, fillvalue=np.nan):
            row |= {measure.name: value, f"{measure.name}_low": value - 0.05, f"{measure.name}_high": value + 0.05}
            difference, name = value - result[0][measure.name] if result else np.nan, f"{measure.name}_difference"
            row |= {name: difference, f"{name}_low": difference - 0.02, f"{name}_high": difference + 0.02}
        row |= {f"{measure.name}_seeds_{end}": np.nan for measure in MAIN for end in ("least", "greatest")}
        result.append(row)
    return pd.DataFrame(result)


def findings(**change_auc: tuple[float, float]) -> pd.DataFrame:
    """The change AUC of biomedjourney and of copy-prior for each finding."""
    rows = [
        {"system": system, "finding": finding, "change_auc": value}
        for finding, values in change_auc.items()
        for system, value in zip(("biomedjourney", "copy-prior"), values, strict=True)
    ]
    return pd.DataFrame(rows, columns=["system", "finding", "change_auc"])


def ablations(**whole_of: str) -> pd.DataFrame:
    """What each system is an ablation of."""
    rows = [(name.replace("_", "-"), whole) for name, whole in whole_of.items()]
    return pd.DataFrame(rows, columns=["system", "ablation_of"])


def verdicts(table: pd.DataFrame, by_finding: pd.DataFrame | None = None) -> dict[str, bool | None]:
    made = claims.claims(table, findings() if by_finding is None else by_finding, ablations())
    assert len({claim.text for claim in made}) == len(made)
    return {claim.text: claim.holds for claim in made}


def test_claims_hold_or_not_as_the_table_says() -> None:
    found = verdicts(
        systems(  # pathology AUC, race AUC, age r, CMIG, change AUC
            biomedjourney=(0.90, 0.88, 0.80, 0.87, 0.75),
            text_only=(0.91, 0.50, 0.72, 0.30, 0.70),
            copy_prior=(0.78, 1.00, 0.95, 0.86, 0.72),
            real_follow_up=(0.99, 1.00, 0.95, 0.96, 0.90),
            untrained=(0.52, 0.70, 0.00, 0.10, 0.50),
        ),
        findings(edema=(0.70, 0.50), fracture=(0.80, 0.50)),
    )
    assert found["biomedjourney is above text-only on race AUC, with intervals apart"] is True
    assert found["biomedjourney is above text-only on age r, with intervals apart"] is False
    assert found["biomedjourney is not below text-only on pathology AUC, by the paired difference"] is True
    assert found["biomedjourney is at least 10 points above copy-prior on pathology AUC"] is True
    assert found["biomedjourney is above copy-prior on CMIG, by the paired difference"] is False
    assert found["biomedjourney is above copy-prior on change AUC, by the paired difference"] is True
    assert found["biomedjourney is above copy-prior on the change AUC of every finding"] is True
    assert found["biomedjourney reaches 90 % of the CMIG of real-follow-up"] is True
    assert found["real-follow-up is the upper bound: nothing has a higher CMIG"] is True
    chance = {text: holds for text, holds in found.items() if "near chance" in text}
    assert list(chance.values()) == [True, False, True]


def test_a_claim_about_every_finding_fails_with_one_and_is_undefined_with_none() -> None:
    table = systems(biomedjourney=(0.9, 0.9, 0.8, 0.8, 0.7), copy_prior=(0.8, 0.9, 0.8, 0.8, 0.5))
    text = "biomedjourney is above copy-prior on the change AUC of every finding"
    assert verdicts(table, findings(edema=(0.7, 0.5), fracture=(0.5, 0.5)))[text] is False
    assert verdicts(table, findings(edema=(0.7, 0.5), fracture=(np.nan, 0.5)))[text] is True
    assert verdicts(table, findings(edema=(np.nan, 0.5)))[text] is None
    [claim] = [c for c in claims.claims(table, findings(lung_lesion=(0.7, 0.5)), ablations()) if c.text == text]
    assert claim.evidence == "lung lesion 70.0 and 50.0"


def test_a_paired_difference_is_told_from_the_side_of_biomedjourney() -> None:
    table = systems(biomedjourney=(0.90, 0.9, 0.8, 0.87, 0.75), text_only=(0.93, 0.5, 0.1, 0.30, 0.70))
    [claim] = [claim for claim in claims.claims(table, findings(), ablations()) if "not below text-only" in claim.text]
    assert claim.holds is False
    assert claim.evidence == "-3.0 [-5.0, -1.0]"


def test_an_ablation_is_held_against_its_own_whole() -> None:
    table = systems(
        biomedjourney=(0.9, 0.95, 0.9, 0.8), shorter=(0.8, 0.6, 0.8, 0.7), no_registration=(0.8, 0.5, 0.5, 0.6)
    )

    def claimed(**whole_of: str) -> list[str]:
        made = claims.claims(table, findings(), ablations(**whole_of))
        return [f"{claim.text}: {claim.holds}" for claim in made if "no-registration" in claim.text]

    text = "{} is above no-registration on {}, with intervals apart: {}"
    main = [text.format("biomedjourney", measure, True) for measure in ("race AUC", "age r")]
    assert claimed() == claimed(no_registration="biomedjourney") == main
    assert claimed(no_registration="shorter") == [
        text.format("shorter", measure, holds) for measure, holds in (("race AUC", False), ("age r", True))
    ]


def test_the_main_table_shows_training_seeds_where_there_are_several() -> None:
    figures = {f"paper_{measure.name}": np.nan for measure in IN_PAPER}
    table = systems(biomedjourney=(0.9, 0.8, 0.7, 0.8), copy_prior=(0.8, 0.9, 0.8, 0.8)).assign(n=5, **figures)
    assert "training seed" not in main_table(table)
    table.loc[0, ["race_auc_seeds_least", "race_auc_seeds_greatest"]] = 0.71, 0.86
    lines = main_table(table).splitlines()
    assert lines[1] == "In round brackets: the least and the greatest value of one training seed."
    [ours] = [line for line in lines if line.startswith("biomedjourney")]
    assert re.findall(r"\S+ \[[^]]*\] \(.*?\)", ours) == ["80.00 [75.0, 85.0] (71.0 to 86.0)"]
    assert not any("(" in line for line in lines if line.startswith("copy-prior"))


def test_claims_are_made_of_what_is_there() -> None:
    assert claims.claims(systems(untrained=(0.5, 0.5, 0.0, 0.0)), findings(), ablations()) == []
    assert verdicts(systems(biomedjourney=(0.9, 0.9, 0.8, 0.8))) == {}
    undefined = verdicts(systems(biomedjourney=(0.9, np.nan, 0.8, np.nan), text_only=(0.8, 0.5, 0.1, 0.3)))
    assert undefined["biomedjourney is above text-only on race AUC, with intervals apart"] is None


@pytest.fixture
def cohort() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Triples and studies with random labels of two findings."""
    rng = np.random.default_rng(0)
    studies = pd.DataFrame({"study_id": range(60), "edema": rng.integers(0, 2, 60), "fracture": rng.integers(0, 2, 60)})
    triples = pd.DataFrame({"prior_study_id": range(0, 60, 2), "study_id": range(1, 60, 2)})
    triples["prior_dicom_id"] = triples["prior_study_id"].astype(str)
    triples["dicom_id"] = triples["study_id"].astype(str)
    triples["pair_id"] = triples["prior_dicom_id"] + "-" + triples["dicom_id"]
    return triples.assign(description="text of " + triples["pair_id"]), studies


def test_examples_are_spread_over_the_changes(cohort: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    triples, studies = cohort
    picked = examples.pick(triples, studies, ["edema", "fracture"], 4)
    assert [e.change for e in picked] == ["new edema", "new fracture", "resolved edema", "resolved fracture"]
    labels = studies.set_index("study_id")
    for example in picked:
        kind, finding = example.change.split()
        before, after = (labels.loc[int(dicom), finding] for dicom in (example.prior_dicom_id, example.dicom_id))
        assert (before, after) == ((0, 1) if kind == "new" else (1, 0))
        assert example.description == f"text of {example.pair_id}"


def test_examples_do_not_depend_on_the_order_and_are_never_repeated(cohort: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    triples, studies = cohort
    picked = examples.pick(triples, studies, ["edema"], 12)
    assert picked == examples.pick(triples.sample(frac=1, random_state=1), studies, ["edema"], 12)
    assert len({e.pair_id for e in picked}) == 12
    assert len(examples.pick(triples, studies, ["edema"], 99)) == len(triples)
    assert examples.pick(triples.iloc[:0], studies, ["edema"], 12) == []


def test_a_checkerboard_takes_both_pictures_in_turn() -> None:
    board = charts.checkerboard(np.zeros((12, 12)), np.ones((12, 12)), tiles=2)
    np.testing.assert_array_equal(board[[0, 0, 6, 6], [0, 6, 0, 6]], [0, 1, 1, 0])


def test_the_grid_copes_with_pictures_that_do_not_differ() -> None:
    same = np.full((16, 16), 0.5)
    for covered in (same > 0, same > 1):
        assert charts.png(charts.grid([charts.Row(same, covered, "no change", same, same)])).startswith(b"\x89PNG")


@pytest.mark.parametrize(("value", "shown"), [(0.80544, "80.54"), (None, "–"), (float("nan"), "–"), (1.0, "100.00")])
def test_percent(value: float | None, shown: str) -> None:
    assert percent(value) == shown


def test_the_main_table_has_a_column_for_each_measure_that_is_defined() -> None:
    table = systems(biomedjourney=(0.9, 0.9, 0.8, 0.8), copy_prior=(0.8, 0.9, 0.8, 0.8)).assign(n=7)
    for measure in IN_PAPER:
        table[f"paper_{measure.name}"] = [BY_NAME[name].paper.get(measure.name) for name in table["system"]]
    heading, _, ours, paper, copy = main_table(table).splitlines()[2:]
    assert [title for title in (m.title for m in MEASURES) if title in heading] == [m.title for m in IN_PAPER]
    assert ours.split()[:4] == ["biomedjourney", "7", "90.00", "[85.0,"]
    assert "83.23 (recomputed 84.11)" in paper
    assert copy.startswith("copy-prior")
    with_change = main_table(table.assign(change_auc=[0.75, np.nan]))
    assert "change AUC" in with_change
    assert "75.00" in with_change.splitlines()[4]
    titles = [axis.get_title("left") for axis in charts.intervals(table.assign(change_auc=0.75)).axes]
    assert titles == [m.title for m in (*IN_PAPER, measures.CHANGE_AUC)]


def registered_tables(folder: Path, scores: list[float | None]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Registrations and triples of pairs with these scores after registration; their pictures go to two tables.

    Of the first pair there is no registered prior.
    """
    ids = [f"p{i}" for i in range(len(scores))]
    triples = pd.DataFrame({"pair_id": ids, "prior_dicom_id": [f"{i}-old" for i in ids], "dicom_id": ids})
    triples = triples.assign(accepted=True, reason="")
    registrations = pd.DataFrame({"pair_id": ids, "score_before": 0.1, "score_after": scores})
    registrations["accepted"] = [score is not None and score > 0.25 for score in scores]
    png = pixels.encode_png(np.linspace(0, 1, 64).reshape(8, 8))
    plain = {"inverted": False, "to_original": None, "reason": ""}
    films = [{"dicom_id": name, "png": png, **plain} for name in [*triples["prior_dicom_id"], *ids]]
    tables.write_stream(folder / "pixels.parquet", "pixels", [films])
    mask = pixels.encode_png(np.eye(8))
    priors = [{"pair_id": name, "png": png if name != "p0" else None, "coverage": mask} for name in ids]
    tables.write_stream(folder / "registered.parquet", "registered", [priors])
    return registrations.assign(reason="moved"), triples


def test_the_pairs_that_fit_worst_and_best_are_shown(tmp_path: Path) -> None:
    registrations, triples = registered_tables(tmp_path, [0.1, 0.9, 0.3, None, 0.5, 0.6, 0.2, 0.8, 0.7])
    chosen = registration.extremes(registrations, triples)
    assert list(chosen["score_after"]) == [0.1, 0.2, 0.3, 0.7, 0.8, 0.9]
    shown = registration.read(chosen, [tmp_path / "pixels.parquet"], [tmp_path / "registered.parquet"])
    assert [row.caption for row in shown] == [
        "0.10 → 0.20\nnot accepted",
        *(f"0.10 → {score:.2f}\naccepted" for score in (0.3, 0.7, 0.8, 0.9)),
    ]
    assert shown[0].covered.sum() == 8
    drawn = registration.grid(shown)
    assert len(drawn.axes) == 5 * len(registration.TITLES)
    assert [axis.get_title("center") for axis in drawn.axes[:6]] == list(registration.TITLES)


def test_few_pairs_are_shown_once(tmp_path: Path) -> None:
    registrations, triples = registered_tables(tmp_path, [0.1, 0.9, 0.3, 0.5])
    assert list(registration.extremes(registrations, triples)["score_after"]) == [0.1, 0.3, 0.5, 0.9]


def texts_of(cohort: pd.DataFrame) -> list[str]:
    """What the flow chart says, each box and each list of reasons in one line."""
    return [" ".join(text.get_text().split()) for text in charts.flow(cohort).axes[0].texts]


def test_the_flow_chart_has_a_box_for_every_step_that_pair_and_gather_write(tmp_path: Path) -> None:
    cohort = tables.read(fabricated.write(tmp_path, patients=40, systems=())["cohort"], "cohort")
    said = texts_of(cohort)
    in_triples = cohort["step"].str.match("triples by rules in (?:train|validation|test): all")
    by_split = " ".join(f"{row.step} {row.kept:,} (paper: {row.paper:,.0f})" for row in cohort[in_triples].itertuples())
    assert said.count(by_split) == 1
    lanes = cohort[cohort["step"].str.match("(?:images|studies|singles|pairs|triples by rules):")]
    for row in lanes.itertuples():
        paper = "" if pd.isna(row.paper) else f" (paper: {row.paper:,.0f})"
        assert said.count(f"{row.step} {row.kept:,}{paper}") == 1, row.step
        if row.dropped:
            assert any(f"− {row.dropped:,} {row.reason}" in text for text in said), row.reason
    boxes = [text for text in said if not text.startswith("−") and text]
    assert len(boxes) == lanes["step"].nunique() + 1


def test_the_flow_chart_has_the_triples_of_every_writer(tmp_path: Path) -> None:
    cohort = tables.read(fabricated.write(tmp_path, patients=40, systems=())["cohort"], "cohort")
    of_rules = cohort[cohort["step"].str.startswith("triples")]
    other = of_rules.assign(step=of_rules["step"].str.replace("rules", "impression"), paper=pd.NA)
    said = texts_of(pd.concat([cohort, other]))
    for writer in ("rules", "impression"):
        assert any(text.startswith(f"triples by {writer}: description valid") for text in said)
        assert any(text.startswith(f"triples by {writer} in train: all") for text in said)
    assert charts.png(charts.flow(pd.concat([cohort, other])))[:4] == b"\x89PNG"


def test_the_flow_chart_shows_every_count_and_reason_of_the_cohort() -> None:
    steps = [
        ("races: known", 3, 1, "no admission in MIMIC-IV"),
        ("images: in the metadata", 1234, 0, ""),
        ("studies: in the metadata", 900, 0, ""),
        ("images: with a report", 1200, 34, "the study has no report"),
        ("studies: with a report", 890, 10, "no report"),
        ("singles: one image and text per study", 890, 0, ""),
        ("pairs: a study and the one before it", 400, 490, "first study of its patient"),
        ("triples by rules: description valid", 390, 10, "the description is not valid"),
        ("triples by rules in train: all", 300, 0, ""),
        ("triples by rules in test: all", 100, 0, ""),
    ]
    rows = pd.DataFrame(steps, columns=["step", "kept", "dropped", "reason"]).assign(paper=None)
    rows["paper"] = rows["paper"].astype("Int64")
    rows.loc[8, "paper"] = 9354
    said = " ".join(texts_of(rows))
    for part in ("1,234", "− 34 the study has no report", "− 10 no report", "− 490 first", "300 (paper: 9,354)", "100"):
        assert part in said
    assert "races" not in said
    assert charts.png(charts.flow(rows))[:4] == b"\x89PNG"


def test_the_validation_loss_stands_beside_the_training_loss_of_its_run() -> None:
    runs, steps = (("stage1", 1), ("stage2", 2)), range(0, 101, 20)
    rows = [{"run": r, "stage": s, "step": n, "loss": 2 - n / 100 if n else None} for r, s in runs for n in steps]
    training = pd.DataFrame(rows).assign(validation_loss=np.nan, training_seed=0)
    validated = (training["run"] == "stage2") & training["step"].isin([40, 80])
    training.loc[validated, "validation_loss"] = [1.5, 1.25]
    [axis] = charts.losses(training).axes
    lines = {line.get_label(): line for line in axis.get_lines()}
    assert list(lines) == ["stage1 (stage 1)", "stage2 (stage 2)", "stage2, validation"]
    assert lines["stage2, validation"].get_xydata().tolist() == [[40, 1.5], [80, 1.25]]
    assert lines["stage2, validation"].get_color() == lines["stage2 (stage 2)"].get_color()
    assert lines["stage2 (stage 2)"].get_xydata()[:, 0].tolist() == [20, 40, 60, 80, 100]
    assert axis.get_yscale() == "linear"
    training.loc[validated, "validation_loss"] = [0.05, 1.0]
    assert charts.losses(training).axes[0].get_yscale() == "log"


def test_the_gap_is_that_of_the_groups_with_enough_pairs() -> None:
    groups = {
        "sex=F": (0.8, 60),
        "sex=M": (0.7, 60),
        "sex=unknown": (0.1, 60),
        "age<50": (0.9, 60),
        "age>=50": (0.2, 19),
    }
    rows = pd.DataFrame([{"group": name, "n": n, "race_auc": value} for name, (value, n) in groups.items()])
    [sex] = subgroups.gaps(rows, [measures.RACE_AUC])  # of the ages one group alone has enough pairs
    assert sex == {"attribute": "sex", "cells": {"race_auc": {"group": "sex=M", "gap": pytest.approx(0.1)}}}


def test_training_seeds_of_a_run_have_one_colour_and_one_entry_of_the_legend() -> None:
    rows = [(run, seed, step) for run in ("stage1", "stage2") for seed in (0, 1) for step in (20, 40)]
    training = pd.DataFrame(rows, columns=["run", "training_seed", "step"])
    training = training.assign(stage=1, loss=1.0 + training["training_seed"], validation_loss=np.nan)
    [axis] = charts.losses(training).axes
    lines = axis.get_lines()
    assert [line.get_ydata().tolist() for line in lines] == [[1.0, 1.0], [2.0, 2.0]] * 2
    assert len({line.get_color() for line in lines[:2]}) == 1 < len({line.get_color() for line in lines})
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["stage1 (stage 1)", "stage2 (stage 1)"]
