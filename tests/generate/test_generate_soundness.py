"""Edits whose result is known without a real picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from biomedjourney import config, pixels, tables
from biomedjourney.errors import UserError
from biomedjourney.generate.command import command
from biomedjourney.generate.soundness import texts_back, trials
from biomedjourney.pretrain import load_first_stage
from tests.helpers import tiny
from tests.helpers.fabricated import config_text

TRIALS = ["edit", "reconstruction", "no-change", "no-change-repeated", "reversal"]
SCHEDULE = config.load(["config.yaml"], "train")["diffusion"]["schedule"]
REPORTS = {0: "No acute process.", 1: "New small left pleural effusion."}


class Brighter:
    """Makes a picture brighter by a tenth each time, and writes down what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def __call__(self, names: Sequence[str], pictures: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        self.told += zip(names, texts, strict=True)
        return pictures + np.float32(0.1)


def test_no_change_is_told_again_of_its_own_picture_and_the_way_back_of_the_edited_one() -> None:
    editor = Brighter()
    priors, edited = np.full((2, 4, 4), 0.2, np.float32), np.full((2, 4, 4), 0.7, np.float32)
    drawn = dict(trials(editor, ["a", "b"], priors, edited, ["resolved effusion", "resolved edema"]))
    assert list(drawn) == TRIALS[2:]
    assert [round(float(pictures[0, 0, 0]), 3) for pictures in drawn.values()] == [0.3, 0.5, 0.8]
    assert [text for name, text in editor.told if name.startswith("b")] == ["no significant change"] * 3 + [
        "resolved edema"
    ]
    assert len({name for name, _ in editor.told}) == 8, "two drawings share their noise"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("soundness")
    paths = tiny.write(folder)
    paths["model"] = tiny.model(folder / "model", SCHEDULE, tiny.SCALING_FACTOR)
    paths["text_tower"] = tiny.text_tower(folder / "text-tower")
    triples = tables.read(paths["triples"], "triples")
    study_ids = sorted({*triples["prior_study_id"], *triples["study_id"]})
    studies = pd.DataFrame({"study_id": study_ids, "subject_id": 1, "age": 60, "findings": ""})
    studies["impression"] = [REPORTS[study_id % 2] for study_id in study_ids]
    studies["study_time"] = pd.Timestamp("2150-01-01")
    studies[list(tables.CHEXPERT_LABELS)] = pd.NA
    paths["studies"] = folder / "studies.parquet"
    tables.write(paths["studies"], "studies", studies.astype(dict.fromkeys(tables.CHEXPERT_LABELS, "Int8")))
    pictures = tables.read(paths["registered"], "registered").drop(columns="coverage")
    paths["generated"] = folder / "generated.parquet"
    tables.write(paths["generated"], "generated", pictures.assign(training_seed=0, seed=0))
    return paths


def drawn(inputs: dict[str, Path], out: Path, model: Path, pairs: int = 3) -> pd.DataFrame:
    settings = config_text(**config.merge(tiny.OVERLAY, {"generate": {"soundness": {"pairs": pairs}}}))
    names = ("first_stage", "text_tower", "triples", "studies", "registered", "generated")
    words = ["soundness", "--config", settings, "--system", "biomedjourney", *tiny.flags(inputs, *names)]
    CliRunner().invoke(command, [*words, "--model", str(model), "--out", str(out)], catch_exceptions=False)
    return tables.read(out, "trials")


def test_every_trial_is_drawn_of_the_same_pairs(inputs: dict[str, Path], tmp_path: Path) -> None:
    rows = drawn(inputs, tmp_path / "trials.parquet", inputs["model"])
    triples = tables.read(inputs["triples"], "triples")
    compared = set(triples.loc[triples["compared"] & (triples["split"] == "test"), "pair_id"])
    by_trial = rows.groupby("trial", sort=False)["pair_id"].apply(set)
    assert list(by_trial.index) == TRIALS
    assert len(by_trial["reversal"]) == 3
    assert all(pairs == by_trial["reversal"] <= compared for pairs in by_trial)


def test_the_reconstruction_is_what_the_first_stage_makes_of_the_prior(inputs: dict[str, Path], tmp_path: Path) -> None:
    import torch

    rows = drawn(inputs, tmp_path / "trials.parquet", inputs["model"])
    first_stage = load_first_stage(inputs["first_stage"])
    row = rows[rows["trial"] == "reconstruction"].iloc[0]
    (prior,) = tables.find([inputs["registered"]], "registered", "pair_id", [row["pair_id"]]).values()
    picture = torch.from_numpy(2 * pixels.decode_png(prior["png"]) - 1)[None, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        decoded = first_stage.decode(first_stage.encode(picture).latent_dist.mean).sample[0]
    expected = ((decoded + 1) / 2).clamp(0, 1).mean(dim=0).numpy()
    assert np.abs(pixels.decode_png(row["png"]) - expected).max() <= 0.5 / 255 + 1e-6


def test_the_way_back_turns_what_the_reports_tell(inputs: dict[str, Path]) -> None:
    pairs = tables.read(inputs["triples"], "triples").head(2)
    assert texts_back(pairs, inputs["studies"]) == ["resolved left pleural effusion"] * 2


def test_a_model_without_a_registered_prior_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    model = tiny.model(tmp_path / "model", SCHEDULE, tiny.SCALING_FACTOR, prior="none")
    with pytest.raises(UserError, match="its prior is none"):
        drawn(inputs, tmp_path / "trials.parquet", model)
