"""Reads CSV files of the archives, gzip or plain. Columns go by name; rows with an odd cell are marked and counted."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from biomedjourney.errors import UserError
from biomedjourney.ingest.decode import decode
from biomedjourney.refusals import Refusals

KEY = "ingest.largest_refused_share"
BLANK = ["", "nan", "NaN", "NA", "N/A", "n/a", "#N/A", "<NA>", "null", "NULL", "None"]
_BLANK_TIDY = frozenset(text.lower() for text in BLANK)
LARGEST_NUMBER = 10**9 - 1
UNEQUAL = "the number of values is not that of the columns"
DAMAGED = "fix it, or download the file again"


def find(folder: Path, name: str, key: str) -> Path:
    """The file ``name``.csv.gz, or else ``name``.csv, in a folder that the configuration gives under ``key``.

    Raises UserError if the file or the folder is missing, or may not be read.
    """
    try:
        for path in (folder / f"{name}.csv.gz", folder / f"{name}.csv"):
            if path.is_file():
                return path
        exists = folder.is_dir()
    except PermissionError:
        raise UserError(f"{folder}: no permission to read this folder (configuration, {key}): grant it") from None
    if not exists:
        raise UserError(f"{folder}: there is no such folder: set {key} in the configuration to your copy")
    raise UserError(f"{folder}: {name}.csv.gz (or .csv) is not there: download it, or correct {key}")


class Rows:
    """The rows of a CSV file as strings, blank values null, and which of them have an odd cell.

    A cell is odd if it is not what its column holds. Its reader decides what becomes of the row: it is left out, or
    the value is null. `stop_if_too_many` ends the step where the cause must be the file and not a cell.
    """

    def __init__(self, path: Path, data: pa.Table, unequal_lines: list[int], largest_share: float) -> None:
        self.path, self.data, self.largest_share = path, data, largest_share
        self.unequal_lines = unequal_lines  # lines that have too few or too many values; they are not in ``data``
        self.reasons: dict[str, dict[int, str]] = {}  # by column and row of ``data``
        self._examples = [(line, UNEQUAL) for line in unequal_lines[:1]]  # lines and what is odd in them

    def line(self, row: int) -> int:
        """The line of the file that holds a row of ``data``."""
        line = row + 2
        for unequal in self.unequal_lines:
            line += unequal <= line
        return line

    def mark(self, odd: np.ndarray, column: str, problem: str) -> None:
        """Marks the rows where ``odd`` is true. ``problem`` completes a sentence: the column is ..."""
        places = np.flatnonzero(odd)
        if not len(places):
            return
        values = ["" if value is None else value for value in self.data[column].take(pa.array(places)).to_pylist()]
        reasons = self.reasons.setdefault(column, {})
        for row, value in zip(places.tolist(), values, strict=True):
            reasons.setdefault(row, f"{column} is {problem if value.strip() else 'blank'}")
        first = int(places[0])
        shown = f": {_shown(values[0])}" if values[0].strip() else ""
        self._examples.append((self.line(first), f"{reasons[first]}{shown}"))

    def is_odd(self, *columns: str) -> np.ndarray:
        """Which rows have an odd cell in one of the columns."""
        result = np.zeros(self.data.num_rows, dtype=bool)
        for column in columns:
            result[list(self.reasons.get(column, ()))] = True
        return result

    def reason(self, *columns: str) -> np.ndarray:
        """For each row why its cell in the first such column is odd, as strings; empty where none is."""
        result = np.full(self.data.num_rows, "", dtype=object)
        for column in reversed(columns):
            for row, reason in self.reasons.get(column, {}).items():
                result[row] = reason
        return result

    def stop_if_too_many(self) -> None:
        """Raises UserError if more than the configured share of the rows is odd, and more than a few, or all are.

        Otherwise tells on standard error how many are odd, and which is the first one.
        """
        reason_by_row: dict[int, str] = {}
        for reasons in self.reasons.values():
            reason_by_row = reasons | reason_by_row
        counts = Counter(reason_by_row.values())
        if not (counts or self.unequal_lines):
            return
        if self.unequal_lines:
            counts[UNEQUAL] = len(self.unequal_lines)
        line, example = min(self._examples)
        total = self.data.num_rows + len(self.unequal_lines)
        refusals = Refusals("ingest", f"rows of {self.path.name}", total, self.largest_share, KEY)
        refusals.add_all(counts, f"{self.path}, line {line}: {example}")
        click.echo(f"{self.path}, line {line}: {example} ({counts.total()} odd rows of {total})", err=True)

    def matching(self, column: str, pattern: str, strip: str = r"^\s+|\s+$") -> tuple[pa.ChunkedArray, np.ndarray]:
        """The column and which cells match. Where not all do, what ``strip`` matches is first taken out of them."""
        cells = self.data[column]
        good = _true(pc.match_substring_regex(cells, pattern))
        if not good.all():
            cells = pc.replace_substring_regex(cells, strip, "")
            good = _true(pc.match_substring_regex(cells, pattern))
        return cells, good

    def whole(self, column: str, least: int = 1, most: int = LARGEST_NUMBER) -> pd.arrays.IntegerArray:
        """A column of whole numbers from ``least`` to ``most`` as Int64. Other cells are marked, and null.

        Spaces around the digits do not matter, nor does ``.0`` after them.
        """
        digits, good = self.matching(column, r"^[0-9]{1,9}$", strip=r"^\s+|(\.0*)?\s*$")
        cells = pc.if_else(pa.array(good), digits, pa.scalar(None, pa.string()))
        numbers = pc.fill_null(pc.cast(cells, pa.int64()), -1).to_numpy()
        good = (numbers >= least) & (numbers <= most)
        limits = f"from {least} to {most}" if most < LARGEST_NUMBER else f"of at least {least}"
        self.mark(~good, column, f"not a whole number {limits}")
        result = pd.array(numbers, dtype="Int64")
        result[~good] = pd.NA
        return result

    def translated(self, column: str, values: Mapping[str | None, object]) -> np.ndarray:
        """A column of few strings, replaced by ``values``; None as a key is a blank. Others are marked, and None.

        Neither case matters, nor spaces around a string, nor ``.0`` after it.
        """
        encoded = self.data[column].combine_chunks().dictionary_encode()
        tidy = [re.sub(r"\.0*$", "", string.strip()).lower() for string in encoded.dictionary.to_pylist()]
        keys: list[str | None] = [None if string in _BLANK_TIDY else string for string in tidy]
        known = np.array([key in values for key in keys] + [None in values])
        replacements = np.array([values.get(key) for key in keys] + [values.get(None)], dtype=object)
        places = np.asarray(pc.fill_null(encoded.indices, len(keys)))
        expected = ", ".join("blank" if value is None else value for value in values)
        self.mark(~known[places], column, f"not one of {expected}")
        return replacements[places]

    def single(self, column: str, keys: pd.Series) -> np.ndarray:
        """Which rows hold a key that no other row holds, or that of an earlier row that says something else.

        Of rows that are alike the first one stays. ``keys`` are the tidy values of the column; those that are null
        are not single. All other rows are marked.
        """
        several = (keys.duplicated(keep=False) & keys.notna()).to_numpy()
        single = keys.notna().to_numpy() & ~several
        if several.any():
            rows = self.data.filter(pa.array(several)).to_pandas()
            rows[column] = keys[several].to_numpy()
            repeated = rows.duplicated().to_numpy()
            versions = rows[~repeated][column].value_counts()
            differing = rows[column].map(versions).to_numpy() > 1
            places = np.flatnonzero(several)
            for problem, which in (
                ("in rows that differ", differing),
                ("in an earlier row too", repeated & ~differing),
            ):
                self.mark(np.isin(np.arange(len(keys)), places[which]), column, problem)
            single[places[~repeated & ~differing]] = True
        return single


def _true(mask: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.fill_null(mask, False))


def _shown(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "...")


def read(path: Path, columns: Iterable[str | tuple[str, ...]], largest_share: float) -> Rows:
    """The given columns. A tuple holds alternative names of one column; its first one is used.

    ``largest_share`` is the share of odd rows from which `Rows.stop_if_too_many` ends the step. Raises UserError for a
    file that cannot be read or is cut off, and for a column that is there twice or not at all.
    """
    alternatives = [(column,) if isinstance(column, str) else column for column in columns]
    try:
        with pa.input_stream(str(path), compression="gzip" if path.suffix == ".gz" else None) as stream:
            content = stream.read()
        header = _header(path, content)
        present = [_present_name(path, header, names) for names in alternatives]
        if not content.isascii():
            content = decode(content).encode()
        data, unequal_lines = _parse(content, present)
        if _lines(content) > data.num_rows + len(unequal_lines):
            _refuse_lost_rows(path, header, content)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}{_explain(error)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {_unreadable(error)}") from None
    if data.num_rows == 0 and unequal_lines:
        raise UserError(f"{path}: no row has as many values as there are column names, {len(header)}: {DAMAGED}")
    if data.num_rows == 0:
        raise UserError(f"{path}: has a header and no rows: download it again")
    return Rows(path, data.rename_columns([names[0] for names in alternatives]), unequal_lines, largest_share)


def _header(path: Path, content: bytes) -> list[str]:
    line, _, _ = content.partition(b"\n")
    if not line.strip():
        raise UserError(f"{path}: is empty, expected a line of column names: download it again")
    return [name.strip('"') for name in line.decode("utf-8-sig").rstrip("\r").split(",")]


def _parse(content: bytes, columns: list[str]) -> tuple[pa.Table, list[int]]:
    """The columns as strings, and the lines that have too few or too many values."""
    unequal_rows: list[pyarrow.csv.InvalidRow] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        if "\n" in row.text.strip():
            return "error"  # a quotation mark that is not closed: other rows are lost in this one
        unequal_rows.append(row)
        return "skip"

    data = _read_strings(content, columns, skip)
    last_line = data.num_rows + len(unequal_rows) + 1
    for row in unequal_rows[-1:]:
        if row.number == last_line and row.actual_columns < row.expected_columns:  # the file may be cut off here
            raise pa.ArrowInvalid(
                f"Row #{row.number}: Expected {row.expected_columns} columns, got {row.actual_columns}"
            )
    return data, [row.number for row in unequal_rows]


def _read_strings(
    content: bytes, columns: list[str], on_unequal_row: Callable[[pyarrow.csv.InvalidRow], str], named: bool = True
) -> pa.Table:
    """The columns as strings. Not ``named``: by their places f0, f1 and so on; then the header is a row."""
    return pyarrow.csv.read_csv(
        pa.BufferReader(content),
        read_options=pyarrow.csv.ReadOptions(
            block_size=8 << 20, use_threads=False, autogenerate_column_names=not named
        ),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=on_unequal_row),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=columns,
            column_types=dict.fromkeys(columns, pa.string()),
            null_values=BLANK,
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _lines(content: bytes) -> int:
    """How many lines after the first one are not empty."""
    return content.rstrip().count(b"\n") - content.count(b"\n\n") - content.count(b"\n\r\n")


def _refuse_lost_rows(path: Path, header: list[str], content: bytes) -> None:
    """Raises UserError if a cell, read or not, has lost other rows in it. A line break alone does no harm."""
    columns = [f"f{place}" for place in range(len(header))]
    data = _read_strings(content, columns, lambda row: "skip", named=False)
    for name, column in zip(header, data.columns, strict=True):
        for row in np.flatnonzero(_true(pc.match_substring(column, "\n"))).tolist():
            value = column[row].as_py()
            if value.count(",") >= len(header) - 1:  # from a column to the same one of another row
                raise UserError(
                    f"{path}, line {row + 1}: {name} is {_shown(value)}, a quotation mark that is not closed: {DAMAGED}"
                )


def _present_name(path: Path, header: list[str], names: tuple[str, ...]) -> str:
    """The first of the names that is in the header, as it stands there: maybe with spaces around it."""
    for name in names:
        present = [column for column in header if column.strip() == name]
        if len(present) > 1:
            raise UserError(f"{path}: column {name!r} occurs {len(present)} times: keep one")
        if present:
            return present[0]
    lower_case = {name.strip().lower(): name for name in reversed(header)}
    similar = get_close_matches(names[0].lower(), lower_case, n=1)
    hint = f"is {lower_case[similar[0]]!r} meant? rename it" if similar else f"the columns are {', '.join(header)}"
    raise UserError(f"{path}: column {names[0]!r} is missing; {hint}")


def _explain(error: pa.ArrowInvalid) -> str:
    text = str(error).splitlines()[0]
    counts = re.search(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)", text)
    if counts:
        line = f", line {counts[1]}" if counts[1] else ""
        return f"{line}: {counts[3]} values in a row, expected {counts[2]}: {DAMAGED}"
    return f": not a readable CSV file ({text}): download it again"


def _unreadable(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "no permission to read it: grant it"
    if isinstance(error, UnicodeDecodeError):
        return "the column names are not UTF-8: convert or replace the file"
    return f"cut off or damaged ({str(error).splitlines()[0]}): download it again"
