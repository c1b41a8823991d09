"""The likeness of pictures of several seeds: known values, and which pictures are compared with each other."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from biomedjourney import pixels, tables
from biomedjourney.evaluate import diversity


def smooth(seed: int, side: int = 64) -> np.ndarray:
    """A picture of large and small structures, float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    layers = [rng.random((n, n)).repeat(side // n, axis=0).repeat(side // n, axis=1) for n in (4, 16)]
    return np.mean(layers, axis=0).astype(np.float32)


def test_equal_pictures_have_one_and_more_noise_has_less() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (64, 64)).astype(np.float32)
    pictures = [np.clip(smooth(1) + share * noise, 0, 1) for share in (0.0, 0.02, 0.1)]
    values = [diversity.mean_ms_ssim(np.stack([smooth(1), picture]))[0] for picture in pictures]
    assert values[0] == pytest.approx(1.0, abs=1e-6)
    assert 1 > values[1] > values[2] > diversity.mean_ms_ssim(np.stack([smooth(1), smooth(2)]))[0] >= 0


def test_one_scale_is_the_similarity_of_scikit_image() -> None:
    first, second = (np.pad(smooth(seed, side=16)[:9, :9], 6, constant_values=0.5) for seed in (3, 4))
    mixed = 0.7 * first + 0.3 * second  # flat at the borders, where the two libraries lay their windows differently
    expected = structural_similarity(
        first, mixed, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )[1]
    assert diversity.scales(21) == 1
    assert diversity.mean_ms_ssim(np.stack([first, mixed]))[0] == pytest.approx(expected.mean(), abs=1e-4)


@given(st.integers(11, 300))
def test_there_are_as_many_scales_as_fit(side: int) -> None:
    count = diversity.scales(side)
    assert diversity.scales(side + 1) >= count
    assert side // 2 ** (count - 1) >= diversity.WINDOW
    assert (diversity.scales(64), diversity.scales(256)) == (3, 5)


@pytest.mark.parametrize("side", [16, 43, 44, 98, 99, 175, 176])
def test_pictures_of_every_side_are_compared(side: int) -> None:
    picture = np.random.default_rng(5).random((side, side), dtype=np.float32)
    np.testing.assert_allclose(diversity.mean_ms_ssim(np.stack([picture, picture])), 1.0, atol=1e-5)


def generated(path: Path, rows: list[tuple[int, int, str, np.ndarray]]) -> Path:
    names = ["training_seed", "seed", "pair_id", "png"]
    written = pd.DataFrame([(*key, pixels.encode_png(picture)) for *key, picture in rows], columns=names)
    tables.write(path, "generated", written)
    return path


def test_a_picture_is_compared_with_the_other_seeds_of_its_pair_and_its_model(tmp_path: Path) -> None:
    a, b, c = smooth(1), smooth(2), 0.5 * smooth(1) + 0.5 * smooth(2)
    rows = [
        (0, 0, "p", a),
        (0, 0, "q", b),
        (0, 7, "q", b),
        (0, 7, "p", c),
        (0, 9, "p", a),
        (1, 0, "p", b),
        (1, 7, "p", b),
    ]
    found = diversity.likeness_of_seeds(generated(tmp_path / "0.parquet", rows))
    by_key = found.set_index(["training_seed", "seed", "pair_id"])["seeds_ms_ssim"]
    assert len(by_key) == len(rows)
    as_stored = [pixels.decode_png(pixels.encode_png(picture)) for picture in (a, c)]
    likeness = diversity.mean_ms_ssim(np.stack(as_stored))[0]
    assert 0 < likeness < 0.99
    assert by_key[0, 0, "p"] == by_key[0, 9, "p"] == pytest.approx((1 + likeness) / 2)
    assert by_key[0, 7, "p"] == pytest.approx(likeness)
    assert by_key[0, 7, "q"] == by_key[1, 0, "p"] == pytest.approx(1.0)


def test_with_one_seed_there_is_nothing_to_compare(tmp_path: Path) -> None:
    path = generated(tmp_path / "0.parquet", [(0, 0, "p", smooth(1)), (0, 0, "q", smooth(2))])
    assert diversity.likeness_of_seeds(path)["seeds_ms_ssim"].isna().all()
