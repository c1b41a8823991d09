"""Reads everything in a folder of results once, and says what is damaged."""

import math
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from biomedjourney import arrays, makers, pixels, progress, sums, tables
from biomedjourney.errors import UserError, UserErrors, out_of_reach

PICTURES = ("png", "coverage")  # columns
NUMBERS = ("mean", "std", "states")  # columns whose numbers have the form in the column ``shape``
PAGE_END = "</html>"


def check(results: Path) -> str:
    """A line on what was read. Raises UserErrors with a line for each damaged file, and what to do about it.

    Tables, their pictures and latents, models with checksums, saved states of trainings, and the report. Raises
    UserError where the folder has none of them.
    """
    files = list(_files(results))
    if not files:
        raise UserError(f"{results}: nothing to check: run `snakemake --cores all`, or give --results")
    errors: list[UserError] = []
    for kind, path in progress.track(files, "check", unit="file"):
        try:
            CHECKS[kind](results, path)
        except UserError as error:
            errors.append(error)
        except OSError as error:
            if (unreached := out_of_reach(error)) is None:
                raise
            errors.append(unreached)
    if errors:
        raise UserErrors([*errors, UserError(f"{results}: {len(errors)} of {len(files)} are damaged")])
    parts = sorted(results.rglob(f".*{tables.UNFINISHED}"))
    left = ""
    if parts:
        left = (
            f"; {len(parts):,} unfinished files and folders of commands that were killed can be deleted while nothing "
            f"runs: find {shlex.quote(str(results))} -name '.*{tables.UNFINISHED}' -exec rm -r {{}} +"
        )
    counts = Counter(kind if kind != "model" or (path / sums.NAME).is_file() else "old model" for kind, path in files)
    seen = ", ".join(f"{counts[kind]:,} {name}" for kind, name in NAMES.items() if counts[kind])
    return f"{results}: whole: {seen}{left}"


def _files(results: Path) -> Iterator[tuple[str, Path]]:
    """What there is to check, with its kind. What a killed run left half written begins with a dot and is no part."""
    for path in sorted(results.rglob("*")):
        inner = path.relative_to(results).parts
        if any(part.startswith(".") for part in inner):
            continue
        if inner[0] == "models" and len(inner) == 2 and path.is_dir():
            yield "model", path
        elif path.suffix == ".parquet" and path.is_file():
            yield "table", path
        elif inner[0] == "checkpoints" and path.match("state-*.pt"):
            yield "state", path
        elif inner[0] in ("report", "checkpoints") and path.suffix in (".png", ".html"):
            yield "page", path


def _check_table(results: Path, path: Path) -> None:
    name = _name_of(path.relative_to(results), path)
    for batch in tables.batches(path, name, rows=256):
        _check_rows(path, name, batch)


def _name_of(inner: Path, path: Path) -> str:
    """The table that has to be in a file: by its place, or where that does not tell by the file itself."""
    candidates = [inner.stem] if inner.parent.name in ("tables", "pair", "ingest", "") else [inner.parts[0]]
    for name in candidates:
        if name in tables.TABLES:
            return name
    with tables.open_file(path) as file:
        said = tables.metadata(file.schema_arrow).get("table", "")
    if said not in tables.TABLES:
        raise UserError(f"{path}: not a table of this project: {makers.again(path)}")
    return said


def _check_rows(path: Path, name: str, batch: pa.RecordBatch) -> None:
    """Raises UserError for a picture that cannot be decoded, and for numbers that do not have their shape."""
    key = tables.table(name).key
    for row in batch.to_pylist():
        where = ", ".join(f"{column} {row[column]}" for column in key)
        for column in PICTURES:
            if isinstance(row.get(column), bytes):
                try:
                    pixels.decode_png(row[column])
                except UserError as error:
                    raise UserError(f"{path}: {where}: {error}: {makers.again(path)}") from None
        for column in NUMBERS:
            if isinstance(row.get(column), bytes):
                expected = arrays.DTYPE.itemsize * math.prod(row["shape"])
                if len(row[column]) != expected:
                    raise UserError(
                        f"{path}: {where}: column {column!r} has {len(row[column])} bytes, not the {expected} of its "
                        f"shape: {makers.again(path)}"
                    )


def _check_model(results: Path, path: Path) -> None:
    if not any(file.is_file() for file in path.rglob("*")):
        raise UserError(f"{path}: an empty folder, but a model belongs there: {makers.again(path)}")
    sums.verify(path)


def _check_state(results: Path, path: Path) -> None:
    from biomedjourney.train import checkpoint

    checkpoint.read(path)


def _check_page(results: Path, path: Path) -> None:
    try:
        if path.suffix == ".png":
            pixels.decode_png(path.read_bytes())
        elif not path.read_text(encoding="utf-8").rstrip().endswith(PAGE_END):
            raise UserError("does not end as a page does")
    except (OSError, UnicodeDecodeError, UserError) as error:
        raise UserError(f"{path}: damaged ({error}): {makers.again(path)}") from None


CHECKS = {"table": _check_table, "model": _check_model, "state": _check_state, "page": _check_page}
NAMES = {
    "table": "tables and shards",
    "model": "models",
    "old model": "models that an earlier version wrote without checksums",
    "state": "saved states of trainings",
    "page": "pages and pictures",
}
