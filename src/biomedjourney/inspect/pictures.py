"""Draws the picture columns of rows to PNG files."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from biomedjourney import tables

PNG = b"\x89PNG\r\n\x1a\n"


def draw(rows: Iterable[dict[str, Any]], folder: Path, key: Sequence[str] = ()) -> list[Path]:
    """Writes each picture of the rows to a PNG file in ``folder``, and returns the files.

    A file is named by the row's ``key``, or without one by the number of the row, from 1, and by the column where that
    is not ``png``. Files of other names in the folder stay.
    """
    paths = []
    for number, row in enumerate(rows, 1):
        name = "_".join(str(row[column]) for column in key) or str(number)
        for column, value in row.items():
            if isinstance(value, bytes) and value.startswith(PNG):
                end = "" if column == "png" else f".{column}"
                path = folder / (re.sub(r"[^\w.-]", "_", name + end) + ".png")
                with tables.atomic_path(path) as temporary:
                    temporary.write_bytes(value)
                paths.append(path)
    return paths
