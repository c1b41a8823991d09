import csv
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from biomedjourney.register import register


def chest(side: int = 256, seed: int = 0) -> np.ndarray:
    """A drawn chest in [0, 1] with ribs and vessels of its own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / (side - 1.0)
    lungs = sum(np.exp(-(((np.abs(x - c) / 0.13) ** 4) + (np.abs(y - 0.42) / 0.27) ** 4)) for c in (0.3, 0.72))
    ribs = 0.10 * (np.sin(38 * (y - 0.8 * (x - 0.5) ** 2)) > 0.4) * lungs
    vessels = ndimage.gaussian_filter(rng.normal(size=(side, side)), side / 40)
    body = np.exp(-((np.abs(x - 0.5) / 0.46) ** 12))
    film = 0.5 + 0.25 * np.exp(-0.5 * ((x - 0.5) / 0.06) ** 2) + 0.15 * (y > 0.75) - 0.4 * lungs + ribs
    return np.clip((film + 0.05 * vessels / vessels.std()) * (0.1 + 0.9 * body), 0.0, 1.0)


def random_affine(rng: np.random.Generator, side: int) -> np.ndarray:
    """Within ±10 degrees, ±8 % scale, ±5 % shear, ±8 % shift, about the middle."""
    turn, shear = np.radians(rng.uniform(-10, 10)), rng.uniform(-0.05, 0.05)
    scale = 1 + rng.uniform(-0.08, 0.08)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [[1, shear], [0, 1]]
    middle = np.full(2, (side - 1) / 2)
    return np.column_stack([linear, middle + rng.uniform(-0.08, 0.08, 2) * side - linear @ middle])


def seen_through(film: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return ndimage.affine_transform(film, matrix[::-1, 1::-1], offset=matrix[::-1, 2], order=1)


def another_day(film: np.ndarray, matrix: np.ndarray, rng: np.random.Generator, negative: bool) -> np.ndarray:
    """The film moved, with another exposure, an opacity and grain, as 8 bits; bones dark if asked."""
    side = film.shape[0]
    y, x = np.mgrid[:side, :side] / side
    cx, cy = rng.uniform(0.25, 0.75, 2)
    moved = np.clip(seen_through(film, matrix), 0, 1) ** rng.uniform(0.6, 1.6)
    moved = moved + 0.5 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / rng.uniform(0.08, 0.16) ** 2)
    moved = np.clip(moved + rng.normal(0, 0.03, film.shape), 0, 1)
    return ((1 - moved if negative else moved) * 255).astype(np.uint8)


def corner_error(found: np.ndarray, true: np.ndarray, side: int) -> float:
    """Mean distance at the four corners, in pixels of a film of 512."""
    last = side - 1
    corners = np.array([[0, 0, 1], [last, 0, 1], [0, last, 1], [last, last, 1]], float).T
    return float(np.linalg.norm(found @ corners - true @ corners, axis=0).mean()) * 512 / side


def errors_of(films: list[np.ndarray]) -> np.ndarray:
    errors = []
    for k, film in enumerate(films):
        rng = np.random.default_rng([11, k])
        true = random_affine(rng, film.shape[0])
        result = register((film * 255).astype(np.uint8), another_day(film, true, rng, k % 3 == 0))
        assert result.inverted == (k % 3 == 0)
        errors.append(corner_error(result.matrix, true, film.shape[0]))
    return np.array(errors)


def test_the_true_transform_of_drawn_films_is_found():
    errors = errors_of([chest(seed=k) for k in range(12)])
    assert np.median(errors) <= 1.5
    assert errors.max() <= 8.0


def test_small_films_are_registered_too():
    film, rng = chest(64), np.random.default_rng(3)
    true = random_affine(rng, 64)
    result = register(film, another_day(film, true, rng, negative=False))
    assert corner_error(result.matrix, true, 64) < 12
    assert result.score_after > result.score_before


@pytest.mark.parametrize("transform", ["rigid", "similarity"])
def test_a_simpler_transform_keeps_its_shape(transform):
    film, rng = chest(128), np.random.default_rng(5)
    turn = np.radians(6.0)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    true = np.column_stack([linear, np.array([68.5, 59.5]) - linear @ np.full(2, 63.5)])
    result = register(film, another_day(film, true, rng, negative=False), transform=transform)
    assert corner_error(result.matrix, true, 128) < 6
    product = result.matrix[:, :2].T @ result.matrix[:, :2]
    assert product[0, 1] == pytest.approx(0, abs=1e-6)
    assert product[0, 0] == pytest.approx(product[1, 1])
    if transform == "rigid":
        assert product[0, 0] == pytest.approx(1)


def test_the_matrix_refers_to_arrays_as_given_of_any_size():
    """A film cut and enlarged: the matrix maps pixel centres of the current array to the prior array's."""
    film = chest(256)
    prior = (film[10:240, :] * 4095).astype(np.uint16)  # 230 x 256
    big = Image.fromarray(film[4:250, :].astype(np.float32)).resize((512, 492), Image.Resampling.BILINEAR)
    current = np.asarray(big)  # 492 x 512: pixel centre x is (x + 0.5) / 2 - 0.5 of the film
    result = register(prior, current)
    true = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25 + 4 - 10]])
    corners = np.array([[0, 0, 1], [511, 0, 1], [0, 491, 1], [511, 491, 1]], float).T
    assert np.abs(result.matrix @ corners - true @ corners).max() < 1.5
    warped = result.warp(prior)
    assert warped.shape == current.shape
    assert warped.dtype == np.uint16
    inside = np.s_[60:-60, 60:-60]
    assert np.corrcoef(warped[inside].ravel(), current[inside].ravel())[0, 1] > 0.97


def test_outside_the_prior_is_zero_and_the_coverage_says_so():
    film = chest(128) * 0.8 + 0.2
    shifted = np.roll(film, 12, axis=1)
    result = register(film, shifted)
    covered = result.coverage(film.shape)
    warped = result.warp(film)
    assert not covered[:, :8].any()
    assert covered[:, 20:].mean() > 0.95
    assert (warped[~ndimage.binary_dilation(covered, iterations=2)] == 0).all()


def test_unrelated_pictures_are_never_worse_than_before():
    rng = np.random.default_rng(2)
    for k in range(6):
        noise = ndimage.gaussian_filter(rng.normal(size=(96, 96)), 3)
        result = register(noise, chest(96, seed=k))
        assert result.score_after >= abs(result.score_before) - 0.011
        if "identity" in result.reason:
            assert result.matrix == pytest.approx(np.eye(2, 3))


def test_the_same_film_stays_where_it_is():
    film = chest(128)
    result = register(film, film)
    assert result.score_before == pytest.approx(1.0)
    assert result.matrix == pytest.approx(np.eye(2, 3), abs=1e-6)
    assert result.accepted
    assert "identity" in result.reason


def test_the_same_films_give_the_same_matrix():
    a, b = chest(96), np.roll(chest(96), 5, axis=0)
    assert np.array_equal(register(a, b).matrix, register(a, b).matrix)


@pytest.mark.parametrize(
    ("film", "word"),
    [(np.zeros((64, 64)), "blank"), (np.full((64, 64), 9, np.uint8), "blank"), (np.eye(8), "tiny")],
)
def test_what_is_no_film_is_not_accepted(film, word):
    for prior, current, name in ((film, chest(64), "prior"), (chest(64), film, "current")):
        result = register(prior, current)
        assert not result.accepted
        assert result.reason.startswith(f"the {name} film is {word}")
        assert np.isnan(result.score_after)
        assert result.warp(prior).shape == current.shape


def test_the_threshold_decides():
    a, b = chest(96), np.roll(chest(96), 5, axis=0)
    assert register(a, b, threshold=-1.0).accepted
    refused = register(a, b, threshold=1.0)
    assert not refused.accepted
    assert "below 1" in refused.reason


def test_an_unknown_transform_is_a_mistake():
    with pytest.raises(ValueError, match="warped"):
        register(chest(64), chest(64), transform="warped")


def square(path) -> np.ndarray:
    """A film in the middle of a black square of 512 pixels, in [0, 1]."""
    film = Image.open(path).convert("L")
    side = max(film.size)
    canvas = Image.new("L", (side, side))
    canvas.paste(film, ((side - film.width) // 2, (side - film.height) // 2))
    return np.asarray(canvas.resize((512, 512), Image.Resampling.LANCZOS)) / 255.0


def real_rows(films) -> list[dict[str, str]]:
    with (films / "images.csv").open() as lines:
        return list(csv.DictReader(lines))


def test_the_true_transform_of_real_films_is_found(films):
    errors = errors_of([square(films / "images" / f"{row['image_id']}.png") for row in real_rows(films)[::4]])
    assert np.median(errors) <= 1.5
    assert np.percentile(errors, 95) <= 4.0


def test_real_pairs_fit_better_and_none_worse(films):
    consecutive = [(a, b) for a, b in pairwise(real_rows(films)) if a["patient_id"] == b["patient_id"]]
    middle = np.s_[64:448, 64:448]
    before, after = [], []
    for pair in consecutive[::2]:
        prior, current = (square(films / "images" / f"{row['image_id']}.png") for row in pair)
        warped = seen_through(prior, register(prior, current).matrix)
        for scores, film in ((before, prior), (after, warped)):
            scores.append(abs(np.corrcoef(film[middle].ravel(), current[middle].ravel())[0, 1]))
    assert np.mean(after) >= 0.60
    assert np.min(np.subtract(after, before)) >= -0.02
