"""Folders of models that carry the checksums of their files, since no format of weights has any of its own.

The list is as ``sha256sum`` writes it: ``sha256sum --check checksums.sha256`` in the folder compares them too.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from biomedjourney import makers, tables
from biomedjourney.errors import UserError

NAME = "checksums.sha256"


@contextmanager
def model_folder(path: Path) -> Iterator[Path]:
    """A new folder as `tables.atomic_folder` makes it, with the checksums of all its files at the end."""
    with tables.atomic_folder(path) as folder:
        yield folder
        for inner in folder.rglob(NAME):  # of a model of which this one is made
            inner.unlink()
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        lines = [f"{_sum(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
        (folder / NAME).write_text("".join(lines), encoding="utf-8")


def verify(folder: Path) -> None:
    """Raises UserError where a file of the folder is not as it was written; a folder without checksums passes."""
    path = folder / NAME
    if not path.is_file():
        return
    try:
        text = path.read_text(encoding="utf-8")
        sums = dict(line.split("  ", 1)[::-1] for line in text.splitlines())
    except ValueError:
        text, sums = "", {}
    if not sums or not text.endswith("\n"):
        raise UserError(f"{path}: damaged (not a list of checksums): {makers.again(path)}")
    for name, digest in sums.items():
        file = folder / name
        if not file.is_file():
            raise UserError(f"{file}: missing: {makers.again(file)}")
        if _sum(file) != digest:
            raise UserError(
                f"{file}: damaged (it does not fit its checksum in {NAME}): {makers.again(file)}; "
                f"or delete {NAME} where you changed the model yourself"
            )


def _sum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
