"""A table of films and texts; what fails is a row."""

from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from click.testing import CliRunner
from PIL import Image

from biomedjourney.cli import commands
from biomedjourney.editing import edit_table
from biomedjourney.errors import UserError
from tests.helpers import dicom_files


@pytest.fixture
def cases(film: np.ndarray, tmp_path: Path) -> Path:
    Image.fromarray(film).save(tmp_path / "film.png")
    dicom_files.write(tmp_path / "film.dcm", film, SOPClassUID="1.2.840.10008.5.1.4.1.1.1", SOPInstanceUID="1.2.3.4")
    (tmp_path / "broken.png").write_text("no picture")
    rows = [("film.png", "brighter"), ("broken.png", "brighter"), ("film.dcm", "new edema"), ("film.png", " ")]
    rows += [("absent.png", "brighter")]
    pd.DataFrame(rows, columns=["path", "text"]).to_csv(tmp_path / "cases.csv")
    return tmp_path / "cases.csv"


def test_each_film_is_a_row_and_a_failure_is_one_too(model: Path, cases: Path, tmp_path: Path) -> None:
    words = ["edit", str(cases), "--out", str(tmp_path / "out"), "--model", str(model), "--samples", "2"]
    result = CliRunner().invoke(commands, words, catch_exceptions=False)
    assert result.exit_code == 0
    assert "6 pictures, 4 failures" in result.stderr
    rows = pd.read_csv(tmp_path / "out" / "edits.csv", keep_default_na=False)
    assert list(rows["row"]) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert list(rows["seed"]) == [0, 1] * 5
    assert list(rows["out"]) == [
        "0-film-1.png",
        "0-film-2.png",
        "",
        "",
        "2-film-1.dcm",
        "2-film-2.dcm",
        "3-film-1.png",
        "3-film-2.png",
        "",
        "",
    ]
    assert (rows["error"] == "").tolist() == [True, True, False, False, True, True, True, True, False, False]
    for row, reason in (
        (2, "broken.png: not a readable image"),
        (8, "absent.png: the image"),
    ):
        assert reason in rows["error"][row]
    assert "hardly English" in rows["warning"][0]
    assert "the text is empty" in rows["warning"][6]
    assert "hardly English" not in rows["warning"][4]
    for name in filter(None, rows["out"]):
        file = tmp_path / "out" / name
        shape = pydicom.dcmread(file).pixel_array.shape if file.suffix == ".dcm" else np.asarray(Image.open(file)).shape
        assert shape == (90, 80)


def test_parquet_in_is_parquet_out(model: Path, cases: Path, tmp_path: Path) -> None:
    table = pd.read_csv(cases, keep_default_na=False)[["path", "text"]][:2]
    table["path"] = [str(tmp_path / name) for name in table["path"]]
    table.to_parquet(tmp_path / "cases.parquet")
    rows = edit_table(tmp_path / "cases.parquet", tmp_path / "out", model, seed=4)
    written = pd.read_parquet(tmp_path / "out" / "edits.parquet")
    pd.testing.assert_frame_equal(rows, written, check_dtype=False)
    assert list(written["seed"]) == [4, 4]


def test_a_table_that_cannot_be_read_is_named(model: Path, cases: Path, tmp_path: Path) -> None:
    def refused(table: Path, folder: Path, message: str) -> None:
        with pytest.raises(UserError, match=message):
            edit_table(table, tmp_path / "out", folder)

    refused(cases, tmp_path / "nowhere", "nowhere: no model here")
    refused(tmp_path / "absent.csv", model, r"absent\.csv: the table cannot be read")
    pd.DataFrame({"path": ["a"]}).to_csv(tmp_path / "short.csv")
    refused(tmp_path / "short.csv", model, r"short\.csv: the column 'text' is missing")
    pd.DataFrame({"path": [], "text": []}).to_csv(tmp_path / "empty.csv")
    refused(tmp_path / "empty.csv", model, "no rows")
    pd.DataFrame({"path": ["broken.png"], "text": ["new edema"]}).to_csv(tmp_path / "all.csv")
    words = ["edit", str(tmp_path / "all.csv"), "--out", str(tmp_path / "out"), "--model", str(model)]
    result = CliRunner().invoke(commands, words)
    assert isinstance(result.exception, UserError)
    assert "every row failed" in str(result.exception)


def test_a_table_has_its_own_texts(model: Path, cases: Path, tmp_path: Path) -> None:
    words = ["edit", str(cases), "brighter", "--out", str(tmp_path / "out"), "--model", str(model)]
    assert CliRunner().invoke(commands, words).exit_code == 2
    assert CliRunner().invoke(commands, ["edit", str(tmp_path / "film.png"), "--out", "x.png"]).exit_code == 2
