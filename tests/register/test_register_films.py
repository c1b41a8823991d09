import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from biomedjourney.register import affine, register, spline
from tests.helpers.drawn_films import bent, chest_with_vessels
from tests.helpers.films import (
    another_day,
    corner_distances,
    correlation,
    pairs,
    paths,
    random_affine,
    seen_through,
    square,
)


def corner_error(found: np.ndarray, true: np.ndarray, side: int) -> float:
    """Mean distance at the four corners, in pixels of a film of 512."""
    return float(corner_distances(found, true, side).mean())


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
    errors = errors_of([chest_with_vessels(seed=k) for k in range(12)])
    assert np.median(errors) <= 1.5
    assert errors.max() <= 8.0


def test_small_films_are_registered_too():
    film, rng = chest_with_vessels(64), np.random.default_rng(3)
    true = random_affine(rng, 64)
    result = register(film, another_day(film, true, rng, negative=False))
    assert corner_error(result.matrix, true, 64) < 12
    assert result.score_after > result.score_before


@pytest.mark.parametrize("transform", ["rigid", "similarity"])
def test_a_simpler_transform_keeps_its_shape(transform):
    film, rng = chest_with_vessels(128), np.random.default_rng(5)
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
    film = chest_with_vessels(256)
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
    film = chest_with_vessels(128) * 0.8 + 0.2
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
        result = register(noise, chest_with_vessels(96, seed=k))
        assert result.score_after >= abs(result.score_before) - 0.011
        if "identity" in result.reason:
            assert result.matrix == pytest.approx(np.eye(2, 3))


def test_the_same_film_stays_where_it_is():
    film = chest_with_vessels(128)
    result = register(film, film)
    assert result.score_before == pytest.approx(1.0)
    assert result.matrix == pytest.approx(np.eye(2, 3), abs=1e-6)
    assert result.accepted
    assert "identity" in result.reason


def test_the_same_films_give_the_same_matrix():
    a, b = chest_with_vessels(96), np.roll(chest_with_vessels(96), 5, axis=0)
    assert np.array_equal(register(a, b).matrix, register(a, b).matrix)


@pytest.mark.parametrize(
    ("film", "word"),
    [(np.zeros((64, 64)), "blank"), (np.full((64, 64), 9, np.uint8), "blank"), (np.eye(8), "tiny")],
)
def test_what_is_no_film_is_not_accepted(film, word):
    for prior, current, name in ((film, chest_with_vessels(64), "prior"), (chest_with_vessels(64), film, "current")):
        result = register(prior, current)
        assert not result.accepted
        assert result.reason.startswith(f"the {name} film is {word}")
        assert np.isnan(result.score_after)
        assert result.warp(prior).shape == current.shape


def test_the_threshold_decides():
    a, b = chest_with_vessels(96), np.roll(chest_with_vessels(96), 5, axis=0)
    assert register(a, b, threshold=-1.0).accepted
    refused = register(a, b, threshold=1.0)
    assert not refused.accepted
    assert "below 1" in refused.reason


def test_a_spline_follows_what_an_affine_map_cannot_and_does_not_fold():
    film = chest_with_vessels(256)
    current, true_displacement = bent(film, 12.0)
    inside = np.s_[48:-48, 48:-48]
    true_points = affine.grid((256, 256)) + true_displacement
    results = {transform: register(film, current, transform=transform) for transform in ("affine", "bspline")}
    errors = {name: np.linalg.norm(r.points() - true_points, axis=-1)[inside].mean() for name, r in results.items()}
    assert results["affine"].displacement is None
    assert results["bspline"].matrix is None
    assert results["bspline"].displacement.shape == (7, 7, 2)
    assert errors["bspline"] < 0.3 * errors["affine"]
    points = results["bspline"].points()
    (xy, xx), (yy, yx) = (np.gradient(points[..., k]) for k in (0, 1))
    assert (xx * yy - xy * yx > 0.3).all()


def test_a_spline_in_pixels_holds_an_affine_map_exactly():
    matrix = np.array([[1.05, -0.1, 0.06], [0.08, 0.97, -0.04]])
    shape, prior_shape = (90, 120), (100, 70)
    control = spline.in_pixels(spline.after(matrix, np.zeros((7, 7, 2))), shape, prior_shape)
    found = affine.grid(shape) + spline.at_pixels(control, shape)
    true = affine.applied(affine.between(matrix, shape, prior_shape), affine.grid(shape))
    assert np.abs(found - true).max() < 1e-9


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[1.5, 0, 0], [0, 1.5, 0]], "scale 1.50"),
        ([[1.2, 0, 0], [0, 0.9, 0]], "shear or stretch 1.33"),
        ([[1, 0.3, 0], [0, 1, 0]], "shear or stretch"),
        ([[0, -1, 0], [1, 0, 0]], "rotation 90"),
        ([[1, 0, 0.9], [0, 1, 0]], "shift 0.45"),
        ([[1.3, 0, 0.7], [0, 1.3, 0.7]], "overlap"),
        ([[-1, 0, 0], [0, 1, 0]], "a reflection"),
        ([[1.02, -0.1, 0.1], [0.1, 1.02, 0]], ""),
    ],
)
def test_what_is_implausible_is_said(matrix, words):
    objection = affine.Limits().objection(np.array(matrix, float), (64, 64), (64, 64))
    assert objection.startswith(words)
    assert bool(objection) == bool(words)


@pytest.mark.parametrize(
    "linear", [[[0.7, 0], [0, 0.7]], [[1.5, 0], [0, 1.5]], [[0.82, -0.57], [0.57, 0.82]], [[1, 0.3], [0, 1]]]
)
def test_no_result_lies_beyond_the_limits(linear):
    """The true map scales, turns or shears too much: it fits perfectly, and yet it is not the result."""
    film = chest_with_vessels(128)
    middle = np.full(2, 63.5)
    current = seen_through(film, np.column_stack([linear, middle - linear @ middle]))
    result = register(film, current)
    units = affine.compose(affine.units_of((128, 128)), affine.compose(result.matrix, affine.pixels_of((128, 128))))
    assert affine.Limits().objection(units, (128, 128), (128, 128)) == ""
    assert result.score_after >= abs(result.score_before)


def test_an_unknown_transform_is_a_mistake():
    with pytest.raises(ValueError, match="warped"):
        register(chest_with_vessels(64), chest_with_vessels(64), transform="warped")


def test_the_true_transform_of_real_films_is_found(films):
    errors = errors_of([square(path) for path in paths(films)[::6]])
    assert np.median(errors) <= 1.5
    assert np.percentile(errors, 95) <= 4.0


def test_real_pairs_fit_better_and_none_worse(films):
    before, after = [], []
    for pair in pairs(films)[::4]:
        prior, current = (square(path) for path in pair)
        before.append(correlation(prior, current))
        after.append(correlation(register(prior, current).warp(prior), current))
    assert np.mean(after) >= 0.60
    assert np.min(np.subtract(after, before)) >= -0.02
