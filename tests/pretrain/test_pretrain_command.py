"""The commands on tiny tables: their output loads, and they read only training and validation rows."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from biomedjourney import pixels, tables
from biomedjourney.errors import UserError
from biomedjourney.measures import dice
from biomedjourney.pretrain import load_first_stage, load_judges, load_segmenter, load_text_tower
from biomedjourney.pretrain.command import command
from tests.helpers import fabricated

SHORT = {"steps": 2, "batch_size": 4}
INPUTS = {
    "first-stage": ["pixels"],
    "text-tower": ["pairs", "progressions", "studies"],
    "judges": ["pixels", "studies", "patients"],
    "second-judges": ["pixels", "studies", "patients"],
    "segmenter": ["pixels", "organs"],
}
CONFIG = fabricated.config_text(
    preprocess={"size": fabricated.SIDE},
    text={"max_tokens": 12},
    pretrain={"first_stage": SHORT, "text_tower": SHORT | {"width": 32, "layers": 1, "heads": 2}}
    | {"judges": SHORT, "second_judges": {"weights": None}, "segmenter": SHORT},
)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tables")
    paths = fabricated.write(folder, patients=24)
    studies, pairs = tables.read(paths["studies"], "studies"), tables.read(paths["pairs"], "pairs")
    split = studies["subject_id"].map(dict(zip(pairs["subject_id"], pairs["split"], strict=True)))
    rows = studies[["study_id", "subject_id"]].assign(split=split, dicom_id=studies["study_id"].astype(str))
    rows["text"] = [f"study {i % 5}, no change" for i in range(len(rows))]
    paths["singles"] = folder / "singles.parquet"
    tables.write(paths["singles"], "singles", rows)
    pictures = tables.read(paths["pixels"], "pixels").assign(to_original=[np.eye(2, 3).ravel()] * len(rows))
    tables.write(paths["pixels"], "pixels", pictures)
    paths["organs"] = folder / "organs.parquet"
    mask = np.zeros((fabricated.SIDE, fabricated.SIDE))
    mask[:20] = 1.0  # the bands of the findings
    pngs = {"lung": pixels.encode_png(mask), "heart": pixels.encode_png(1 - mask)}
    tables.write(paths["organs"], "organs", rows[["dicom_id"]].assign(**pngs))
    return paths


def run(verb: str, paths: dict[str, Path], names: list[str], out: Path, config: str = CONFIG) -> str:
    flags = [word for name in ["singles", *names] for word in (f"--{name}", str(paths[name]))]
    result = CliRunner().invoke(command, [verb, "--config", config, *flags, "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def without_test(paths: dict[str, Path], folder: Path) -> dict[str, Path]:
    """The same tables, with noise instead of the pictures of test patients and other words in their texts."""
    singles = tables.read(paths["singles"], "singles")
    hidden = set(singles.loc[singles["split"] == "test", "dicom_id"])
    noise = pixels.encode_png(np.random.default_rng(0).random((fabricated.SIDE, fabricated.SIDE)))
    pixel_rows = tables.read(paths["pixels"], "pixels")
    pixel_rows["png"] = [
        noise if name in hidden else png for name, png in zip(pixel_rows["dicom_id"], pixel_rows["png"], strict=True)
    ]
    singles.loc[singles["split"] == "test", "text"] = "utterly different words"
    pairs, progressions = tables.read(paths["pairs"], "pairs"), tables.read(paths["progressions"], "progressions")
    not_training = progressions["pair_id"].isin(set(pairs.loc[pairs["split"] != "train", "pair_id"]))
    progressions.loc[not_training, "description"] = "utterly different words"
    changed: dict[str, pd.DataFrame] = {"singles": singles, "pixels": pixel_rows, "progressions": progressions}
    for name, table in changed.items():
        tables.write(folder / f"{name}.parquet", name, table)
    return paths | {name: folder / f"{name}.parquet" for name in changed}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("verb", "names"),
    list(INPUTS.items()),
)
def test_nothing_of_a_test_patient_is_read(verb: str, names: list[str], paths: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    output = run(verb, paths, names, tmp_path / "a")
    assert output == run(verb, without_test(paths, tmp_path / "hidden"), names, tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "hidden"]


def test_what_is_written_loads(paths: dict[str, Path], tmp_path: Path) -> None:
    assert "dB on validation pictures" in run("first-stage", paths, INPUTS["first-stage"], tmp_path / "stage")
    assert "trained on" in run("text-tower", paths, INPUTS["text-tower"], tmp_path / "tower")
    assert "on validation pictures" in run("judges", paths, INPUTS["judges"], tmp_path / "judges")
    assert load_first_stage(tmp_path / "stage").config.in_channels == 1
    assert load_text_tower(tmp_path / "tower").states(["study 1, no change"])[0].shape[1] == 32
    judges = load_judges(tmp_path / "judges")
    black_pictures = np.zeros((2, fabricated.SIDE, fabricated.SIDE), np.float32)
    assert judges.labels == tuple(fabricated.FINDINGS)
    assert judges.pathology(black_pictures).shape == (2, 5)
    assert judges.race(black_pictures).shape == (2, 3)
    assert 25 < judges.age(black_pictures).mean() < 90


def test_the_second_judges_are_other_networks_that_learned_from_the_same_pictures(
    paths: dict[str, Path], tmp_path: Path
) -> None:
    for verb in ("judges", "second-judges"):
        said = run(verb, paths, INPUTS[verb], tmp_path / verb)
        assert said.startswith(f"{verb.replace('-', ' ')}: ")
    sizes = [len((tmp_path / verb / "race" / "weights.pt").read_bytes()) for verb in ("judges", "second-judges")]
    assert sizes[0] != sizes[1]
    first, second = (load_judges(tmp_path / verb) for verb in ("judges", "second-judges"))
    assert first.labels == second.labels
    pictures = np.random.default_rng(0).random((4, fabricated.SIDE, fabricated.SIDE), dtype=np.float32)
    for kind in ("pathology", "race", "age"):
        one, other = getattr(first, kind)(pictures), getattr(second, kind)(pictures)
        assert one.shape == other.shape
        assert not np.allclose(one, other, rtol=1e-3), kind


def test_without_a_second_set_of_judges_their_command_says_how_to_get_one(
    paths: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"pretrain.second_judges: null, .* set it to \{weights: null\}"):
        run("second-judges", paths, INPUTS["judges"], tmp_path / "out", fabricated.config_text())


def test_the_segmenter_is_tried_on_validation_patients(paths: dict[str, Path], tmp_path: Path) -> None:
    said = run("segmenter", paths, INPUTS["segmenter"], tmp_path / "segmenter")
    facts = json.loads((tmp_path / "segmenter" / "segmenter.json").read_text())
    splits = tables.read(paths["singles"], "singles")["split"].value_counts()
    assert (facts["films"], facts["validation_films"]) == (splits["train"], splits["validation"])
    assert f"Dice lung {facts['dice']['lung']:.3f}, heart {facts['dice']['heart']:.3f} on" in said
    rows = tables.read(paths["pixels"], "pixels").merge(tables.read(paths["singles"], "singles"), on="dicom_id")
    held_out = np.stack([pixels.decode_png(png) for png in rows.loc[rows["split"] == "validation", "png"]])
    found = load_segmenter(tmp_path / "segmenter").organs(held_out)
    expected = np.zeros((fabricated.SIDE, fabricated.SIDE), bool)
    expected[:20] = True
    assert facts["dice"]["lung"] == pytest.approx(dice(found["lung"], expected).mean(), abs=1e-4)
    assert facts["dice"]["heart"] == pytest.approx(dice(found["heart"], ~expected).mean(), abs=1e-4)


def test_the_segmenter_needs_masks_of_training_patients(paths: dict[str, Path], tmp_path: Path) -> None:
    singles = tables.read(paths["singles"], "singles")
    of_training = set(singles.loc[singles["split"] == "train", "dicom_id"])
    masks = tables.read(paths["organs"], "organs")
    tables.write(tmp_path / "o.parquet", "organs", masks[~masks["dicom_id"].isin(of_training)])
    with pytest.raises(UserError, match=r"o.parquet: no film of a training patient .* \(phantom.organ_masks\)"):
        run("segmenter", paths | {"organs": tmp_path / "o.parquet"}, INPUTS["segmenter"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_judges_need_patients_of_known_race(paths: dict[str, Path], tmp_path: Path) -> None:
    unknown = tables.read(paths["patients"], "patients").assign(race=None)
    tables.write(tmp_path / "p.parquet", "patients", unknown)
    with pytest.raises(UserError, match=r"p.parquet: no training patient has a known race"):
        run("judges", paths | {"patients": tmp_path / "p.parquet"}, INPUTS["judges"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_parts_that_were_written_are_taken_as_published_ones(paths: dict[str, Path], tmp_path: Path) -> None:
    run("first-stage", paths, INPUTS["first-stage"], tmp_path / "stage")
    run("text-tower", paths, INPUTS["text-tower"], tmp_path / "tower")
    weights = {"first_stage": {"weights": str(tmp_path / "stage")}, "text_tower": {"weights": str(tmp_path / "tower")}}
    config = fabricated.config_text(pretrain=weights)
    run("first-stage", paths, INPUTS["first-stage"], tmp_path / "stage2", config)
    run("text-tower", paths, INPUTS["text-tower"], tmp_path / "tower2", config)
    assert files(tmp_path / "stage") == files(tmp_path / "stage2")
    assert files(tmp_path / "tower") == files(tmp_path / "tower2")
