from pathlib import Path
from typing import Any

import fabricated
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from sklearn.metrics import roc_auc_score

import biomedjourney.pretrain
from biomedjourney import tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from biomedjourney.evaluate import cmig, guidance

OUTPUTS = ("scores", "systems", "ablations", "findings", "subgroups")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return fabricated.write(tmp_path_factory.mktemp("tables"))


@pytest.fixture(autouse=True)
def judges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(biomedjourney.pretrain, "load_judges", lambda folder: fabricated.Judges(), raising=False)


def evaluate_systems(inputs: dict[str, Path], out: Path, *extra: str, **overlay: Any) -> Result:
    overlay = {"evaluate": {"bootstrap": 100}} | overlay
    words = ["evaluate", "systems", "--config", fabricated.config_text(**overlay), "--judges", "judges"]
    for name in ("pairs", "studies", "patients"):
        words += [f"--{name}", str(inputs[name])]
    for name, path in inputs.items():
        if name.startswith("generated/"):
            words += ["--generated", str(path)]
    for name in OUTPUTS:
        words += [f"--{name}", str(out / f"{name}.parquet")]
    return CliRunner().invoke(commands, [*words, *extra])


@pytest.fixture(scope="module")
def written(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(biomedjourney.pretrain, "load_judges", lambda folder: fabricated.Judges(), raising=False)
        result = evaluate_systems(inputs, out, "--truth", str(inputs["truth"]))
    assert result.exit_code == 0, result.output
    return {name: tables.read(out / f"{name}.parquet", name) for name in OUTPUTS}


def test_systems_come_in_the_order_of_the_configuration_with_the_paper_beside_them(
    written: dict[str, pd.DataFrame],
) -> None:
    systems = written["systems"].set_index("system")
    assert list(systems.index) == list(fabricated.SYSTEMS)
    assert systems.loc["biomedjourney", "paper_race_auc"] == 0.9722
    assert systems.loc["copy-prior", "paper_cmig":].isna().all()
    assert list(written["ablations"]["system"]) == ["biomedjourney", "no-registration"]
    assert written["ablations"].set_index("system").loc["no-registration", "paper_cmig"] == 0.7638


def test_the_measures_tell_the_systems_apart(written: dict[str, pd.DataFrame]) -> None:
    systems = written["systems"].set_index("system")
    assert systems.loc["biomedjourney", "race_auc_low"] > systems.loc["text-only", "race_auc_high"]
    assert systems.loc["biomedjourney", "age_r_low"] > systems.loc["text-only", "age_r_high"]
    assert systems.loc["biomedjourney", "pathology_auc"] > systems.loc["copy-prior", "pathology_auc"] + 0.2
    assert abs(systems.loc["untrained", "pathology_auc"] - 0.5) < 0.15
    assert (systems["n"] == 60).all()
    assert (systems["pathology_auc_true"].notna()).all()
    for name in tables.MEASURES:
        inside = (systems[f"{name}_low"] <= systems[name]) & (systems[name] <= systems[f"{name}_high"])
        assert inside.all(), name


def test_a_row_follows_from_the_scores(written: dict[str, pd.DataFrame], inputs: dict[str, Path]) -> None:
    scores = written["scores"].query("system == 'biomedjourney'").set_index("pair_id")
    pairs = tables.read(inputs["pairs"], "pairs").set_index("pair_id").loc[scores.index]
    studies = tables.read(inputs["studies"], "studies").set_index("study_id").loc[pairs["study_id"]]
    patients = tables.read(inputs["patients"], "patients").set_index("subject_id").loc[pairs["subject_id"]]
    pathology = np.mean(
        [roc_auc_score(studies[f].fillna(0).astype(int), scores[f"pathology_{f}"]) for f in fabricated.FINDINGS]
    )
    known = patients["race"].notna().to_numpy()
    race = np.mean(
        [roc_auc_score((patients["race"] == r).to_numpy()[known], scores[f"race_{r}"][known]) for r in tables.RACES]
    )
    age = np.corrcoef(scores["age"], studies["age"].astype(float))[0, 1]
    row = written["systems"].iloc[0]
    assert row["pathology_auc"] == pytest.approx(pathology)
    assert row["race_auc"] == pytest.approx(race)
    assert row["age_r"] == pytest.approx(age, abs=1e-6)
    assert row["cmig"] == pytest.approx(cmig(pathology, race, age), abs=1e-6)


def test_findings_and_subgroups_have_every_system(written: dict[str, pd.DataFrame]) -> None:
    findings = written["findings"]
    assert len(findings) == len(fabricated.SYSTEMS) * 5
    assert findings[["race_auc", "age_r", "cmig"]].isna().all().all()
    mean = findings.groupby("system")["pathology_auc"].mean()
    assert mean["biomedjourney"] == pytest.approx(written["systems"].iloc[0]["pathology_auc"])
    groups = written["subgroups"].query("system == 'biomedjourney'").set_index("group")
    for attribute in ("race", "sex", "age", "interval_days"):
        parts = groups[[str(group).startswith(attribute) for group in groups.index]]
        assert parts["n"].sum() == 60, attribute
    assert np.isnan(groups.loc["race=Asian", "race_auc"])


def test_the_same_seed_gives_the_same_tables(
    written: dict[str, pd.DataFrame], inputs: dict[str, Path], tmp_path: Path
) -> None:
    assert evaluate_systems(inputs, tmp_path, "--truth", str(inputs["truth"])).exit_code == 0
    for name in OUTPUTS:
        pd.testing.assert_frame_equal(tables.read(tmp_path / f"{name}.parquet", name), written[name])


def test_a_system_that_lacks_pairs_is_named(inputs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "text-only.parquet"
    tables.write(path, "generated", tables.read(inputs["generated/text-only"], "generated").iloc[3:])
    result = evaluate_systems(inputs | {"generated/text-only": path}, tmp_path)
    assert isinstance(result.exception, UserError)
    assert "system text-only" in str(result.exception)
    assert "57 pairs" in str(result.exception)
    assert "3 missing" in str(result.exception)
    assert not (tmp_path / "systems.parquet").exists()


def test_a_picture_of_another_split_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    pairs = tables.read(inputs["pairs"], "pairs")
    pairs.loc[pairs["split"] == "test", "split"] = "train"
    tables.write(tmp_path / "pairs.parquet", "pairs", pairs)
    result = evaluate_systems(inputs | {"pairs": tmp_path / "pairs.parquet"}, tmp_path)
    assert isinstance(result.exception, UserError)
    assert "belongs to train, expected test" in str(result.exception)


def test_a_missing_picture_is_named(inputs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "untrained.parquet"
    rows = tables.read(inputs["generated/untrained"], "generated")
    rows.loc[2, "png"] = None
    tables.write(path, "generated", rows)
    result = evaluate_systems(inputs | {"generated/untrained": path}, tmp_path)
    assert isinstance(result.exception, UserError)
    assert f"pair {rows.loc[2, 'pair_id']} has no picture" in str(result.exception)


def test_an_unknown_system_or_finding_is_named(inputs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "mystery.parquet"
    tables.write(path, "generated", tables.read(inputs["generated/untrained"], "generated"))
    result = evaluate_systems(inputs | {"generated/mystery": path}, tmp_path)
    assert "no system 'mystery'" in str(result.exception)
    result = evaluate_systems(inputs, tmp_path, labels={"findings": ["fracture"]})
    assert "does not know 'fracture'" in str(result.exception)


def test_a_finding_with_one_class_is_left_out_and_said(inputs: dict[str, Path], tmp_path: Path) -> None:
    studies = tables.read(inputs["studies"], "studies").assign(edema=0)
    tables.write(tmp_path / "studies.parquet", "studies", studies)
    result = evaluate_systems(inputs | {"studies": tmp_path / "studies.parquet"}, tmp_path)
    assert result.exit_code == 0
    assert "finding edema has one class alone" in result.output
    findings = tables.read(tmp_path / "findings.parquet", "findings").query("system == 'biomedjourney'")
    systems = tables.read(tmp_path / "systems.parquet", "systems")
    assert systems.iloc[0]["pathology_auc"] == pytest.approx(findings["pathology_auc"].dropna().mean())
    assert findings["pathology_auc"].isna().sum() == 1


def test_guidance_takes_the_highest_cmig_then_the_lower_scales() -> None:
    measured = pd.DataFrame(
        {
            "text_scale": [3.0, 1.5, 1.5, 4.0],
            "image_scale": [1.0, 2.0, 1.0, 1.0],
            "cmig": [0.8, 0.8, 0.8, np.nan],
            "pathology_auc": [0.7, 0.7, 0.7, 0.9],
        },
        index=[4, 5, 6, 7],
    )
    assert list(guidance.choose(measured)) == [False, False, True, False]
    assert list(guidance.choose(measured.assign(cmig=0.0))) == [False, False, False, True]


def test_guidance_measures_every_pair_of_scales(inputs: dict[str, Path], tmp_path: Path) -> None:
    pairs = tables.read(inputs["pairs"], "pairs").query("split == 'validation'")
    png = tables.find([inputs["pixels"]], "pixels", "dicom_id", pairs["dicom_id"])
    blank = fabricated.pixels.encode_png(np.random.default_rng(0).random((32, 32)))
    rows = [
        {"text_scale": text, "image_scale": 1.5, "pair_id": pair.pair_id}
        | {"png": png[pair.dicom_id]["png"] if text == 3.0 else blank}
        for text in (1.5, 3.0)
        for pair in pairs.itertuples()
    ]
    path = tmp_path / "biomedjourney.parquet"
    tables.write(path, "sweeps", pd.DataFrame(rows))
    words = ["evaluate", "guidance", "--config", fabricated.config_text(), "--judges", "judges"]
    words += ["--generated", str(path), "--guidance", str(tmp_path / "guidance.parquet")]
    for name in ("pairs", "studies", "patients"):
        words += [f"--{name}", str(inputs[name])]
    result = CliRunner().invoke(commands, words)
    assert result.exit_code == 0, result.output
    found = tables.read(tmp_path / "guidance.parquet", "guidance").set_index("text_scale")
    assert list(found["chosen"]) == [False, True]
    assert found.loc[3.0, "n"] == len(pairs)

    tables.write(path, "sweeps", pd.DataFrame(rows[1:]))
    result = CliRunner().invoke(commands, words)
    assert isinstance(result.exception, UserError)
    assert "1 extra" in str(result.exception)
