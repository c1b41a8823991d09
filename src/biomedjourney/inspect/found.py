"""Finds the tables of a run by the names that they carry in their files."""

import time
from dataclasses import dataclass
from pathlib import Path

from biomedjourney import tables
from biomedjourney.errors import UserError

SKIPPED = ("cache", "checkpoints", "models")  # of the results: what is no table, or half of one
GROWING = ("cohort", "exclusions")  # each step writes them anew, with its own rows after those of the steps before


@dataclass(frozen=True)
class Found:
    """The files of a table: one, or its shards and parts.

    ``columns_differ``: not all files have the same columns. ``written``: when the newest file was written, in seconds
    since 1970.
    """

    name: str
    paths: tuple[Path, ...]
    rows: int
    written: float
    columns_differ: bool

    @property
    def place(self) -> str:
        """The file, or the folder of all files and their number."""
        if len(self.paths) == 1:
            return str(self.paths[0])
        shared = next(
            folder for folder in self.paths[0].parents if all(path.is_relative_to(folder) for path in self.paths)
        )
        return f"{shared}/ ({len(self.paths)} files)"


def find(results: Path) -> dict[str, Found]:
    """The tables below the folder ``results`` by name, in the order in which they are declared; reads footers alone.

    Where a table lies in ``results/tables``, its parts do not count; without it all of them do. Raises UserError where
    there is no table.
    """
    schemas: dict[str, dict[Path, tuple[int, list[str]]]] = {}
    folders = [folder for folder in results.glob("*") if folder.name not in SKIPPED]
    for path in sorted([*results.glob("*.parquet"), *(path for f in folders for path in f.rglob("*.parquet"))]):
        try:
            with tables.open_file(path) as file:
                name = tables.metadata(file.schema_arrow).get("table", "")
                if name in tables.TABLES:
                    schemas.setdefault(name, {})[path] = (file.metadata.num_rows, file.schema_arrow.names)
        except (UserError, FileNotFoundError):  # a file that is no table of ours, or is being replaced just now
            continue
    if not schemas:
        raise UserError(
            f"{results}: no table is here: run `snakemake --cores all`, or name the results of a run with --results"
        )
    return {name: _found(name, schemas[name], results) for name in tables.TABLES if name in schemas}


def _found(name: str, files: dict[Path, tuple[int, list[str]]], results: Path) -> Found:
    times = {path: path.stat().st_mtime for path in files}
    paths = [path for path in files if path.parent == results / "tables"] or list(files)
    if name in GROWING:
        paths = [max(paths, key=times.__getitem__)]
    return Found(
        name,
        tuple(paths),
        sum(files[path][0] for path in paths),
        max(times[path] for path in paths),
        len({tuple(files[path][1]) for path in paths}) > 1,
    )


def age(written: float) -> str:
    """How long ago a time was, in its largest unit: ``3 hours ago``."""
    seconds = max(time.time() - written, 0)
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds / size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
