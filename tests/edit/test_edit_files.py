"""What the files of counterfactuals hold: pixels, marks, and of DICOM what makes a new instance."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner
from PIL import ExifTags, Image
from pydicom.uid import RLELossless

import biomedjourney
from biomedjourney.cli import commands
from tests.helpers import dicom_files

pytestmark = [
    pytest.mark.filterwarnings("ignore:the text is hardly English:UserWarning"),
    pytest.mark.usefixtures("visible"),
]
TEXT = 'brighter "ä"'


def edit(model: Path, prior: Path, out: Path, *words: str) -> None:
    words = ("edit", str(prior), TEXT, "--out", str(out), "--model", str(model), "--seed", "7", *words)
    assert CliRunner().invoke(commands, words, catch_exceptions=False).exit_code == 0


def big(film: np.ndarray, repeats: int = 4) -> np.ndarray:
    return np.kron(film, np.ones((repeats, repeats), film.dtype))


def test_only_the_owner_can_read_what_is_drawn_of_a_film(model: Path, film: np.ndarray, tmp_path: Path) -> None:
    prior, out = tmp_path / "film.png", tmp_path / "new"
    Image.fromarray(film).save(prior)
    before = os.umask(0o022)
    try:
        edit(model, prior, out / "edited.png", "--samples", "2", "--difference", str(out / "difference.png"))
    finally:
        assert os.umask(before) == 0o022
    written = [out, *out.iterdir()]
    assert len(written) == 6  # two pictures, their differences and a sheet
    assert [path for path in written if path.stat().st_mode & 0o077] == []


def test_a_png_says_that_it_is_synthetic_in_its_text_and_in_a_corner(
    model: Path, film: np.ndarray, tmp_path: Path
) -> None:
    Image.fromarray(big(film)).save(tmp_path / "film.png")
    edit(model, tmp_path / "film.png", tmp_path / "marked.png")
    edit(model, tmp_path / "film.png", tmp_path / "plain.png", "--no-mark")
    marked, plain = Image.open(tmp_path / "marked.png"), Image.open(tmp_path / "plain.png")
    for image in (marked, plain):
        image.load()
        assert image.info["Description"].startswith("Synthetic picture, not for clinical use: drawn by the model biom")
        record = json.loads(image.info["biomedjourney"])
        assert (record["synthetic"], record["text"], record["seed"]) == (True, TEXT, 7)
        assert record["model"].split()[0] == "biomedjourney"
        assert record["text_scale"] is not None
    differ = np.argwhere(np.asarray(marked) != np.asarray(plain))
    assert differ.min(axis=0) == pytest.approx([345, 250], abs=25)  # of 360 rows and 320 columns
    corner = np.asarray(marked)[-8:, -40:]
    assert {corner.min(), corner.max()} == {film.min(), film.max()}


def test_a_jpeg_says_that_it_is_synthetic_and_is_hardly_compressed_again(
    model: Path, film: np.ndarray, tmp_path: Path
) -> None:
    Image.fromarray((film / film.max() * 255).astype(np.uint8)).save(tmp_path / "film.jpg", quality=60, dpi=(150, 150))
    edit(model, tmp_path / "film.jpg", tmp_path / "edited.jpg", "--no-mark")
    with Image.open(tmp_path / "edited.jpg") as image, Image.open(tmp_path / "film.jpg") as prior:
        assert "Synthetic picture" in image.getexif()[ExifTags.Base.ImageDescription]
        assert json.loads(image.info["comment"])["text"] == TEXT
        assert image.quantization == prior.quantization
        assert image.info["dpi"] == (150, 150)


def dicom(path: Path, film: np.ndarray, **elements: Any) -> None:
    facts = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "SOPInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3"}
    facts |= {"StudyInstanceUID": "1.2", "PatientID": "p", "ImageType": ["ORIGINAL", "PRIMARY", "AP"]}
    dicom_files.write(path, film, **(facts | elements))


@pytest.mark.parametrize("big_endian", [False, True])
def test_a_dicom_comes_back_as_a_new_instance_marked_as_synthetic(
    model: Path, film: np.ndarray, tmp_path: Path, big_endian: bool
) -> None:
    dicom(tmp_path / "film.dcm", film, SmallestImagePixelValue=3, little_endian=not big_endian)
    edit(model, tmp_path / "film.dcm", tmp_path / "edited.dcm", "--no-mark")
    before, after = (pydicom.dcmread(tmp_path / name) for name in ("film.dcm", "edited.dcm"))
    assert (after.BitsAllocated, after.BitsStored, after.HighBit) == (16, 12, 11)
    expected = biomedjourney.edit(tmp_path / "film.dcm", TEXT, model, seed=7)
    np.testing.assert_array_equal(after.pixel_array, expected)
    assert (after.pixel_array != before.pixel_array).mean() > 0.3
    assert after.SOPInstanceUID != before.SOPInstanceUID
    assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID
    assert after.SeriesInstanceUID != before.SeriesInstanceUID
    assert (after.StudyInstanceUID, after.PatientID) == (before.StudyInstanceUID, before.PatientID)
    assert list(after.ImageType) == ["DERIVED", "SECONDARY", "AP"]
    assert after.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
    assert "SYNTHETIC" in after.SeriesDescription
    assert "Synthetic" in after.DerivationDescription
    assert json.loads(after.ImageComments)["seed"] == 7
    assert json.loads(after.ImageComments)["text"] == TEXT
    assert "SmallestImagePixelValue" not in after
    assert after.BurnedInAnnotation == "NO"


def test_a_compressed_mirrored_dicom_with_dark_bones_keeps_its_form(
    model: Path, film: np.ndarray, tmp_path: Path
) -> None:
    plain, path = tmp_path / "plain.dcm", tmp_path / "film.dcm"
    dark = {"PhotometricInterpretation": "MONOCHROME1", "PatientOrientation": ["R", "F"]}
    dicom(plain, (4095 - film)[:, ::-1], **dark)
    dataset = pydicom.dcmread(plain)
    dataset.compress(RLELossless)
    dataset.save_as(path)
    edit(model, path, tmp_path / "edited.dcm", "--no-mark")
    after = pydicom.dcmread(tmp_path / "edited.dcm")
    assert after.PhotometricInterpretation == "MONOCHROME1"
    assert list(after.PatientOrientation) == ["R", "F"]
    upright = biomedjourney.edit(film, TEXT, model, seed=7)
    shown = 4095 - after.pixel_array[:, ::-1].astype(int)
    assert (upright != film).mean() > 0.3
    assert np.abs(shown - upright).max() <= 1
    edit(model, path, tmp_path / "marked.dcm")
    marked = pydicom.dcmread(tmp_path / "marked.dcm")
    assert marked.BurnedInAnnotation == "YES"
    assert (marked.pixel_array != after.pixel_array)[-8:, :40].any()  # the corner on the right of what a viewer shows


def test_a_dicom_as_png_is_what_a_viewer_shows(model: Path, film: np.ndarray, tmp_path: Path) -> None:
    dicom(tmp_path / "film.dcm", 4095 - film, PhotometricInterpretation="MONOCHROME1")
    edit(model, tmp_path / "film.dcm", tmp_path / "edited.png", "--no-mark")
    with Image.open(tmp_path / "edited.png") as image:
        assert image.mode == "I;16"
        shown = np.asarray(image) / 65535
    expected = biomedjourney.edit(film, TEXT, model, seed=7).astype(float)
    assert np.abs(shown - (expected - film.min()) / (int(film.max()) - int(film.min()))).max() < 0.01


def test_samples_are_files_with_a_sheet_and_differences(model: Path, film: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(film).save(tmp_path / "film.png")
    difference = ("--difference", str(tmp_path / "diff.png"))
    edit(model, tmp_path / "film.png", tmp_path / "e.png", "--samples", "2", "--no-mark", *difference)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"film.png", "e-1.png", "e-2.png", "e-sheet.png", "diff-1.png", "diff-2.png"}
    for number in (0, 1):
        written = np.asarray(Image.open(tmp_path / f"e-{number + 1}.png"))
        expected = biomedjourney.edit(film, TEXT, model, seed=7 + number)
        np.testing.assert_array_equal(written, expected)
        shown = np.asarray(Image.open(tmp_path / f"diff-{number + 1}.png")).astype(int)
        denser, less_dense = (shown[..., a] - shown[..., 1] > 60 for a in (0, 2))
        moved = expected.astype(int) - film
        assert (moved[denser] >= 0).all()
        assert (moved[less_dense & ~denser] <= 0).all()  # 0 where a pixel is the darkest of the film
        grey = shown.std(axis=-1) < 2
        assert (moved[grey] == 0).mean() > 0.9
        assert denser.any() or less_dense.any()
    assert Image.open(tmp_path / "e-sheet.png").size == (3 * 80, 90)
