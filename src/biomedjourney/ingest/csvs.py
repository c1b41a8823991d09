"""Reads CSV files of the archives, gzip or plain. Columns go by name, values are checked, errors name the line."""

import io
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from biomedjourney.errors import UserError


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


def read(path: Path, columns: Iterable[str | tuple[str, ...]]) -> pa.Table:
    """The given columns as strings, blank values null. A tuple holds alternative names of one column.

    The result uses the first name of a tuple. Raises UserError for a file that cannot be read, is cut off, is not in
    UTF-8, has rows of unequal length, or has a column twice or not at all.
    """
    alternatives = [(column,) if isinstance(column, str) else column for column in columns]
    try:
        header = _header(path)
        present = [_present_name(path, header, names) for names in alternatives]
        with _open(path) as stream:
            data = pyarrow.csv.read_csv(
                stream,
                read_options=pyarrow.csv.ReadOptions(block_size=8 << 20, use_threads=False),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=present,
                    column_types=dict.fromkeys(present, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=True,
                ),
            )
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}{_explain(path, error)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {_unreadable(error)}") from None
    if data.num_rows == 0:
        raise UserError(f"{path}: has a header and no rows: download it again")
    return data.rename_columns([names[0] for names in alternatives])


def _open(path: Path) -> pa.NativeFile:
    return pa.input_stream(str(path), compression="gzip" if path.suffix == ".gz" else None)


def _header(path: Path) -> list[str]:
    with _open(path) as stream:
        line, _, _ = stream.read(65536).partition(b"\n")
    if not line.strip():
        raise UserError(f"{path}: is empty, expected a line of column names: download it again")
    return [name.strip().strip('"') for name in line.decode("utf-8-sig").rstrip("\r").split(",")]


def _present_name(path: Path, header: list[str], names: tuple[str, ...]) -> str:
    """The first of the names that is in the header."""
    for name in names:
        if header.count(name) > 1:
            raise UserError(f"{path}: column {name!r} occurs {header.count(name)} times: keep one")
        if name in header:
            return name
    lower_case = {name.lower(): name for name in reversed(header)}
    similar = get_close_matches(names[0].lower(), lower_case, n=1)
    hint = f"is {lower_case[similar[0]]!r} meant? rename it" if similar else f"the columns are {', '.join(header)}"
    raise UserError(f"{path}: column {names[0]!r} is missing; {hint}")


def _explain(path: Path, error: pa.ArrowInvalid) -> str:
    text = str(error).splitlines()[0]
    if "UTF8" in text:
        return f", line {_first_line_not_utf8(path)}: has bytes that are not UTF-8: convert or replace the file"
    counts = re.search(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)", text)
    if counts:
        line = f", line {counts[1]}" if counts[1] else ""
        return f"{line}: {counts[3]} values in a row, expected {counts[2]}: fix it, or download the file again"
    return f": not a readable CSV file ({text}): download it again"


def _first_line_not_utf8(path: Path) -> int:
    with _open(path) as stream:
        for number, line in enumerate(io.BufferedReader(stream), 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _unreadable(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "no permission to read it: grant it"
    if isinstance(error, UnicodeDecodeError):
        return "the column names are not UTF-8: convert or replace the file"
    return f"cut off or damaged ({str(error).splitlines()[0]}): download it again"


def require(path: Path, data: pa.Table, column: str, good: pa.ChunkedArray | np.ndarray, expected: str) -> None:
    """Raises UserError, with line and value, for the first row where ``good`` is false or null."""
    good = np.asarray(pc.fill_null(good, False)) if isinstance(good, pa.ChunkedArray) else good
    if not good.all():
        row = int(np.argmin(good))
        value = data[column][row].as_py()
        shown_value = "blank" if value is None else repr(value if len(value) <= 60 else value[:57] + "...")
        bad_rows = int(len(good) - good.sum())
        more = f" (and {bad_rows - 1} more such rows)" if bad_rows > 1 else ""
        raise UserError(
            f"{path}, line {row + 2}: {column} is {shown_value}, expected {expected}{more}: "
            "fix it, or download the file again"
        )


def whole(path: Path, data: pa.Table, column: str, least: int = 1) -> np.ndarray:
    """A column of whole numbers of at least ``least``, as int64. Raises UserError for any other value."""
    require(path, data, column, pc.match_substring_regex(data[column], r"^[0-9]{1,9}$"), "a whole number")
    numbers = pc.cast(data[column], pa.int64()).to_numpy()
    require(path, data, column, numbers >= least, f"a number of at least {least}")
    return numbers


def translated(path: Path, data: pa.Table, column: str, values: Mapping[str | None, object]) -> np.ndarray:
    """A column of few strings, replaced by ``values``; None as a key is a blank. Raises UserError for other strings."""
    encoded = data[column].combine_chunks().dictionary_encode()
    strings = encoded.dictionary.to_pylist()
    expected = ", ".join("blank" if value is None else value for value in values)
    allowed = pa.array([string in values for string in strings] or [False], pa.bool_())
    good = pc.fill_null(allowed.take(encoded.indices), None in values)
    require(path, data, column, np.asarray(good), f"one of {expected}")
    replacements = np.array([values[string] for string in strings] + [values.get(None)], dtype=object)
    return replacements[np.asarray(pc.fill_null(encoded.indices, len(strings)))]


def distinct(path: Path, data: pa.Table, column: str) -> None:
    """Raises UserError if a value of the column, which is a key, occurs twice."""
    repeated = pd.Series(data[column].to_pandas()).duplicated().to_numpy()
    require(path, data, column, ~repeated, "a value that occurs once")
