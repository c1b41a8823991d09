"""Reads report texts in place: from the zip of the archive, a tar, or a folder."""

import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from biomedjourney.errors import UserError
from biomedjourney.ingest.decode import decode
from biomedjourney.ingest.sections import split_report

LARGEST = 1 << 20  # bytes; real reports have less than 10 kB
TOO_LARGE = "the report is larger than 1 MB"
AT_ONCE = 512  # reports in a part
_NAME = re.compile(r"(?:^|/)p(\d{8})/s(\d{8})\.txt$")

T = TypeVar("T")


class Report(NamedTuple):
    """The name of one report in the archive, the two sections that are used, and why it was not read, if it was not."""

    name: str
    subject_id: int
    study_id: int
    findings: str
    impression: str
    problem: str


class _Packed(NamedTuple):
    """An entry of a zip: its place, sizes in bytes and checksum."""

    name: str
    offset: int
    packed: int
    size: int
    crc: int
    deflated: bool


Part = Callable[[], Iterable[tuple[str, bytes | None]]]  # name and content; None: larger than `LARGEST`


def parts(path: Path) -> Iterator[Part]:
    """The reports ``…/p10000032/s50414267.txt`` in parts of `AT_ONCE`, for `split`; other files are skipped.

    If the source can be read at any place (a zip, a folder), a part holds only names and places, and another process
    can read the texts. Raises UserError, with archive and entry, for a source that is missing, cut off or damaged, and
    for a name that leads out of the folder.
    """
    with _reading(path):
        if path.is_dir():
            yield from (partial(_from_folder, names) for names in _chunks(_in_folder(path)))
        elif not path.exists():
            raise UserError(f"{path}: is not there: set data.reports in the configuration to your zip or folder")
        elif zipfile.is_zipfile(path):
            yield from (partial(_from_zip, path, entries) for entries in _chunks(_in_zip(path)))
        elif path.name.endswith(".zip"):
            raise UserError(f"{path}: cut off, or not a zip file: download it again")
        else:
            yield from (partial(iter, entries) for entries in _chunks(_in_tar(path)))


def split(part: Part, path: Path) -> list[Report]:
    """The reports of a part of ``path``. Raises UserError for an entry that is damaged."""
    report_rows = []
    with _reading(path):
        for name, content in part():
            sections = split_report(decode(content or b""))
            subject, study = _NAME.search(name).groups()  # type: ignore[union-attr]  # `parts` yields only such names
            problem = TOO_LARGE if content is None else ""
            report_rows.append(Report(name, int(subject), int(study), sections.findings, sections.impression, problem))
    return report_rows


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    while chunk := list(islice(source, AT_ONCE)):
        yield chunk


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns the errors of reading a source into UserErrors."""
    try:
        yield
    except PermissionError as error:
        raise UserError(f"{error.filename or path}: no permission to read it: grant it") from None
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{path}: cut off or damaged ({error}): download it again") from None


def _is_report(path: Path, name: str) -> bool:
    """Whether an entry is a report. Raises UserError for an unsafe name."""
    if name.startswith(("/", "\\")) or (".." in name and ".." in re.split(r"[/\\]", name)):
        raise UserError(f"{path}: the entry {name!r} leads out of the folder: use the archive as PhysioNet ships it")
    return _NAME.search(name) is not None


def _in_zip(path: Path) -> list[_Packed]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    packed_reports = []
    for entry in entries:
        if _is_report(path, entry.filename):
            method = entry.compress_type
            if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
                where = f"{path}, {entry.filename}"
                advice = "use the archive as PhysioNet ships it"
                raise UserError(f"{where}: is encrypted or packed in an unusual way: {advice}")
            place = (entry.header_offset, entry.compress_size, entry.file_size, entry.CRC)
            packed_reports.append(_Packed(entry.filename, *place, method == zipfile.ZIP_DEFLATED))
    return packed_reports


def _from_zip(path: Path, entries: list[_Packed]) -> Iterator[tuple[str, bytes | None]]:
    with path.open("rb") as file:
        for entry in entries:
            yield entry.name, _inflate(file, entry) if entry.size <= LARGEST else None


def _inflate(file: BinaryIO, entry: _Packed) -> bytes:
    """The checked content of an entry; for small entries several times faster than ZipFile.read."""
    file.seek(entry.offset)
    header = file.read(30)
    if header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"no entry where {entry.name} should begin")
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), os.SEEK_CUR)
    content = file.read(entry.packed)
    if entry.deflated:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, entry.size + 1)
    if len(content) != entry.size or zlib.crc32(content) != entry.crc:
        raise zipfile.BadZipFile(f"{entry.name} does not have the length and checksum that the archive gives")
    return content


def _in_tar(path: Path) -> Iterator[tuple[str, bytes | None]]:
    with tarfile.open(path, "r|*") as archive:
        for entry in archive:
            if _is_report(path, entry.name) and entry.isfile():
                file = archive.extractfile(entry)
                if file is not None:
                    yield entry.name, file.read() if entry.size <= LARGEST else None
            archive.members = []  # type: ignore[attr-defined]  # otherwise every entry stays in memory


def _in_folder(path: Path, below: str = "") -> Iterator[tuple[str, str]]:
    """Name and path of every report below the folder, sorted by name."""
    for entry in sorted(os.scandir(path / below), key=lambda entry: entry.name):
        name = f"{below}{entry.name}"
        if entry.is_dir():
            yield from _in_folder(path, f"{name}/")
        elif _is_report(path, name):
            yield name, entry.path


def _from_folder(files: list[tuple[str, str]]) -> Iterator[tuple[str, bytes | None]]:
    for name, place in files:
        with open(place, "rb") as file:
            content = file.read(LARGEST + 1)
            yield name, content if len(content) <= LARGEST else None
