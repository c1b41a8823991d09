"""Masks of lungs and heart: they lie where the film shows the organs, and only training patients have them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from biomedjourney import pixels, tables
from biomedjourney.measures import dice
from biomedjourney.phantom import anatomy, cohort, draw, organs
from biomedjourney.phantom.state import Acquisition, Findings

SIZE, SEED = 128, 5
BODIES = [anatomy.sample(np.random.default_rng(i), "FM"[i % 2], tables.RACES[i % 3]) for i in range(6)]


def masks(body: anatomy.Anatomy, findings: Findings = Findings(), **acquisition: float) -> dict[str, np.ndarray]:  # noqa: B008
    return draw.organ_masks(body, 50.0, findings, Acquisition(**acquisition), SIZE)


@pytest.mark.parametrize("body", BODIES)
def test_the_film_is_dark_in_the_lungs_and_bright_beside_them_and_in_the_heart(body: anatomy.Anatomy) -> None:
    where = Acquisition(rotation=4.0, shift_x=0.06, scale=0.95)
    film = draw.draw(body, 50.0, Findings(), where, SIZE, np.random.default_rng(0)) / 255.0
    found = draw.organ_masks(body, 50.0, Findings(), where, SIZE)
    assert not (found["lung"] & found["heart"]).any()
    assert film[found["heart"]].mean() > film[found["lung"]].mean() + 0.25
    # a ring along the border: a mask that lies a few pixels aside mixes its two sides
    outside = ndimage.binary_dilation(found["lung"], iterations=5) & ~ndimage.binary_dilation(found["lung"])
    inside = found["lung"] & ~ndimage.binary_erosion(found["lung"], iterations=5)
    assert film[outside].mean() > film[inside].mean() + 0.12


def test_the_masks_move_with_the_positioning_of_the_visit() -> None:
    centred, moved = masks(BODIES[0]), masks(BODIES[0], shift_x=8 / SIZE, shift_y=-4 / SIZE)
    turned, grown = masks(BODIES[0], rotation=8.0), masks(BODIES[0], scale=1.08)
    for organ, mask in centred.items():
        np.testing.assert_array_equal(moved[organ], np.roll(mask, (-4, 8), axis=(0, 1)))
        by_scipy = ndimage.rotate(mask.astype(np.uint8), 8.0, reshape=False, order=0) > 0
        assert dice(turned[organ], by_scipy) > 0.97
        assert grown[organ].sum() == pytest.approx(1.08**2 * mask.sum(), rel=0.03)


def test_a_larger_heart_takes_its_place_from_the_lungs_and_fluid_takes_none() -> None:
    for body in BODIES:
        well, wide = masks(body), masks(body, Findings(cardiomegaly=0.8))
        assert wide["heart"].sum() > 1.2 * well["heart"].sum()
        assert (well["heart"] <= wide["heart"]).all()
        assert (wide["lung"] <= well["lung"]).all()
        assert dice(wide["lung"], well["lung"]) > 0.85
    wet = masks(BODIES[0], Findings(pleural_effusion=(0.9, 0.9), edema=0.9))
    assert all((wet[organ] == mask).all() for organ, mask in masks(BODIES[0]).items())


def test_what_the_collimator_hides_belongs_to_no_organ() -> None:
    hidden = replace(Acquisition(), collimation=(0.3, 0.25, 0.0, 0.0))
    found, whole = (draw.organ_masks(BODIES[0], 50.0, Findings(), a, SIZE)["lung"] for a in (hidden, Acquisition()))
    assert not found[:, : round(0.3 * SIZE)].any()
    assert not found[: round(0.25 * SIZE)].any()
    assert found.sum() < 0.8 * whole.sum()
    np.testing.assert_array_equal(found[40:, 40:], whole[40:, 40:])


def test_the_table_holds_films_of_patients_that_are_not_for_testing(tmp_path: Path) -> None:
    assert organs.write(tmp_path / "organs.parquet", SEED, 20, SIZE, 12, 2) == 12
    rows = tables.read(tmp_path / "organs.parquet", "organs").set_index("dicom_id")
    people = [cohort.patient(SEED, identity) for identity in cohort.identities(SEED, 20)]
    films = {film.dicom_id: (p, s, film) for p in people for s in p.studies for film in s.films}
    marked = [films[name] for name in rows.index]
    assert len({p.subject_id for p, _, _ in marked}) == 12
    assert not any(str(p.subject_id).startswith("19") for p, _, _ in marked)
    for (person, study, film), row in zip(marked, rows.to_dict("records"), strict=True):
        body = anatomy.sample(cohort.stream(SEED, person.subject_id, 1), person.sex, person.race)
        expected = draw.organ_masks(body, study.age, study.findings, film.acquisition, SIZE)
        for organ, mask in expected.items():
            np.testing.assert_array_equal(pixels.decode_png(row[organ]), mask.astype(np.float32))


def test_a_small_cohort_has_masks_of_all_its_training_patients(tmp_path: Path) -> None:
    assert organs.write(tmp_path / "organs.parquet", SEED, 20, 64, 400, 1) == 17
    one, other = tmp_path / "organs.parquet", tmp_path / "again.parquet"
    organs.write(other, SEED, 20, 64, 400, 2)
    assert one.read_bytes() == other.read_bytes()
