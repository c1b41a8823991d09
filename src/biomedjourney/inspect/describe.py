"""Describes a table by the metadata in its file."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from biomedjourney import tables
from biomedjourney.errors import UserError

WIDEST = 60  # characters of a value; longer text is cut


def describe(path: Path, rows: int = 5) -> str:
    """Name, meaning, key, columns with type, unit and description, row count and the first ``rows`` rows.

    Reads only the footer and the rows to show. Raises UserError for a file that is not a table of this project.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file: give the path of a table, such as results/tables/pairs.parquet")
    try:
        file = tables.open_file(path)
    except (pa.ArrowInvalid, OSError):
        raise UserError(f"{path}: not a Parquet file: the tables of this project are *.parquet") from None
    with file:
        schema = file.schema_arrow
        metadata = {k.decode(): v.decode(errors="replace") for k, v in (schema.metadata or {}).items()}
        if "table" not in metadata or "description" not in metadata:
            raise UserError(f"{path}: has no description, so it was not written by this project: give another table")
        lines = [
            f"{metadata['table']}: {metadata['description']}",
            f"key: {metadata.get('key', '').replace(',', ', ')}    rows: {file.metadata.num_rows:,}",
            "",
            *_aligned([["column", "type", "unit", "meaning"], *(_column(field) for field in schema)]),
        ]
        if rows and file.metadata.num_rows:
            first = next(file.iter_batches(batch_size=rows)).to_pylist()
            lines += ["", f"the first {len(first)} of {file.metadata.num_rows:,} rows" if len(first) > 1 else "row 1"]
            for row in first:
                lines += ["", *_aligned([[f"  {name}", _short(value)] for name, value in row.items()])]
    return "\n".join(lines)


def _column(field: pa.Field) -> list[str]:
    """Name, type, unit and description of a column."""
    metadata = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
    type_name = f"{field.type} or null" if field.nullable else str(field.type)
    type_name = type_name.replace("fixed_size_list<", "list<").replace("item: ", "")
    return [field.name, type_name, metadata.get("unit", ""), metadata.get("description", "")]


def _aligned(rows: list[list[str]]) -> list[str]:
    """The rows as lines, with columns of equal width."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]


def _short(value: Any) -> str:
    """A value as one short line: the size of bytes, floats with six digits, long text cut."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"[{', '.join(_short(v) for v in value)}]"
    text = " ".join(str(value).split()) if value is not None else "null"
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
