"""The overlap of organs moves the right way on phantom pictures of which it is known what was drawn differently."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from biomedjourney import beyond, tables
from biomedjourney.evaluate.comparisons import organ_overlap
from biomedjourney.evaluate.pictures import Pictures
from biomedjourney.measures import ORGANS
from biomedjourney.phantom import anatomy, draw
from biomedjourney.phantom.state import Acquisition, Findings
from biomedjourney.preprocess import canonical, mask_on_canonical
from biomedjourney.pretrain import segmenter

SIDE, FILM_SIDE = 64, 128
WELL, LARGE_HEART = Findings(), Findings(cardiomegaly=0.8)


def body(seed: int) -> anatomy.Anatomy:
    return anatomy.sample(np.random.default_rng(seed), "FM"[seed % 2], tables.RACES[seed % 3])


def picture(seed: int, findings: Findings, noise: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The canonical picture of a patient, and where each of ORGANS lies on it, from 0 to 1."""
    rng = np.random.default_rng([seed, 1])
    where = Acquisition(rotation=rng.normal(0, 2), shift_x=rng.normal(0, 0.03), shift_y=rng.normal(0, 0.03))
    film = draw.draw(body(seed), 50.0, findings, where, FILM_SIDE, np.random.default_rng([seed, 2, noise]))
    masks = draw.organ_masks(body(seed), 50.0, findings, where, FILM_SIDE)
    seen = canonical(film, SIDE)
    return seen.picture, np.stack([mask_on_canonical(masks[organ], seen.to_original, SIDE) for organ in ORGANS])


@pytest.fixture(scope="module")
def trained() -> segmenter.Segmenter:
    films = [picture(seed, LARGE_HEART if seed % 2 else WELL) for seed in range(100, 160)]
    pictures = np.stack([np.rint(255 * film).astype(np.uint8) for film, _ in films])
    settings = {"steps": 50, "batch_size": 12, "learning_rate": 8e-3}
    return segmenter.of_model(segmenter.train(pictures, np.stack([m for _, m in films]), settings, 0), SIDE)


@pytest.fixture(scope="module")
def overlap(trained: segmenter.Segmenter) -> Callable[..., pd.Series]:
    """The mean overlap of each kind, of generated pictures with priors and current ones."""

    def mean(generated: list[np.ndarray], prior: list[np.ndarray], current: list[np.ndarray]) -> pd.Series:
        pictures = [np.stack(part) for part in (generated, prior, current)]
        covered = np.ones(pictures[0].shape, bool)
        return organ_overlap(Pictures(pictures[0], pictures[1], covered, pictures[2]), trained).mean()

    return mean


PATIENTS = range(8)


def test_a_larger_heart_and_another_patient_are_told_apart(overlap: Callable[..., pd.Series]) -> None:
    priors, large, others = ([picture(seed, findings)[0] for seed in seeds] for seeds, findings in (
        (PATIENTS, WELL), (PATIENTS, LARGE_HEART), (range(20, 28), WELL),
    ))  # fmt: skip
    again = [picture(seed, WELL, noise=1)[0] for seed in PATIENTS]
    kept = overlap(again, priors, large)
    grown = overlap(large, priors, large)
    swapped = overlap(others, priors, large)
    assert kept["lung_dice_prior"] > 0.95
    assert kept["heart_dice_prior"] > 0.93
    assert grown["heart_dice_prior"] < kept["heart_dice_prior"] - 0.08
    assert grown["lung_dice_prior"] > 0.9, "a large heart takes a little of their place"
    np.testing.assert_allclose(grown[["lung_dice_current", "heart_dice_current"]], 1.0)
    assert kept["heart_dice_current"] < 0.93
    assert swapped["lung_dice_prior"] < kept["lung_dice_prior"] - 0.08
    assert swapped["heart_dice_prior"] < kept["heart_dice_prior"] - 0.08


class Halves:
    """Marks dark pixels as lungs and bright ones as heart."""

    def organs(self, pictures: np.ndarray) -> dict[str, np.ndarray]:
        return {"lung": pictures < 0.25, "heart": pictures > 0.75}


def test_known_overlaps_stand_in_their_columns() -> None:
    plain = np.full((4, 8, 8), 0.5, np.float32)
    generated, prior, current = plain.copy(), plain.copy(), plain.copy()
    generated[:, :4], prior[:, :2], current[:, 2:6] = 0.0, 0.0, 0.0
    generated[:, 6:, :4], prior[:, 6:, :4], current[:, 6:, 4:] = 1.0, 1.0, 1.0
    prior[1], generated[2] = 0.5, 0.5  # where the prior shows no organ, and where the picture shows none
    found = organ_overlap(Pictures(generated, prior, np.ones(plain.shape, bool), current), Halves())
    nan = np.nan
    expected = {"lung_dice_prior": [2 / 3, nan, 0, 2 / 3], "heart_dice_prior": [1, nan, 0, 1]}
    expected |= {"lung_dice_current": [0.5, 0.5, 0, 0.5], "heart_dice_current": [0, 0, 0, 0]}
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected), check_dtype=False)
    assert list(found) == [measure.name for measure in beyond.ORGAN_DICE]


def test_without_a_segmenter_nothing_is_known() -> None:
    pictures = np.zeros((3, 8, 8), np.float32)
    found = organ_overlap(Pictures(pictures, pictures, pictures == 0, pictures), None)
    assert found.shape == (3, 4)
    assert found.isna().all(axis=None)
