"""Large arrays of float16, in memory or in a file that all processes of a node map.

A mapped file costs memory once: its pages belong to the system's cache, whatever the number of processes, and the
system may give them up where memory is short, since it can read them again.
"""

import errno
import io
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock

from biomedjourney import tables
from biomedjourney.errors import UserError, full_disk

DTYPE = np.dtype("<f2")
WORTH_A_FILE = 1 << 20  # bytes; a smaller array is kept by each process
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


def load(
    pieces: Iterable[tuple[int, np.ndarray]], shape: tuple[int, ...], folder: Path | None, name: str
) -> np.ndarray:
    """An array of float16 that is made of pieces; nobody may write to it.

    ``pieces``: the place of a piece along the first axis, and the piece; together they cover the array. ``folder``
    None: the array lies in memory. Otherwise it is the file ``folder/name.npy``. Of several processes that ask for it
    at once the first writes it, and the others wait; a file that is there already is taken, and no piece is read. The
    name has to say all that decides the content.

    Raises UserError where the file cannot be written.
    """
    header = _header(shape)
    size = len(header) + DTYPE.itemsize * math.prod(shape)
    if folder is None or size < WORTH_A_FILE:
        array = np.empty(shape, DTYPE)
        for place, piece in pieces:
            array[place : place + len(piece)] = piece
        array.flags.writeable = False
        return array
    path = folder / f"{name}.npy"
    with _lock(path):
        if not path.exists() or path.stat().st_size != size:
            _write(path, header, pieces, size)
        return np.load(path, mmap_mode="r").view(np.ndarray)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A folder for `load`, removed at the end of the block; what a killed process left there is used by the next one.

    Files may be removed while other processes still have them mapped.
    """
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _header(shape: tuple[int, ...]) -> bytes:
    """The bytes of a file of numpy before its numbers."""
    file = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(DTYPE), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, description)
    return file.getvalue()


def _write(path: Path, header: bytes, pieces: Iterable[tuple[int, np.ndarray]], size: int) -> None:
    """Writes without a mapping: a full disk is an error there, but a signal that ends the process here."""
    with tables.atomic_path(path) as temporary, temporary.open("wb", buffering=0) as file:
        file.write(header)
        for place, piece in pieces:
            row = piece.nbytes // max(len(piece), 1)
            file.seek(len(header) + place * row)
            _write_all(file, np.ascontiguousarray(piece, DTYPE))
        file.truncate(size)
        os.fsync(file.fileno())  # some file systems tell only here that there is no space


def _write_all(file: io.FileIO, piece: np.ndarray) -> None:
    rest = memoryview(piece.tobytes())
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Holds off the other processes that ask for the file.

    On a file system without locks each of them writes it, and the last one's takes its place: slower, and as right.
    """
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        if full_disk(error):
            raise
        if error.errno not in NO_LOCKS:
            raise UserError(f"{path}: cannot be written ({error.strerror}): allow writing there") from error
    try:
        yield
    finally:
        lock.release()
