"""The check of the image files, and raw files compared with their checksums."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from biomedjourney import tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from biomedjourney.ingest.files import check, verify
from biomedjourney.ingest.ingest import ingest
from tests.helpers.raw_files import RAMP, RawFiles, raw_files, write_dicom, write_jpeg


@pytest.fixture
def raw(tmp_path: Path) -> RawFiles:
    files = raw_files(tmp_path)
    files.write()
    return files


def with_images(raw: RawFiles, image_format: str = "jpg") -> tuple[dict[str, Any], list[Path]]:
    """Settings, and the image files that were written."""
    settings = raw.settings()
    settings["ingest"]["image_format"] = image_format
    if image_format == "dcm":
        settings["data"] |= {"images": str(raw.folder / "mimic-cxr"), "tables": str(raw.jpg)}
    images = ingest(settings)["images"]
    tables.write(raw.folder / "images.parquet", "images", images)
    paths = [Path(settings["data"]["images"]) / path for path in images["path"]]
    for path in paths:
        write_jpeg(path) if image_format == "jpg" else write_dicom(path)
    return settings, paths


def run(raw: RawFiles, settings: dict[str, Any]) -> dict[str, str]:
    """The problem of each image."""
    out = raw.folder / "files.parquet"
    root, checksums = Path(settings["data"]["images"]), settings["ingest"]["checksums"]
    check(root, raw.folder / "images.parquet", out, checksums, 1)
    rows = tables.read(out, "image_files")
    return dict(zip(rows["dicom_id"], rows["problem"], strict=True))


@pytest.mark.parametrize("image_format", ["jpg", "dcm"])
def test_missing_empty_truncated_and_foreign_files_are_found(raw: RawFiles, image_format: str) -> None:
    settings, paths = with_images(raw, image_format)
    assert set(run(raw, settings).values()) == {""}
    paths[0].unlink()
    paths[1].write_bytes(b"")
    paths[2].write_bytes(paths[2].read_bytes()[:-200])
    paths[3].write_bytes(b"<html>401 Unauthorized</html>" * 40)
    paths[4].write_bytes(paths[4].read_bytes()[: -len(paths[4].read_bytes()) // 3] + b"\0" * 3000)
    problems = run(raw, settings)
    kind = "JPEG" if image_format == "jpg" else "DICOM"
    assert [problems[path.stem] for path in paths[:4]] == ["missing", "empty", "truncated", f"not a {kind} file"]
    assert [problems[path.stem] for path in paths[5:]] == [""] * (len(paths) - 5)
    if image_format == "jpg":  # an unfinished download of full length, with zeros at its end
        assert problems[paths[4].stem] == "truncated"


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["jpg", "explicit.dcm", "implicit.dcm"])
def test_a_file_cut_anywhere_is_not_whole(tmp_path: Path, kind: str, share: float) -> None:
    from biomedjourney.ingest.files import examine

    path = tmp_path / f"film.{kind}"
    write_jpeg(path) if kind == "jpg" else write_dicom(path, implicit=kind.startswith("implicit"))
    assert examine(("x", path.name, None), tmp_path)["problem"] == ""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert examine(("x", path.name, None), tmp_path)["problem"]


def test_a_compressed_dicom_ends_with_its_delimiter(tmp_path: Path) -> None:
    from biomedjourney.ingest.files import examine

    pydicom = pytest.importorskip("pydicom")
    path = tmp_path / "film.dcm"
    write_dicom(path)
    film = pydicom.dcmread(path)
    film.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    film.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8" + b"\1" * 500 + b"\xff\xd9"])
    film["PixelData"].VR = "OB"
    film.save_as(path)
    assert examine(("x", path.name, None), tmp_path)["problem"] == ""
    path.write_bytes(path.read_bytes()[:-100])
    assert examine(("x", path.name, None), tmp_path)["problem"] == "truncated"


def test_paths_of_dicom_files_and_the_folder_of_the_tables(raw: RawFiles) -> None:
    _, paths = with_images(raw, "dcm")
    assert paths[0] == raw.folder / "mimic-cxr/files/p10/p10000032/s50000009/50000009-0.dcm"
    from biomedjourney.preprocess.files import read

    grey, shape, _ = read(paths[0], 64)
    assert shape == RAMP.shape
    assert grey[0, 0] > grey[-1, -1]  # MONOCHROME1: zero is white


def sum_up(root: Path) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "SHA256SUMS.txt")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(root).as_posix()}\n" for path in files]
    (root / "SHA256SUMS.txt").write_text("".join(lines))


def test_image_files_are_compared_with_their_checksums(raw: RawFiles) -> None:
    settings, paths = with_images(raw)
    settings["ingest"]["checksums"] = True
    sum_up(raw.jpg)
    assert set(run(raw, settings).values()) == {""}
    content = bytearray(paths[0].read_bytes())
    content[len(content) // 2] ^= 1
    paths[0].write_bytes(content)
    sums = raw.jpg / "SHA256SUMS.txt"
    sums.write_text("".join(line for line in sums.read_text().splitlines(True) if paths[1].name not in line))
    problems = run(raw, settings)
    assert problems.pop(paths[0].stem) == "checksum differs"
    assert problems.pop(paths[1].stem) == "not in SHA256SUMS.txt"
    assert set(problems.values()) == {""}


def test_raw_files_are_compared_with_the_checksums_of_their_release(raw: RawFiles) -> None:
    settings = raw.settings()
    settings["ingest"]["checksums"] = True
    with pytest.raises(UserError, match=r"SHA256SUMS\.txt is neither here nor in a folder above: download it, or set"):
        ingest(settings)
    for root in (raw.jpg, raw.reports_path.parent, raw.folder / "hosp"):
        sum_up(root)
    assert len(ingest(settings)["studies"]) == 7
    changed = raw.folder / "hosp" / "admissions.csv.gz"
    changed.write_bytes(changed.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"admissions\.csv\.gz: checksum differs \(.*hosp/SHA256SUMS\.txt\): download"):
        ingest(settings)


def test_a_folder_of_reports_has_no_checksum(raw: RawFiles) -> None:
    verify([raw.reports_path.parent])


@pytest.mark.parametrize("line", ["0123 a.jpg", "x" * 64, f"{'0' * 64} "])
def test_a_list_of_checksums_that_is_none(raw: RawFiles, line: str) -> None:
    settings, _ = with_images(raw)
    (raw.jpg / "SHA256SUMS.txt").write_text(f"{'0' * 64} a.jpg\n{line}\n")
    settings["ingest"]["checksums"] = True
    with pytest.raises(UserError, match=r"SHA256SUMS\.txt, line 2: expected a SHA-256 and a path"):
        run(raw, settings)


def test_no_whole_file_at_all_leaves_no_table(raw: RawFiles) -> None:
    settings, paths = with_images(raw)
    for path in paths:
        path.unlink()
    with pytest.raises(
        UserError, match=r"no image file of the metadata is complete \(10 missing\): correct data\.images"
    ):
        run(raw, settings)
    assert not (raw.folder / "files.parquet").exists()


def test_a_file_without_permission(raw: RawFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test itself refuses permission, because root, who runs tests in containers, may read everything."""
    settings, paths = with_images(raw)
    original_open = Path.open

    def refuse(self: Path, *arguments: Any, **keywords: Any) -> Any:
        if self == paths[3]:
            raise PermissionError(13, os.strerror(13), str(self))
        return original_open(self, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=f"{paths[3].name}: no permission to read it: grant it"):
        run(raw, settings)


def test_the_command_counts_and_names_the_first(raw: RawFiles) -> None:
    settings, paths = with_images(raw)
    paths[2].unlink()
    config = str(settings).replace("'", '"').replace("None", "null").replace("False", "false")
    flags = ["--images", str(raw.folder / "images.parquet"), "--out", str(raw.folder / "files.parquet")]
    words = ["ingest", "check", "--config", config, *flags, "--processes", "2"]
    result = CliRunner().invoke(commands, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "image files whole: 9" in result.output
    assert f"image files missing: 1, the first {paths[2].stem}" in result.output
