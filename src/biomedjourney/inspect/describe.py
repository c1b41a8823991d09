"""Describes a table from what its own file says."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from biomedjourney.errors import UserError

WIDEST = 60


def describe(path: Path, rows: int = 5) -> str:
    """Name, meaning, key, columns with type, unit and description, row count and the first ``rows`` rows.

    Reads the footer and no more rows than it shows. Raises UserError for a file that is not a table of this project.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file: give the path of a table, as results/tables/pairs.parquet")
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError):
        raise UserError(f"{path}: not a Parquet file: the tables of this project are *.parquet") from None
    with file:
        schema = file.schema_arrow
        about = {k.decode(): v.decode(errors="replace") for k, v in (schema.metadata or {}).items()}
        if "table" not in about or "description" not in about:
            raise UserError(f"{path}: a Parquet file, but not written by this project: it carries no description")
        lines = [
            f"{about['table']}: {about['description']}",
            f"key: {about.get('key', '').replace(',', ', ')}    rows: {file.metadata.num_rows:,}",
            "",
            *_aligned([["column", "type", "unit", "meaning"], *(_column(field) for field in schema)]),
        ]
        if rows and file.metadata.num_rows:
            first = next(file.iter_batches(batch_size=rows)).to_pylist()
            lines += ["", f"the first {len(first)} of {file.metadata.num_rows:,} rows" if len(first) > 1 else "row 1"]
            for row in first:
                lines += ["", *_aligned([[f"  {name}", shown(value)] for name, value in row.items()])]
    return "\n".join(lines)


def _column(field: pa.Field) -> list[str]:
    about = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
    kind = f"{field.type} or null" if field.nullable else str(field.type)
    kind = kind.replace("fixed_size_list<", "list<").replace("item: ", "")
    return [field.name, kind, about.get("unit", ""), about.get("description", "")]


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]


def shown(value: Any) -> str:
    """A value on one short line: bytes by their size, floats to six digits, long text cut."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"[{', '.join(shown(v) for v in value)}]"
    text = " ".join(str(value).split()) if value is not None else "null"
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
