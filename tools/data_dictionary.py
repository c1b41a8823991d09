"""Writes docs/tables.md: every table with its columns, as `biomedjourney.tables` declares them."""

from itertools import groupby
from pathlib import Path

import pyarrow as pa

from biomedjourney.tables import TABLES, Column, Table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tables.md"
HEAD = """\
# Tables

Every table of the workflow. Those that people open lie in `results/tables/`, and `results/README.md` says where the
others are. Each file carries this description in its metadata: `biomedjourney inspect TABLE` shows it. A column whose
name ends with `*` stands for several columns that begin so. A measure's columns `_low` and `_high` are the ends of its
95 % interval.

This page is written by `python tools/data_dictionary.py` from `src/biomedjourney/tables.py`.
"""
ENDS = ("_low", "_high")


def page() -> str:
    """The text of docs/tables.md."""
    names = ", ".join(f"[{name}](#{name})" for name in TABLES)
    return "\n".join([HEAD, names, *(_section(table) for table in TABLES.values())]) + "\n"


def _section(table: Table) -> str:
    key = ", ".join(f"`{name}`" for name in table.key)
    rows = [_row(columns) for columns in _with_their_intervals(table.columns)]
    head = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    return "\n".join(["", f"## {table.name}", "", f"{table.description} Key: {key}.", "", *head, *rows])


def _with_their_intervals(columns: tuple[Column, ...]) -> list[list[Column]]:
    """Each column, with the ends of its interval where it has one."""
    names = {column.name for column in columns}

    def estimate(column: Column) -> str:
        own = next((column.name.removesuffix(end) for end in ENDS if column.name.endswith(end)), column.name)
        return own if own in names else column.name

    return [list(group) for _, group in groupby(columns, estimate)]


def _row(columns: list[Column]) -> str:
    first = columns[0]
    names = f"`{first.name}`" + "".join(f", `{column.name.removeprefix(first.name)}`" for column in columns[1:])
    kind = f"{_type(first.type)} or null" if first.nullable else _type(first.type)
    return f"| {names} | {kind} | {first.unit} | {first.description.replace('|', chr(92) + '|')} |"


def _type(kind: pa.DataType) -> str:
    return str(kind).replace("fixed_size_list<", "list<").replace("item: ", "").replace("element: ", "")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
