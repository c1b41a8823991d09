"""Asks the tables of a run in SQL, through DuckDB."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from biomedjourney.errors import UserError
from biomedjourney.inspect.found import Found


@contextmanager
def connection(found: dict[str, Found]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that knows each table by its name.

    A table of several files has one more column, ``filename``: the file that a row is from. DuckDB's errors become
    UserErrors.
    """
    # without a network DuckDB would wait for an extension that the query seems to need
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as database:
        try:
            for name, table in found.items():
                paths = [str(path) for path in table.paths]
                several = len(paths) > 1
                database.read_parquet(paths, filename=several, union_by_name=table.columns_differ).create_view(name)
            yield database
        except duckdb.CatalogException as error:
            raise UserError(f"--sql: {error}: the tables are {', '.join(found)}") from None
        except (duckdb.Error, UnicodeDecodeError) as error:
            raise UserError(f"--sql: {error} (`biomedjourney inspect --check` looks for damaged files)") from None


def ask(database: duckdb.DuckDBPyConnection, sql: str, rows: int) -> tuple[list[dict[str, Any]], bool]:
    """The first ``rows`` rows of the answer, and whether there are more. Errors as in `connection`."""
    answer = database.sql(sql)
    if answer is None:
        return [], False
    first = rows_of(answer.limit(rows + 1))
    return first[:rows], len(first) > rows


def rows_of(answer: duckdb.DuckDBPyRelation) -> list[dict[str, Any]]:
    """All rows of an answer."""
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.fetchall()]
