"""Wrong raw files give one line with the file and the remedy, and no output."""

import gzip
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from tests.helpers.raw_files import RawFiles, raw_files, report_name, write_tar

NAMES = ("patients", "studies", "images", "cohort", "exclusions")
METADATA, SPLIT, CHEXPERT = (f"mimic-cxr-2.0.0-{name}.csv.gz" for name in ("metadata", "split", "chexpert"))


def drop_column(table: str, column: str, renamed: str | None = None) -> Callable[[RawFiles], None]:
    def change(raw: RawFiles) -> None:
        for row in getattr(raw, table):
            value = row.pop(column)
            if renamed:
                row[renamed] = value

    return change


def add_report(name: str, content: bytes) -> Callable[[RawFiles], None]:
    return lambda raw: raw.reports.__setitem__(name, content)


BAD_ROWS: dict[str, tuple[Callable[[RawFiles], None], str]] = {
    "a column missing": (drop_column("metadata", "Rows"), f"{METADATA}: column 'Rows' is missing"),
    "a column renamed": (
        drop_column("metadata", "ViewPosition", "view_position"),
        "column 'ViewPosition' is missing; is 'view_position' meant? rename it",
    ),
    "a label column missing": (drop_column("chexpert", "Edema"), f"{CHEXPERT}: column 'Edema' is missing"),
    "no race column": (drop_column("admissions", "race"), "admissions.csv.gz: column 'race' is missing"),
    "no anchor": (drop_column("patients", "anchor_year"), "patients.csv.gz: column 'anchor_year' is missing"),
    "a zip that climbs": (add_report("../../etc/s50000009.txt", b""), "the entry '../../etc/s50000009.txt' leads out"),
    "a zip from the root": (add_report("/files/p10/p10000032/s50000001.txt", b""), "leads out of the folder"),
    "a climbing path of Windows": (add_report("files\\..\\..\\p10000032\\s50000009.txt", b""), "leads out"),
    "no report at all": (lambda raw: raw.reports.clear(), "holds no report named"),
    "reports of other studies": (
        lambda raw: (raw.reports.clear(), raw.reports.update({report_name(10000032, 50000001): b"x"}))[0],
        "no study of the metadata has a report: set data.images and data.reports to the same data set",
    ),
}


def cut(path: Path, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def rewrite_gzip(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))


def damage_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entry = archive.infolist()[-1]
    content = bytearray(path.read_bytes())
    content[entry.header_offset + 30 + len(entry.filename) + 5] ^= 0xFF
    path.write_bytes(content)


def mark_encrypted(path: Path) -> None:
    content = path.read_bytes()
    place = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1) + 8
    path.write_bytes(content[:place] + bytes([content[place] | 1]) + content[place + 1 :])


def as_cut_tar(raw: RawFiles) -> None:
    raw.reports_path.unlink()
    write_tar(raw.reports_path, {name: os.urandom(3000).hex().encode() for name in raw.reports})
    content = raw.reports_path.read_bytes()
    raw.reports_path.with_suffix("").with_suffix(".tar.gz").write_bytes(content[: len(content) // 2])


BAD_FILES: dict[str, tuple[Callable[[RawFiles], None], str]] = {
    "no metadata": (
        lambda raw: (raw.jpg / METADATA).unlink(),
        "mimic-cxr-2.0.0-metadata.csv.gz (or .csv) is not there",
    ),
    "no reports": (lambda raw: raw.reports_path.unlink(), "mimic-cxr-reports.zip: is not there: set data.reports"),
    "metadata cut off": (lambda raw: cut(raw.jpg / METADATA), f"{METADATA}: cut off or damaged"),
    "admissions cut off": (lambda raw: cut(raw.folder / "hosp/admissions.csv.gz", 0.9), "admissions.csv.gz: cut off"),
    "no gzip": (lambda raw: (raw.jpg / SPLIT).write_text("dicom_id,split\n"), f"{SPLIT}: cut off or damaged"),
    "an empty file": (lambda raw: (raw.jpg / SPLIT).write_bytes(gzip.compress(b"")), f"{SPLIT}: is empty"),
    "a header alone": (
        lambda raw: rewrite_gzip(raw.jpg / CHEXPERT, lambda text: text.partition(b"\n")[0] + b"\n"),
        f"{CHEXPERT}: has a header and no rows",
    ),
    "a column twice": (
        lambda raw: rewrite_gzip(raw.jpg / METADATA, lambda text: text.replace(b"Columns", b"Rows", 1)),
        f"{METADATA}: column 'Rows' occurs 2 times: keep one",
    ),
    "a short row": (
        lambda raw: rewrite_gzip(raw.jpg / SPLIT, lambda text: text + b"x,1\r\n"),
        f"{SPLIT}, line 12: 2 values in a row, expected 4",
    ),
    "a row with more values in all lines": (
        lambda raw: rewrite_gzip(raw.jpg / SPLIT, lambda text: text.replace(b",train", b",train,x")),
        f"{SPLIT}: no row has as many values as there are column names, 4",
    ),
    "a header in UTF-16": (
        lambda raw: rewrite_gzip(raw.jpg / SPLIT, lambda text: text.decode().encode("utf-16")),
        f"{SPLIT}: the column names are not UTF-8",
    ),
    "a folder in place of a file": (
        lambda raw: ((raw.jpg / METADATA).unlink(), (raw.jpg / METADATA).mkdir())[0],
        "mimic-cxr-2.0.0-metadata.csv.gz (or .csv) is not there",
    ),
    "a quote that never closes": (
        lambda raw: rewrite_gzip(raw.jpg / SPLIT, lambda text: text.replace(b",train", b',"train', 1)),
        f"{SPLIT}, line 2: split is 'train",
    ),
    "a quote that closes in another row": (
        lambda raw: rewrite_gzip(raw.jpg / SPLIT, lambda text: text.replace(b",train", b',"train', 1) + b'"\r\n'),
        f"{SPLIT}, line 2: split is 'train",
    ),
    "a quote in a column that is not read": (
        lambda raw: rewrite_gzip(
            raw.jpg / SPLIT,
            lambda text: text.replace(b",50000009,", b',"50000009,', 1).replace(b",50000003,", b',50000003",', 1),
        ),
        f"{SPLIT}, line 2: study_id is '50000009,10000032,train",
    ),
    "a zip encrypted": (lambda raw: mark_encrypted(raw.reports_path), "is encrypted or packed in an unusual way"),
    "a zip cut off": (lambda raw: cut(raw.reports_path), "mimic-cxr-reports.zip: cut off, or not a zip file"),
    "a zip damaged": (lambda raw: damage_zip(raw.reports_path), "mimic-cxr-reports.zip: cut off or damaged"),
}


def assert_one_line(raw: RawFiles, message: str, settings: dict | None = None) -> None:
    out = raw.folder / "out"
    flags = [word for name in NAMES for word in (f"--{name}", str(out / f"{name}.parquet"))]
    config = json.dumps(settings or raw.settings())
    result = CliRunner().invoke(commands, ["ingest", "tables", "--config", config, *flags])
    assert isinstance(result.exception, UserError), result.output
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert "are clear" not in result.output + str(result.exception), "a sentence of the reports"
    assert not out.exists()


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows(tmp_path: Path, case: str) -> None:
    change, message = BAD_ROWS[case]
    raw = raw_files(tmp_path)
    change(raw)
    raw.write()
    assert_one_line(raw, message)


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(tmp_path: Path, case: str) -> None:
    change, message = BAD_FILES[case]
    raw = raw_files(tmp_path)
    raw.write()
    change(raw)
    assert_one_line(raw, message)


@pytest.mark.parametrize("key", ["images", "reports", "demographics"])
def test_a_path_that_leads_nowhere(tmp_path: Path, key: str) -> None:
    raw = raw_files(tmp_path)
    raw.write()
    settings = raw.settings()
    settings["data"][key] = str(tmp_path / "nowhere")
    assert_one_line(raw, f"set data.{key}", settings)


def test_a_tar_cut_off(tmp_path: Path) -> None:
    raw = raw_files(tmp_path)
    raw.write()
    as_cut_tar(raw)
    settings = raw.settings()
    settings["data"]["reports"] = str(raw.reports_path.with_suffix(".tar.gz"))
    assert_one_line(raw, "mimic-cxr-reports.tar.gz: cut off or damaged", settings)


def test_no_radiologists_labels(tmp_path: Path) -> None:
    raw = raw_files(tmp_path)
    raw.write()
    settings = raw.settings()
    settings["ingest"]["test_set_labels"] = True
    assert_one_line(raw, "mimic-cxr-2.1.0-test-set-labeled.csv.gz (or .csv) is not there", settings)


def test_a_tar_that_climbs(tmp_path: Path) -> None:
    raw = raw_files(tmp_path)
    raw.write()
    settings = raw.settings()
    settings["data"]["reports"] = str(tmp_path / "reports.tar.gz")
    write_tar(tmp_path / "reports.tar.gz", raw.reports | {"files/../../p10000032/s50000009.txt": b""})
    assert_one_line(raw, "leads out of the folder", settings)


def test_a_source_of_reports_that_is_neither_zip_nor_tar(tmp_path: Path) -> None:
    raw = raw_files(tmp_path)
    raw.write()
    settings = raw.settings()
    settings["data"]["reports"] = str(tmp_path / "reports.pdf")
    Path(settings["data"]["reports"]).write_bytes(b"%PDF-1.7 " * 100)
    assert_one_line(raw, "reports.pdf: cut off or damaged", settings)


@hypothesis_settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_damage_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """One raw file has changed, missing or new bytes, inside the gzip or outside: tables, or one line and no output."""
    raw = raw_files(tmp_path_factory.mktemp("damaged"))
    raw.write()
    files = sorted(path for path in raw.folder.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    inside = path.suffix == ".gz" and data.draw(st.booleans())
    content = bytearray(gzip.decompress(path.read_bytes()) if inside else path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    damage = data.draw(st.sampled_from(["change", "drop", "cut", "insert"]))
    if damage == "change":
        content[place] ^= data.draw(st.integers(1, 255))
    elif damage == "insert":
        content[place:place] = data.draw(st.binary(min_size=1, max_size=5))
    else:
        del content[place : place + 1 if damage == "drop" else len(content)]
    path.write_bytes(gzip.compress(bytes(content)) if inside else bytes(content))
    out = raw.folder / "out"
    flags = [word for name in NAMES for word in (f"--{name}", str(out / f"{name}.parquet"))]
    result = CliRunner().invoke(commands, ["ingest", "tables", "--config", json.dumps(raw.settings()), *flags])
    if result.exit_code == 0:
        assert len(list(out.iterdir())) == len(NAMES)
    else:
        assert isinstance(result.exception, UserError), result.exception
        assert "\n" not in str(result.exception)
        assert "are clear" not in result.output + str(result.exception), "a sentence of the reports"
        assert not out.exists()


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test itself refuses permission, because root, who runs tests in containers, may read everything."""
    raw = raw_files(tmp_path)
    raw.write()
    closed = tmp_path / "closed"
    closed.mkdir()
    scandir = os.scandir

    def refuse(path: str | os.PathLike[str]) -> object:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(closed))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    settings = raw.settings()
    settings["data"]["reports"] = str(closed)
    assert_one_line(raw, f"{closed}: no permission to read it: grant it", settings)
