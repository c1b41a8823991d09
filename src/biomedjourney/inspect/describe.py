"""Describes a table by the metadata in its file, and sets rows as text."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from biomedjourney import tables
from biomedjourney.errors import UserError
from biomedjourney.inspect.found import Found, age

WIDEST = 60  # characters of a value; longer text is cut
LARGEST_COLUMN = 4 << 20  # bytes in the file of a text column whose values are counted
MOST_VALUES = 5  # of a text column, that are named


def describe(path: Path, rows: int = 5) -> str:
    """Name, meaning, key, columns and the first ``rows`` rows.

    Of each column: type, unit, missing values, range and description. Missing values and ranges come from the footer;
    of the data only the rows to show are read, and small text columns, whose values are counted. Raises UserError for a
    file that is not a table of this project.
    """
    with opened(path) as file:
        schema, count = file.schema_arrow, file.metadata.num_rows
        about = tables.metadata(schema)
        statistics = _statistics(file)
        lines = [
            f"{about['table']}: {about['description']}",
            f"key: {about.get('key', '').replace(',', ', ')}    rows: {count:,}",
            "",
            *aligned(
                [
                    ["column", "type", "unit", "missing", "range", "meaning"],
                    *(_column(field, statistics[field.name]) for field in schema),
                ]
            ),
        ]
        if rows and count:
            first = first_rows(file, rows)
            lines += ["", f"the first {len(first)} of {count:,} rows" if len(first) > 1 else "row 1", *_records(first)]
    return "\n".join(lines)


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """The file of a table. Raises UserError for a file that is not a table of this project, and for a damaged one."""
    if not path.is_file():
        raise UserError(f"{path}: no such file: give the path of a table, such as results/tables/pairs.parquet")
    with tables.open_file(path) as file, tables.errors_of_reading(path):
        if not {"table", "description"} <= tables.metadata(file.schema_arrow).keys():
            raise UserError(f"{path}: has no description, so it was not written by this project: give another table")
        yield file


def first_rows(file: pq.ParquetFile, rows: int) -> list[dict[str, Any]]:
    """The first rows of a file; of the rest no more is read than their row group's pages."""
    return next(file.iter_batches(batch_size=rows)).to_pylist() if rows and file.metadata.num_rows else []


def listing(found: dict[str, Found]) -> str:
    """Each table with its rows, its age, its place and its meaning."""
    lines = [
        [name, f"{table.rows:,}", age(table.written), table.place, tables.table(name).description]
        for name, table in found.items()
    ]
    return "\n".join(aligned([["table", "rows", "written", "place", "meaning"], *lines]))


def answer(rows: list[dict[str, Any]], has_more: bool) -> str:
    """The rows of an answer: side by side where a terminal is wide enough for that, otherwise one under the other."""
    if not rows:
        return "no rows"
    lines = aligned([list(rows[0]), *([short(value) for value in row.values()] for row in rows)])
    if max(map(len, lines)) > max(shutil.get_terminal_size((120, 24)).columns, 80):
        lines = _records(rows)[1:]
    return "\n".join([*lines, *(["", f"the first {len(rows)} rows; more with --rows"] if has_more else [])])


def _records(rows: list[dict[str, Any]]) -> list[str]:
    return [
        line for row in rows for line in ["", *aligned([[f"  {name}", short(value)] for name, value in row.items()])]
    ]


def _statistics(file: pq.ParquetFile) -> dict[str, tuple[str, str]]:
    """Missing values and range of each column as text; empty where there are none or the file does not tell."""
    chunks: dict[str, list[Any]] = {name: [] for name in file.schema_arrow.names}
    for group in range(file.metadata.num_row_groups):
        row_group = file.metadata.row_group(group)
        for place in range(row_group.num_columns):
            chunk = row_group.column(place)
            column = chunk.path_in_schema.partition(".")[0]
            if column not in chunks:
                raise pa.ArrowInvalid(f"it holds values of a column {column!r} that it does not declare")
            chunks[column].append(chunk)
    return {field.name: _of_column(file, field, chunks[field.name]) for field in file.schema_arrow}


def _of_column(file: pq.ParquetFile, field: pa.Field, chunks: list[Any]) -> tuple[str, str]:
    known = [chunk.statistics for chunk in chunks if chunk.statistics is not None]
    nulls = sum(statistics.null_count for statistics in known if statistics.has_null_count)
    missing = f"{nulls:,}" if nulls else ""
    if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
        if sum(chunk.total_compressed_size for chunk in chunks) > LARGEST_COLUMN:
            return missing, ""
        values = file.read([field.name])[field.name].unique().drop_null().to_pylist()
        if 0 < len(values) <= MOST_VALUES and max(map(len, values)) <= WIDEST / MOST_VALUES:
            return missing, ", ".join(sorted(value or '""' for value in values))
        return missing, f"{len(values):,} values" if values else ""
    bounds = [statistics for statistics in known if statistics.has_min_max]
    if not bounds or pa.types.is_binary(field.type):
        return missing, ""
    least, greatest = min(b.min for b in bounds), max(b.max for b in bounds)
    return missing, short(least) if least == greatest else f"{short(least)} to {short(greatest)}"


def _column(field: pa.Field, statistics: tuple[str, str]) -> list[str]:
    """Name, type, unit, missing values, range and description of a column."""
    about = tables.metadata(field)
    type_name = f"{field.type} or null" if field.nullable else str(field.type)
    type_name = type_name.replace("fixed_size_list<", "list<").replace("item: ", "")
    return [field.name, type_name, about.get("unit", ""), *statistics, about.get("description", "")]


def aligned(rows: list[list[str]]) -> list[str]:
    """The rows as lines, with columns of equal width."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]


def short(value: Any) -> str:
    """A value as one short line: the size of bytes, floats with six digits, long text cut."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(short(v) for v in value)}]"
    text = " ".join(str(value).split()) if value is not None else "null"
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
