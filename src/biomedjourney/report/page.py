"""Puts the report together: reads the tables, draws, fills the template, writes three files."""

from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml

from biomedjourney import pixels, progress, tables
from biomedjourney.evaluate.measures import combine
from biomedjourney.report import charts, claims, examples, registration
from biomedjourney.report.text import main_table, percent

SINGLE = (
    *("systems", "ablations", "findings", "subgroups", "scores", "training", "guidance", "cohort"),
    *("pairs", "studies", "progressions", "registrations"),
)
WRITERS = {
    "training": "train", "guidance": "evaluate", "cohort": "pair", "pairs": "pair", "studies": "ingest",
    "progressions": "rewrite", "registrations": "register", "pixels": "preprocess", "registered": "register",
    "generated": "generate",
}  # fmt: skip
PACKAGES = (
    *("biomedjourney", "torch", "torchvision", "diffusers", "transformers", "open_clip_torch", "torchxrayvision"),
    *("SimpleITK", "numpy", "pandas", "pyarrow", "scikit-learn", "snakemake", "matplotlib"),
)
ABOUT = {
    "biomedjourney": "two stages, registered prior, progression description",
    "text-only": "stage 1 alone: drawn from the text, without a prior (RoentGen's method with our training)",
    "roentgen": "RoentGen's published weights",
    "instruct-pix2pix": "InstructPix2Pix, published weights",
    "instruct-pix2pix-finetuned": "InstructPix2Pix, fine-tuned on the pairs",
    "stable-diffusion": "Stable Diffusion, published weights",
    "untrained": "the model before any training",
    "copy-prior": "no model: the registered prior handed back unchanged",
    "real-follow-up": "no model: the true later picture, the upper bound",
    "one-stage": "trained on the pairs alone",
    "no-registration": "the prior as it was taken, not registered",
    "no-registration-one-stage": "neither registration nor stage 1",
    "impression-text": "the later report's Impression in place of the description",
    "rules-text": "descriptions by rules",
}
DESCRIPTIONS_SHOWN = 12


def write(inputs: dict[str, Any], settings: dict[str, Any], out: Path) -> str:
    """Writes index.html, main-table.txt and grid.png to ``out``; returns what to print.

    ``inputs`` holds the path of each table by its name, and tuples of paths for pixels, registered and generated.
    Pictures and texts of patients appear only where `report.show_patients` says so.
    """
    steps = progress.track(("reading", "drawing", "writing"), "report", unit="step")
    next(steps)
    read = {name: tables.read(inputs[name], name) for name in SINGLE if inputs.get(name)}
    next(steps)
    table = main_table(read["systems"])
    shown = {}
    if settings["report"]["show_patients"]:
        shown = _pictures(inputs, read, settings) | _registered(inputs, read)
    grid = shown.get("grid") or charts.png(charts.notice("Pictures of patients are left out: report.show_patients."))
    page = _fill(inputs, read, settings, shown)
    next(steps)
    for name, content in (("main-table.txt", table.encode()), ("grid.png", grid), ("index.html", page.encode())):
        with tables.atomic_path(out / name) as temporary:
            temporary.write_bytes(content)
    list(steps)
    return f"{table}\nThe report: {out / 'index.html'}"


def _fill(inputs: dict[str, Any], read: dict[str, pd.DataFrame], settings: dict[str, Any], shown: dict) -> str:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "percent": percent,
        "figure": _figure,
        "count": lambda n: "–" if pd.isna(n) else f"{n:,.0f}",
    }
    template = environment.from_string((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
    threshold = settings["register"]["threshold"]
    return template.render(
        settings=settings,
        settings_text=yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=110),
        about=ABOUT,
        claims=claims.claims(read["systems"]),
        systems=_records(_recomputed(read["systems"])),
        ablations=_records(_recomputed(read["ablations"])),
        findings=_wide(read["findings"], "finding"),
        subgroups=_grouped(read["subgroups"]),
        guidance=_records(read["guidance"]) if "guidance" in read else [],
        cohort=_records(read["cohort"]),
        registration=_registration(read["registrations"], read["pairs"]),
        descriptions=_described(read, settings),
        seeds=sorted(int(seed) for seed in read["scores"]["seed"].unique()),
        charts={
            "intervals": charts.svg(charts.intervals(read["systems"])),
            "cohort": charts.svg(charts.flow(read["cohort"])),
            "losses": charts.svg(charts.losses(read["training"])),
            "registration": charts.svg(charts.registration_scores(read["registrations"], threshold)),
        },
        shown=shown,
        grid=charts.data_uri(shown["grid"], "png") if "grid" in shown else None,
        picked_by=examples.RULE,
        files=_files(inputs),
        versions={"Python": python_version()} | {name: _version(name) for name in PACKAGES},
    )


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return [{str(name): value for name, value in record.items()} for record in records]


def _figure(row: dict[str, Any], measure: str) -> dict[str, str]:
    """A measure and its interval, times 100, for a table's cell."""
    low, high = row.get(f"{measure}_low"), row.get(f"{measure}_high")
    interval = "" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"
    return {"value": percent(row.get(measure)), "interval": interval}


def _recomputed(rows: pd.DataFrame) -> pd.DataFrame:
    paper = [rows[f"paper_{name}"].to_numpy(dtype=float) for name in ("pathology_auc", "race_auc", "age_r")]
    return rows.assign(paper_cmig_recomputed=combine(*paper))


def _wide(rows: pd.DataFrame, by: str) -> dict[str, Any]:
    names = list(dict.fromkeys(rows[by]))
    cells = {(row["system"], row[by]): row for row in _records(rows)}
    return {"names": names, "systems": list(dict.fromkeys(rows["system"])), "cells": cells}


def _grouped(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return _records(rows[rows["system"] == "biomedjourney"])


def _registration(registrations: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Any]:
    test = registrations["pair_id"].isin(pairs.loc[pairs["split"] == "test", "pair_id"])
    return {
        "pairs": len(registrations),
        "accepted": int(registrations["accepted"].sum()),
        "test": int(test.sum()),
        "test_accepted": int((registrations["accepted"] & test).sum()),
        "before": float(registrations["score_before"].median()),
        "after": float(registrations["score_after"].median()),
        "identity": int(registrations["reason"].str.startswith("identity").sum()),
        "below": int((~registrations["accepted"] & registrations["score_after"].notna()).sum()),
        "missing": int(registrations["score_after"].isna().sum()),
        "limit": registration.LIMIT,
    }


def _described(read: dict[str, pd.DataFrame], settings: dict[str, Any]) -> dict[str, Any]:
    described = examples.descriptions(read["progressions"], settings["rewrite"]["writer"])
    test = read["pairs"].loc[read["pairs"]["split"] == "test", "pair_id"]
    picked = [p for p in examples.by_hash(test) if p in described.index][:DESCRIPTIONS_SHOWN]
    return {
        "count": len(described),
        "distinct": int(described.nunique()),
        "characters": float(described.str.len().mean()) if len(described) else None,
        "valid": float(read["progressions"]["valid"].mean()) if len(read["progressions"]) else None,
        "examples": [(p, described[p]) for p in picked] if settings["report"]["show_patients"] else [],
    }


def _pictures(inputs: dict[str, Any], read: dict[str, pd.DataFrame], settings: dict[str, Any]) -> dict[str, Any]:
    """The grid (PNG) and its rows for the caption; empty where there is nothing."""
    generated = {path.stem: path for path in inputs["generated"]}
    accepted = read["registrations"].loc[read["registrations"]["accepted"], "pair_id"]
    pairs = read["pairs"][(read["pairs"]["split"] == "test") & read["pairs"]["pair_id"].isin(accepted)]
    if "biomedjourney" not in generated or pairs.empty:
        return {}
    drawn = set(tables.read(generated["biomedjourney"], "generated", ["pair_id"])["pair_id"])
    described = examples.descriptions(read["progressions"], settings["rewrite"]["writer"])
    picked = examples.pick(
        pairs[pairs["pair_id"].isin(drawn)], read["studies"], described, settings["labels"]["findings"],
        settings["report"]["examples"],
    )  # fmt: skip
    if not picked:
        return {}
    film = _decode(tables.find(inputs["pixels"], "pixels", "dicom_id", [e.dicom_id for e in picked]))
    priors = tables.find(inputs["registered"], "registered", "pair_id", [e.pair_id for e in picked])
    registered, coverage = _decode(priors), _decode(priors, "coverage")
    ours = _decode(tables.find([generated["biomedjourney"]], "generated", "pair_id", [e.pair_id for e in picked]))
    rows = [
        charts.Row(
            prior=registered[e.pair_id],
            covered=coverage.get(e.pair_id, np.ones_like(registered[e.pair_id])) > 0.5,
            description=e.description,
            generated=ours[e.pair_id],
            current=film[e.dicom_id],
        )
        for e in picked
    ]
    return {
        "grid": charts.png(charts.grid(rows)),
        "examples": picked,
    }


def _registered(inputs: dict[str, Any], read: dict[str, pd.DataFrame]) -> dict[str, str]:
    """The pairs that fit worst and best (data URI of a PNG); empty where there are no pictures."""
    chosen = registration.extremes(read["registrations"], read["pairs"])
    pairs = registration.read(chosen, inputs["pixels"], inputs["registered"])
    return {"registration": charts.data_uri(charts.png(registration.grid(pairs)), "png")} if pairs else {}


def _decode(rows: dict[str, dict[str, Any]], column: str = "png") -> dict[str, np.ndarray]:
    return {key: pixels.decode_png(row[column]) for key, row in rows.items() if row[column] is not None}


def _files(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """Each table that the report reads: its file, rows and the verb that wrote it; shards in one line."""
    given = [(name, [Path(inputs[name])]) for name in SINGLE if inputs.get(name)]
    given += [(name, [Path(path) for path in inputs[name]]) for name in ("pixels", "registered")]
    given += [("generated", [Path(path)]) for path in inputs["generated"]]
    return [
        {
            "file": str(paths[0]) + (f" and {len(paths) - 1} more shards" if len(paths) > 1 else ""),
            "table": name,
            "rows": sum(tables.row_count(path, name) for path in paths),
            "verb": WRITERS.get(name, "evaluate"),
        }
        for name, paths in given
    ]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
