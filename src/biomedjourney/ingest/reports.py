"""Report texts, read in place from the zip as shipped, a tar, or a folder."""

import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from biomedjourney.errors import UserError

LARGEST = 1 << 20  # bytes; real reports stay below 10 kB
_NAME = re.compile(r"(?:^|/)p(\d{8})/s(\d{8})\.txt$")


def read(path: Path) -> Iterator[tuple[int, int, str]]:
    """Subject, study and text of every report ``…/p10000032/s50414267.txt``; other files are passed over.

    Memory holds one report at a time. Raises UserError, naming archive and entry, for what cannot be read: a file
    that is missing, cut off or damaged, a name that climbs out of the folder, two reports of one study, a report
    above `LARGEST` or not in UTF-8.
    """
    seen: set[int] = set()
    for name, content in _entries(path):
        found = _NAME.search(name)
        if found is None:
            continue
        subject, study = int(found[1]), int(found[2])
        if study in seen:
            raise UserError(f"{path}, {name}: study {study} has a report already: keep one of the two")
        seen.add(study)
        try:
            yield subject, study, content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}, {name}: byte {error.start} is not UTF-8: convert or replace the file") from None
    if not seen:
        raise UserError(f"{path}: holds no report named p1…/p1…/s5….txt: set data.reports to the zip or the folder")


def count(path: Path) -> int | None:
    """The number of entries, where it can be had without reading all."""
    if path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return sum(name.endswith(".txt") for name in archive.namelist())
    return None


def _entries(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        if path.is_dir():
            yield from _in_folder(path)
        elif not path.exists():
            raise UserError(f"{path}: is not there: set data.reports in the configuration to your zip or folder")
        elif zipfile.is_zipfile(path):
            yield from _in_zip(path)
        elif path.name.endswith(".zip"):
            raise UserError(f"{path}: cut off, or no zip file: download it again")
        else:
            yield from _in_tar(path)
    except PermissionError as error:
        raise UserError(f"{error.filename or path}: no permission to read it: grant it") from None
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{path}: cut off or damaged ({error}): download it again") from None


def _check(path: Path, name: str, size: int) -> None:
    if name.startswith(("/", "\\")) or ".." in PurePosixPath(name.replace("\\", "/")).parts:
        raise UserError(f"{path}: the entry {name!r} climbs out of the folder: use the archive as PhysioNet ships it")
    if size > LARGEST and name.endswith(".txt"):
        raise UserError(f"{path}, {name}: {size / 1e6:.0f} MB is no report (at most 1 MB): replace the file")


def _in_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        entries = archive.infolist()
        for entry in entries:
            _check(path, entry.filename, entry.file_size)
        for entry in entries:
            if entry.filename.endswith(".txt"):
                yield entry.filename, _inflate(path, file, archive, entry)


def _inflate(path: Path, file: "os.PathLike | object", archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    return archive.read(entry)


def _in_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r|*") as archive:
        for entry in archive:
            _check(path, entry.name, entry.size)
            if entry.isfile() and entry.name.endswith(".txt"):
                file = archive.extractfile(entry)
                if file is not None:
                    yield entry.name, file.read()
            archive.members.clear()


def _in_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below the folder, in the order of the names."""
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.is_dir():
            for name, content in _in_folder(Path(entry.path)):
                yield f"{entry.name}/{name}", content
        elif entry.name.endswith(".txt"):
            _check(path, entry.name, entry.stat().st_size)
            yield entry.name, Path(entry.path).read_bytes()
