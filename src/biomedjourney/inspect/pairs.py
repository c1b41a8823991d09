"""A page to leaf through pairs: both films, both reports, and the descriptions of what changed."""

import base64
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import jinja2

from biomedjourney import systems, tables
from biomedjourney.errors import UserError
from biomedjourney.inspect.describe import opened
from biomedjourney.inspect.found import Found
from biomedjourney.inspect.query import rows_of

ALL = "select pair_id from pairs"
LABELS = {1: "{}", -1: "{} (uncertain)"}  # by the value of a label; absent findings are not named


def of_table(path: Path) -> list[str]:
    """The pair_ids of a table, each once, in the order of the rows. Raises UserError for a table that has none."""
    with opened(path) as file:
        if "pair_id" not in file.schema_arrow.names:
            raise UserError(f"{path}: has no column pair_id: give a table of pairs, such as triples, with --html")
        return list(dict.fromkeys(file.read(["pair_id"])["pair_id"].to_pylist()))


def of_query(database: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    """The pair_ids of an answer, as in `of_table`."""
    answer = database.sql(sql)
    if answer is None or "pair_id" not in answer.columns:
        raise UserError("--sql: the answer has no column pair_id, which --html needs: select it, as in triples")
    return list(dict.fromkeys(str(row[0]) for row in answer.select("pair_id").fetchall()))


def write(found: dict[str, Found], database: duckdb.DuckDBPyConnection, pair_ids: Iterable[str], page: Path) -> int:
    """Writes the page of these pairs, in their order, and returns how many it has.

    What a run has not made yet (registered films, descriptions, generated pictures) is left out. Raises UserError where
    the tables know none of the pairs.
    """
    descriptions = _grouped(_of_keys(found, database, "triples", "pair_id", pair_ids))
    known = {name: rows[0] for name, rows in descriptions.items()}
    known |= {row["pair_id"]: row for row in _of_keys(found, database, "pairs", "pair_id", pair_ids)}
    shown = [known[pair_id] for pair_id in pair_ids if pair_id in known]
    if not shown:
        raise UserError("--html: no pair to show: the tables pairs and triples have none of these pair_ids")
    study_ids = {row[column] for row in shown for column in ("prior_study_id", "study_id")}
    studies = {row["study_id"]: row for row in _of_keys(found, database, "studies", "study_id", study_ids)}
    films = _pictures(found, "pixels", "dicom_id", {row[c] for row in shown for c in ("prior_dicom_id", "dicom_id")})
    registered = _pictures(found, "registered", "pair_id", known)
    generated = _pictures(found, "generated", "pair_id", known, folder=systems.MAIN)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((Path(__file__).parent / "pairs.html").read_text(encoding="utf-8"))
    content = template.render(
        pairs=[
            {
                **row,
                "days": f"{row['interval_days']:,.0f}",
                "films": [
                    ("prior film", films.get(row["prior_dicom_id"])),
                    ("prior film, brought onto the current one", registered.get(row["pair_id"])),
                    ("current film", films.get(row["dicom_id"])),
                    ("generated, not a film", generated.get(row["pair_id"])),
                ],
                "descriptions": descriptions.get(row["pair_id"], []),
                "studies": [
                    ("prior", _study(studies.get(row["prior_study_id"]), row["prior_study_id"])),
                    ("current", _study(studies.get(row["study_id"]), row["study_id"])),
                ],
            }
            for row in shown
        ]
    )
    with tables.atomic_path(page) as temporary:
        temporary.write_text(content, encoding="utf-8")
    return len(shown)


def _grouped(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["pair_id"], []).append(row)
    return groups


def _of_keys(
    found: dict[str, Found], database: duckdb.DuckDBPyConnection, name: str, column: str, keys: Iterable[Any]
) -> list[dict[str, Any]]:
    """The rows of a table whose ``column`` is one of the keys; none where the run has no such table."""
    if name not in found:
        return []
    return rows_of(database.sql(f"from {name} where {column} in (select unnest($keys))", params={"keys": list(keys)}))


def _pictures(found: dict[str, Found], name: str, column: str, keys: Iterable[str], folder: str = "") -> dict[str, str]:
    """The pictures of a bulky table, as addresses for a page, by key; ``folder``: only files in a folder so named."""
    paths = [path for path in (found[name].paths if name in found else ()) if folder in ("", path.parent.name)]
    rows = tables.find(paths, name, column, keys)
    return {
        key: f"data:image/png;base64,{base64.b64encode(row['png']).decode()}"
        for key, row in rows.items()
        if row["png"] is not None
    }


def _study(row: dict[str, Any] | None, study_id: int) -> dict[str, Any]:
    """What the page says of a study: its report's sections and its labels that are not absent."""
    row = row or {}
    labels = [
        LABELS[row[label]].format(label.replace("_", " "))
        for label in tables.CHEXPERT_LABELS
        if row.get(label) in LABELS
    ]
    return {
        "study_id": study_id,
        "time": f"{row['study_time']:%Y-%m-%d %H:%M}" if row else "",
        "age": row.get("age"),
        "sections": [(title, _reflowed(row.get(title.lower(), ""))) for title in ("Findings", "Impression")],
        "labels": ", ".join(labels),
    }


def _reflowed(text: str) -> str:
    """A report's text with its paragraphs and list items on one line each, in place of lines of 80 characters."""
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:\d+[.)]|[-*•])\s)", text.strip())
    return "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
