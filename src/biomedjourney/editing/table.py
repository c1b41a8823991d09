"""A table of films and texts to pictures in a folder, and one row for each."""

from pathlib import Path
from typing import Any

import pandas as pd

from biomedjourney import progress, tables
from biomedjourney.editing import draw, edits
from biomedjourney.editing.run import Result
from biomedjourney.editing.run import run as edit_film
from biomedjourney.errors import UserError, brief
from biomedjourney.preprocess import files

COLUMNS = ["row", "path", "text", "seed", "out", "noise_floor", "changed", "warning", "error"]


def run(cases: Path, folder: Path, model: Path, settings: edits.Settings) -> pd.DataFrame:
    """As `editing.edit_table`. The table of results is written too when the work is interrupted."""
    read = _read(cases)
    draw.load(model)  # a model that is not there is no failure of each film
    results: list[dict[str, Any]] = []
    try:
        for row, (path, text) in enumerate(progress.track(read, "edit", unit="film")):
            case = {"row": row, "path": path, "text": text}
            results += [
                case | outcome for outcome in _outcomes(row, cases.parent / path, text, folder, model, settings)
            ]
    finally:
        table = pd.DataFrame(results, columns=COLUMNS)
        _write(folder / f"edits{cases.suffix.lower()}", table)
    return table


def _outcomes(
    row: int, film: Path, text: str, folder: Path, model: Path, settings: edits.Settings
) -> list[dict[str, Any]]:
    """What became of one case, per seed."""
    try:
        is_dicom = film.is_file() and files.is_dicom(film) and not settings.raw
        out = folder / f"{row}-{film.stem}{'.dcm' if is_dicom else '.png'}"
        return _drawn(edit_film(film, text, model, settings, out), folder)
    except UserError as error:
        return _failed(str(error), settings)
    except Exception as error:  # one film's fault, of whatever kind, ends no run of a thousand
        return _failed(f"unexpected {brief(error)}", settings)


def _failed(error: str, settings: edits.Settings) -> list[dict[str, Any]]:
    outcome = {"out": "", "noise_floor": None, "changed": None, "warning": "", "error": error}
    return [{"seed": seed} | outcome for seed in settings.seeds]


def _drawn(result: Result, folder: Path) -> list[dict[str, Any]]:
    return [
        {
            "seed": one.seed,
            "out": str(out.relative_to(folder)) if out else "",
            "noise_floor": one.floor,
            "changed": one.share,
            "warning": "; ".join(result.cautions),
            "error": "",
        }
        for one, out in zip(result.edited, result.files, strict=True)
    ]


def _read(cases: Path) -> list[tuple[str, str]]:
    """The path and the text of each row. Raises UserError where the file or one of the columns cannot be read."""
    try:
        if cases.suffix.lower() == ".csv":
            table = pd.read_csv(cases, dtype=str, keep_default_na=False)
        else:
            table = pd.read_parquet(cases)
    except (OSError, ValueError) as error:
        raise UserError(f"{cases}: the table cannot be read ({brief(error)}): give a CSV or Parquet file") from None
    for name in ("path", "text"):
        if name not in table:
            raise UserError(f"{cases}: the column {name!r} is missing: give one row per film, with its path and text")
    if not len(table):
        raise UserError(f"{cases}: the table has no rows: give one row per film, with its path and text")
    return [(str(path), str(text)) for path, text in table[["path", "text"]].fillna("").itertuples(index=False)]


def _write(path: Path, table: pd.DataFrame) -> None:
    with tables.atomic_path(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False)
