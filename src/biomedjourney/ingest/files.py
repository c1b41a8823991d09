"""Checks that the image files exist and are complete: quickly by their ends, or every byte by SHA256SUMS.txt."""

import hashlib
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from biomedjourney import progress, tables, workers
from biomedjourney.errors import UserError, raise_unless_damage

SUMS = "SHA256SUMS.txt"
TAIL = 64  # last bytes of a file that are searched for the end marker; some programs append a few bytes to it
GROUP = 4096  # rows that are written at a time
MISSING, EMPTY, TRUNCATED, DIFFERENT = "missing", "empty", "truncated", "checksum differs"
File = tuple[str, str, str | None]  # dicom_id, path below the root, expected SHA-256 (None: not checked)
Row = dict[str, Any]


def check(root: Path, images: Path, out: Path, checksums: bool, processes: int) -> dict[str, list[str]]:
    """Writes the table image_files for the images below ``root``. Returns the dicom_ids by problem; "" is no problem.

    Raises UserError if no file is complete, if a file may not be read, or if there is no list for the ``checksums``.
    """
    image_rows = tables.read_arrow(images, "images", ["dicom_id", "path"])
    sums = read_sums(root / SUMS) if checksums else {}
    dicom_ids, paths = (image_rows[column].to_pylist() for column in ("dicom_id", "path"))
    expected = (sums.get(path, "") if checksums else None for path in paths)
    files = zip(dicom_ids, paths, expected, strict=True)
    rows = workers.map_ordered(partial(examine, root=root), files, processes, chunk=256)
    ids_by_problem: dict[str, list[str]] = {}
    tracked_rows = progress.track(rows, "image files", len(dicom_ids), "file")
    tables.write_stream(out, "image_files", _groups(tracked_rows, ids_by_problem, root))
    return ids_by_problem


def _groups(rows: Iterable[Row], ids_by_problem: dict[str, list[str]], root: Path) -> Iterator[list[Row]]:
    """Yields the rows in groups and adds them to ``ids_by_problem``. Raises UserError if no file is complete."""
    source = iter(rows)
    while group := list(islice(source, GROUP)):
        for row in group:
            ids_by_problem.setdefault(row["problem"], []).append(row["dicom_id"])
        yield group
    if "" not in ids_by_problem:
        counts = ", ".join(f"{len(dicom_ids)} {problem}" for problem, dicom_ids in ids_by_problem.items())
        raise UserError(f"{root}: no image file of the metadata is complete ({counts}): correct data.images")


def examine(file: File, root: Path) -> Row:
    """The row of one file. Raises UserError if it may not be read."""
    dicom_id, path, expected = file
    size, problem = None, ""
    try:
        with (root / path).open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            problem = EMPTY if size == 0 else _problem(stream, path, size)
            if expected is not None and not problem:
                stream.seek(0)
                problem = _compare(hashlib.file_digest(stream, "sha256").hexdigest(), expected)
    except PermissionError:
        raise UserError(f"{root / path}: no permission to read it: grant it") from None
    except OSError as error:
        raise_unless_damage(error, root / path)
        problem = MISSING
    return {"dicom_id": dicom_id, "bytes": size, "problem": problem}


def _compare(digest: str, expected: str) -> str:
    if not expected:
        return f"not in {SUMS}"
    return "" if digest == expected else DIFFERENT


def _problem(stream: BinaryIO, path: str, size: int) -> str:
    if path.endswith(".dcm"):
        return _dicom_problem(stream, size)
    if stream.read(2) != b"\xff\xd8":
        return "not a JPEG file"
    stream.seek(max(0, size - TAIL))
    return "" if b"\xff\xd9" in stream.read() else TRUNCATED  # this marker never occurs within the coded picture


def _dicom_problem(stream: BinaryIO, size: int) -> str:
    """Reads only the header; the pixel data must end within the file."""
    import pydicom

    try:
        pydicom.dcmread(stream, stop_before_pixels=True)
    except Exception:  # pydicom raises many kinds of errors for a damaged file
        return "not a DICOM file"
    element = stream.read(12)  # tag, VR, two reserved bytes, length
    if len(element) < 12:
        return TRUNCATED
    implicit = not element[4:6].isalpha()
    length = int.from_bytes(element[4:8] if implicit else element[8:12], "little")
    if length == 0xFFFFFFFF:  # unknown length: compressed fragments, which end with the sequence delimiter
        stream.seek(max(0, size - TAIL))
        return "" if b"\xfe\xff\xdd\xe0" in stream.read() else TRUNCATED
    begin = stream.tell() - (4 if implicit else 0)
    return "" if begin + length <= size else TRUNCATED


def read_sums(path: Path) -> dict[str, str]:
    """SHA-256 by path, from a SHA256SUMS.txt. Raises UserError if the file is missing or is not such a list."""
    sums = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                digest, _, name = line.strip().partition(" ")
                if len(digest) != 64 or not name:
                    raise UserError(f"{path}, line {number}: expected a SHA-256 and a path: download the file again")
                sums[name.lstrip(" *").removeprefix("./")] = digest.lower()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}): download it, or set ingest.checksums to false") from None
    return sums


def verify(files: list[Path]) -> None:
    """Compares raw files with the SHA256SUMS.txt of their release, which is in their folder or above it.

    A folder of reports is skipped, because a release lists only the zip. A missing file is skipped too: the code that
    reads it raises the error. Raises UserError for a file that differs.
    """
    sums: dict[Path, dict[str, str]] = {}
    for path in progress.track(files, "checksums", unit="file"):
        if not path.is_file():
            continue
        root = next((folder for folder in path.parents[:3] if (folder / SUMS).is_file()), None)
        if root is None:
            advice = "download it, or set ingest.checksums to false"
            raise UserError(f"{path.parent}: {SUMS} is neither here nor in a folder above: {advice}")
        if root not in sums:
            sums[root] = read_sums(root / SUMS)
        expected = sums[root].get(path.relative_to(root).as_posix(), "")
        try:
            with path.open("rb") as stream:
                problem = _compare(hashlib.file_digest(stream, "sha256").hexdigest(), expected)
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
        if problem:
            raise UserError(f"{path}: {problem} ({root / SUMS}): download it again")
