"""How far edits whose result is known are from the prior."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biomedjourney import pixels, tables
from biomedjourney.errors import UserError
from biomedjourney.evaluate.pictures import RealPictures
from biomedjourney.evaluate.soundness import measure
from biomedjourney.examples import Inputs, compared_triples
from tests.helpers import fabricated

STEP = 0.2  # added to every pixel of the trial that leaves the prior


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return fabricated.write(tmp_path_factory.mktemp("tables"), patients=40)


def measured(inputs: dict[str, Path], folder: Path, pairs: dict[str, int]) -> pd.DataFrame:
    """`soundness` of a trial that is the prior and one that is brighter; ``pairs``: how many each has."""
    triples = compared_triples(Inputs(triples=[inputs["triples"]]), "test")
    priors = tables.read(inputs["registered"], "registered").set_index("pair_id")["png"]
    later = tables.read(inputs["generated/real-follow-up"], "generated").set_index("pair_id")["png"]
    edited = triples["pair_id"].head(pairs["reconstruction"])
    rows = [{"trial": "edit", "pair_id": pair_id, "png": later[pair_id]} for pair_id in edited]
    for trial, shift in (("reconstruction", 0.0), ("reversal", STEP)):
        for pair_id in triples["pair_id"].head(pairs[trial]):
            picture = np.clip(0.5 * pixels.decode_png(priors[pair_id]) + shift, 0, 1) if shift else None
            png = priors[pair_id] if picture is None else pixels.encode_png(picture)
            rows.append({"trial": trial, "pair_id": pair_id, "png": png})
    tables.write(folder / "trials.parquet", "trials", pd.DataFrame(rows))
    real = RealPictures(triples, [inputs["registered"]], [inputs["pixels"]])
    settings = fabricated.settings("evaluate soundness")
    return measure("biomedjourney", folder / "trials.parquet", fabricated.Judges(), triples, real, settings).set_index(
        "trial"
    )


def test_a_picture_equal_to_the_prior_has_no_distance_and_another_one_has_its_own(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    rows = measured(inputs, tmp_path, {"reconstruction": 9, "reversal": 9})
    assert list(rows.index) == ["edit", "reconstruction", "reversal"]
    assert (rows["n"] == 9).all()
    same = rows.loc["reconstruction"]
    assert (same["difference"], same["ssim"], same["score_difference"]) == pytest.approx((0, 1, 0))
    # half of the prior and a fifth: as far from it as it is from 0.4, times one half
    triples = compared_triples(Inputs(triples=[inputs["triples"]]), "test")
    priors = tables.read(inputs["registered"], "registered").set_index("pair_id")["png"]
    pictures = np.stack([pixels.decode_png(priors[pair_id]) for pair_id in triples["pair_id"].head(9)])
    moved = rows.loc["reversal"]
    assert moved["difference"] == pytest.approx(np.abs(STEP - 0.5 * pictures).mean(), abs=1e-3)
    scores = fabricated.Judges().pathology(pictures)
    assert moved["score_difference"] == pytest.approx(np.abs(STEP - 0.5 * scores).mean(), abs=1e-3)
    assert moved["difference_low"] < moved["difference"] < moved["difference_high"]
    assert moved["ssim"] < 0.9
    later = rows.loc["edit"]
    assert later["difference"] > 0.05
    tables.write(tmp_path / "soundness.parquet", "soundness", rows.reset_index())


def test_a_trial_that_lacks_a_pair_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trial reversal covers 8 pairs, expected 9: 1 missing"):
        measured(inputs, tmp_path, {"reconstruction": 9, "reversal": 8})
