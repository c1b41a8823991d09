"""Concatenates the parts of a table, whatever their size."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from biomedjourney import tables
from biomedjourney.errors import UserError

ROWS = 4096


def gather(name: str, parts: list[Path], out: Path) -> int:
    """Writes the rows of all parts of the table ``name`` to ``out``, in order; returns their number.

    Memory holds the keys and some rows, as in `tables.batches`. Raises UserError for a part that is not such a table,
    whose columns are not those of the first part, or with a key that occurred before.
    """
    for part in parts:
        tables.row_count(part, name)
    key = list(tables.table(name).key)
    schema = pq.read_schema(parts[0])
    seen: dict[tuple[Any, ...], Path] = {}
    options = {"compression": "zstd", **tables.pages(name)}
    with tables.atomic_path(out) as temporary, pq.ParquetWriter(temporary, schema, **options) as writer:
        for part in parts:
            _require_columns(pq.read_schema(part), schema, part, parts[0])
            for batch in tables.batches(part, name, rows=ROWS):
                _refuse_seen(seen, zip(*(batch[k].to_pylist() for k in key), strict=True), key, part)
                writer.write_table(pa.Table.from_batches([batch]).select(schema.names).cast(schema))
    return len(seen)


def _require_columns(found: pa.Schema, expected: pa.Schema, part: Path, first: Path) -> None:
    differing = sorted(set(found.names) ^ set(expected.names))
    if differing:
        raise UserError(
            f"{part}: column {differing[0]!r} is in only one of this part and {first}: write the parts anew"
        )


def _refuse_seen(seen: dict[tuple[Any, ...], Path], keys: Any, key: list[str], part: Path) -> None:
    for values in keys:
        if values in seen:
            where = ", ".join(f"{name}={value}" for name, value in zip(key, values, strict=True))
            raise UserError(f"{part}: {where} is in {seen[values]} already: give each part once")
        seen[values] = part
