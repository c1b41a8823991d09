"""Report texts, read in place from the zip as shipped, a tar, or a folder."""

import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

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
                plain = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not entry.flag_bits & 1
                yield entry.filename, _inflate(file, entry) if plain else archive.read(entry)


def _inflate(file: BinaryIO, entry: zipfile.ZipInfo) -> bytes:
    """The content of an entry, checked; several times faster on small entries than ZipFile.read."""
    file.seek(entry.header_offset)
    header = file.read(30)
    if header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"no entry where {entry.filename} should begin")
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), os.SEEK_CUR)
    content = file.read(entry.compress_size)
    if entry.compress_type == zipfile.ZIP_DEFLATED:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, entry.file_size + 1)
    if len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise zipfile.BadZipFile(f"{entry.filename} does not have the length and checksum that the archive says")
    return content


def _in_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r|*") as archive:
        for entry in archive:
            _check(path, entry.name, entry.size)
            if entry.isfile() and entry.name.endswith(".txt"):
                file = archive.extractfile(entry)
                if file is not None:
                    yield entry.name, file.read()
            archive.members = []  # type: ignore[attr-defined]  # or every entry stays in memory


def _in_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below the folder, in the order of the names."""
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.is_dir():
            for name, content in _in_folder(Path(entry.path)):
                yield f"{entry.name}/{name}", content
        elif entry.name.endswith(".txt"):
            _check(path, entry.name, entry.stat().st_size)
            yield entry.name, Path(entry.path).read_bytes()
