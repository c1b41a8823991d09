"""The columns that a generated picture gets beside the real ones of its pair, on pictures whose truth is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skimage.metrics import structural_similarity

from biomedjourney import pixels, tables
from biomedjourney.errors import UserError
from biomedjourney.evaluate import comparisons
from biomedjourney.evaluate.pictures import Pictures, RealPictures
from biomedjourney.phantom.anatomy import sample
from biomedjourney.phantom.draw import draw
from biomedjourney.phantom.state import Acquisition, Findings

TRIPLES = pd.DataFrame({"pair_id": ["1-2", "2-3", "3-4"], "dicom_id": ["b", "c", "d"]})
ACQUISITION = Acquisition(noise=0.0)
WELL, SICK = Findings(), Findings(pleural_effusion=(0.0, 0.9))
GREY = np.linspace(0, 1, 16 * 16, dtype=np.float32).reshape(16, 16)


def as_stored(picture: np.ndarray) -> np.ndarray:
    return pixels.decode_png(pixels.encode_png(picture))


def written(folder: Path) -> tuple[list[Path], list[Path]]:
    """Shards of the tables `registered` and `pixels` of TRIPLES: priors 0.25 times GREY, films 0.5 times GREY."""
    rows = [{"pair_id": p, "png": pixels.encode_png(GREY * 0.25), "coverage": None} for p in TRIPLES["pair_id"]]
    mask = np.zeros((16, 16))
    mask[4:] = 1
    rows[1]["coverage"] = pixels.encode_png(mask)
    common = {"inverted": False, "to_original": None, "reason": ""}
    films = [{"dicom_id": d, "png": pixels.encode_png(GREY * 0.5)} | common for d in ("a", "b", "c", "d")]
    shards = []
    for name, content in (("registered", rows), ("pixels", films)):
        paths = [folder / f"{name}-{i}.parquet" for i in range(2)]
        for path, part in zip(paths, (content[:2], content[2:]), strict=True):
            tables.write_stream(path, name, [part])
        shards.append(paths)
    return shards[0], shards[1]


def test_a_batch_holds_the_real_pictures_of_its_pairs_in_their_order(tmp_path: Path) -> None:
    registered, films = written(tmp_path)
    priors = tables.read(registered[1], "registered")
    priors["png"] = [pixels.encode_png(GREY)]
    tables.write(registered[1], "registered", priors)
    generated = np.stack([GREY, GREY / 2, GREY / 4])
    batch = RealPictures(TRIPLES, registered, films).beside(["3-4", "1-2", "3-4"], generated)
    np.testing.assert_array_equal(batch.prior, [as_stored(GREY), as_stored(GREY * 0.25), as_stored(GREY)])
    np.testing.assert_array_equal(batch.current, [as_stored(GREY * 0.5)] * 3)
    assert batch.covered.all()
    assert batch.generated is generated
    covered = RealPictures(TRIPLES, registered, films).beside(["2-3"], GREY[None]).covered
    np.testing.assert_array_equal(covered[0].mean(axis=1), [0.0] * 4 + [1.0] * 12)


def test_a_picture_that_is_missing_or_of_another_size_is_refused(tmp_path: Path) -> None:
    registered, films = written(tmp_path)
    with pytest.raises(UserError, match=r"1 of 3 pictures are missing: give every shard of the table registered"):
        RealPictures(TRIPLES, registered[:1], films)
    with pytest.raises(UserError, match=r"1 of 3 pictures are missing: give every shard of the table pixels"):
        RealPictures(TRIPLES, registered, films[1:])
    with pytest.raises(UserError, match=r"pair 1-2: the generated picture has \(8, 8\) pixels, the registered prior"):
        RealPictures(TRIPLES, registered, films).beside(["1-2"], np.zeros((1, 8, 8), np.float32))
    rows = tables.read(films[1], "pixels").assign(png=None, reason="it cannot be read")
    tables.write(films[1], "pixels", rows)
    with pytest.raises(UserError, match="dicom_id c of a test pair has no picture"):
        RealPictures(TRIPLES, registered, films).beside(["2-3"], GREY[None])


def beside(generated: np.ndarray, covered: np.ndarray | None = None, current: np.ndarray | None = None) -> Pictures:
    """One pair whose prior is GREY; the current picture is the prior too, and all is covered, unless given."""
    mask = np.ones(GREY.shape, bool) if covered is None else covered
    return Pictures(generated[None], GREY[None], mask[None], (GREY if current is None else current)[None])


def test_the_difference_to_the_prior_is_taken_where_the_prior_has_data() -> None:
    def difference(pictures: Pictures) -> float:
        return float(comparisons.difference_to_prior(pictures)["difference_to_prior"].iloc[0])

    assert difference(beside(GREY)) == 0
    assert difference(beside(GREY + 0.1)) == pytest.approx(0.1)
    darker = GREY.copy()
    darker[:4] -= 0.2
    assert difference(beside(darker)) == pytest.approx(0.05)
    uncovered = np.ones(GREY.shape, bool)
    uncovered[:4] = False
    assert difference(beside(darker, uncovered)) == 0
    assert np.isnan(difference(beside(darker, np.zeros(GREY.shape, bool))))


def film(findings: Findings = WELL, race: str = "White") -> np.ndarray:
    """A film of one patient, float32 (64, 64) in [0, 1]; only what is given differs between two of them."""
    anatomy = sample(np.random.default_rng(3), "F", race)
    return draw(anatomy, 60.0, findings, ACQUISITION, 64, np.random.default_rng(0)).astype(np.float32) / 255


def of_films(generated: np.ndarray, current: np.ndarray, covered: np.ndarray | None = None) -> Pictures:
    """One pair whose prior is the film of the well patient."""
    mask = np.ones((64, 64), bool) if covered is None else covered
    return Pictures(generated[None], film()[None], mask[None], current[None])


def similarity(pictures: Pictures) -> float:
    return float(comparisons.ssim_unchanged(pictures)["ssim_unchanged"].iloc[0])


def test_the_changed_area_is_where_a_finding_was_drawn() -> None:
    area = comparisons.changed_area(of_films(film(), film(SICK)))[0]
    assert 0.02 < area.mean() < 0.25
    rows, columns = np.nonzero(area)
    assert columns.min() > 32  # the patient's left is on the right of the picture
    assert np.median(rows) > 32
    drawn = np.abs(film(SICK) - film())
    assert drawn[area].mean() > 10 * drawn[~area].mean()


def test_exposure_and_grain_are_no_change() -> None:
    assert not comparisons.changed_area(of_films(film(), 0.8 * film() + 0.15)).any()
    grain = np.random.default_rng(0).normal(0, 0.03, (64, 64)).astype(np.float32)
    assert not comparisons.changed_area(of_films(film(), film() + grain)).any()
    assert comparisons.changed_area(of_films(film(), film(SICK) * 0.8 + 0.15)).any()


def test_uncovered_pixels_are_neither_changed_nor_compared() -> None:
    covered = np.ones((64, 64), bool)
    covered[:, 32:] = False
    assert not comparisons.changed_area(of_films(film(), film(SICK), covered)).any()
    spoiled = film()
    spoiled[:, 32:] = 0.5
    assert similarity(of_films(spoiled, film(SICK), covered)) == pytest.approx(1.0)
    assert np.isnan(similarity(of_films(film(), film(), np.zeros((64, 64), bool))))


def test_an_edit_inside_the_changed_area_keeps_the_rest_and_another_patient_does_not() -> None:
    area = comparisons.changed_area(of_films(film(), film(SICK)))[0]
    edited = np.where(area, film(SICK), film())
    assert similarity(of_films(film(), film(SICK))) == pytest.approx(1.0)
    assert similarity(of_films(edited, film(SICK))) == pytest.approx(1.0)
    assert similarity(of_films(film(SICK), film(SICK))) > 0.9
    blurred = (film() + np.roll(film(), 2, axis=0) + np.roll(film(), -2, axis=1)) / 3
    stranger = film(race="Black")
    assert 1 > similarity(of_films(blurred, film(SICK))) > similarity(of_films(stranger, film(SICK)))
    nowhere = np.where(area, film(), film() + 0.2 * (np.indices((64, 64)).sum(axis=0) % 8 < 4))
    assert similarity(of_films(nowhere, film(SICK))) < 0.8


def test_the_similarity_of_an_unchanged_pair_is_that_of_scikit_image() -> None:
    noisy = np.clip(film() + np.random.default_rng(1).normal(0, 0.1, (64, 64)), 0, 1).astype(np.float32)
    windows = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, expected = structural_similarity(film(), noisy, data_range=1.0, full=True, **windows)
    assert similarity(of_films(noisy, film())) == pytest.approx(expected.mean(), abs=1e-6)


class GreyJudges:
    """Judges whose every answer is the mean grey level of a picture."""

    labels = ("edema",)

    def pathology(self, pictures: np.ndarray) -> np.ndarray:
        return pictures.mean(axis=(1, 2))[:, None]

    def race(self, pictures: np.ndarray) -> np.ndarray:
        return np.repeat(self.pathology(pictures), 3, axis=1)

    def features(self, pictures: np.ndarray) -> np.ndarray:
        return np.stack([pictures.mean(axis=(1, 2)), pictures.std(axis=(1, 2))], axis=1)


def test_race_that_lies_in_grey_levels_alone_is_gone_once_intensities_are_matched() -> None:
    levels = np.sort(film(), axis=None)
    shown = np.stack([film(), 0.5 * film(), film() ** 2])
    batch = Pictures(shown, shown, np.ones(shown.shape, bool), shown)
    matched = comparisons.matched_race_scores(batch, GreyJudges(), levels)
    assert list(matched) == ["matched_race_Asian", "matched_race_Black", "matched_race_White"]
    assert np.ptp(GreyJudges().race(shown)[:, 0]) > 0.1
    np.testing.assert_allclose(matched["matched_race_Asian"], levels.mean(), atol=0.01)


@pytest.mark.parametrize("border", [0, 1, 3])
def test_every_picture_gets_the_same_grey_levels_however_wide_its_black_border(border: int) -> None:
    levels, shown = np.sort(film(), axis=None), film().copy()
    shown[:border] = shown[len(shown) - border :] = 0.0
    seen = []

    class Seeing(GreyJudges):
        def race(self, pictures: np.ndarray) -> np.ndarray:
            seen.append(pictures)
            return super().race(pictures)

    comparisons.matched_race_scores(
        Pictures(*[shown[None]] * 2, np.ones((1, *shown.shape), bool), shown[None]), Seeing(), levels
    )
    np.testing.assert_array_equal(np.sort(seen[0], axis=None), levels.astype(np.float32))
    before, after = (picture[border : len(shown) - border].ravel() for picture in (shown, seen[0][0]))
    assert (np.diff(after[np.lexsort((after, before))]) >= 0).all(), "a brighter pixel stays brighter"


def test_grey_levels_are_the_mean_of_the_current_pictures_rank_by_rank(tmp_path: Path) -> None:
    registered, films = written(tmp_path)
    found = RealPictures(TRIPLES, registered, films).grey_levels(batch_size=2)
    np.testing.assert_allclose(found, np.sort(as_stored(GREY * 0.5), axis=None), atol=1e-6)


def test_features_and_scores_of_the_prior_stand_beside_those_of_the_picture() -> None:
    batch = of_films(film(SICK), film(SICK))
    training = GreyJudges().features(np.stack([film(), film() * 0.5])).astype(np.float16)
    row = comparisons.feature_columns(batch, GreyJudges(), training).iloc[0]
    expected = GreyJudges().features(film(SICK)[None])
    np.testing.assert_allclose(row["features"], expected[0], atol=1e-3)
    np.testing.assert_allclose(row["prior_features"], GreyJudges().features(film()[None])[0], atol=1e-3)
    assert not np.allclose(row["features"], row["prior_features"], atol=1e-3)
    assert row["distance_to_training"] == pytest.approx(np.linalg.norm(expected - training, axis=1).min(), abs=1e-3)
    assert comparisons.prior_scores(batch, GreyJudges())["prior_pathology_edema"].iloc[0] == pytest.approx(
        film().mean()
    )
