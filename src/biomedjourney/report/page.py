"""Puts the report together: reads the tables, draws, fills the template, writes three files."""

from collections.abc import Iterable
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure

from biomedjourney import pixels, progress, tables
from biomedjourney.beyond import BEYOND
from biomedjourney.measures import ALLOWED, CMIG, GUIDING, IN_PAPER, MAIN, MEASURES, RANKING, Measure
from biomedjourney.report import charts, claims, examples, orders, registration, subgroups, timing
from biomedjourney.report.text import main_table, paper_cmig_recomputed, percent, trained_several_times
from biomedjourney.systems import about

SINGLE = (
    *("systems", "ablations", "beyond", "soundness", "judges", "findings", "subgroups", "scores", "training"),
    *("guidance", "samplers", "cohort", "triples", "studies", "registrations"),
)
VERBS = {
    "training": "train", "guidance": "evaluate", "cohort": "gather", "triples": "gather", "studies": "ingest",
    "registrations": "register", "pixels": "preprocess", "registered": "register", "generated": "generate",
}  # fmt: skip
PACKAGES = (
    *("biomedjourney", "torch", "torchvision", "diffusers", "transformers", "open_clip_torch", "torchxrayvision"),
    *("SimpleITK", "numpy", "pandas", "pyarrow", "scikit-learn", "snakemake", "matplotlib"),
)
DESCRIPTIONS_SHOWN = 12
FILES = ("index.html", "grid.png", "curves.png", "main-table.txt")
NOT_SHOWN = "Pictures of patients are left out: report.show_patients."
# no row is of one patient
AS_CSV = (
    *("systems", "ablations", "soundness", "judges", "findings", "subgroups", "guidance", "samplers", "training"),
    "cohort",
)


def write(inputs: dict[str, Any], settings: dict[str, Any], out: Path) -> str:
    """Writes `FILES` to the folder ``out``; returns what to print.

    ``inputs`` holds the path of each table by its name, and tuples of paths for pixels, registered and generated; the
    latter is that of the system biomedjourney. ``benchmarks``: the folder of Snakemake's benchmarks, or None.
    Pictures and texts of patients appear only where `report.show_patients` says so.
    """
    steps = progress.track(("reading", "drawing", "writing"), "report", unit="step")
    next(steps)
    read = {name: tables.read(inputs[name], name) for name in SINGLE if inputs.get(name)}
    forward = read["triples"][read["triples"]["direction"] == "forward"]
    read["forward"] = forward[forward["writer"] == _writer(settings)]
    is_forward = read["registrations"]["pair_id"].isin(forward["pair_id"])
    read["registrations"] = read["registrations"][is_forward]
    next(steps)
    table = main_table(read["systems"])
    show = settings["report"]["show_patients"]
    grids = _pictures(inputs, read, settings) if show else {}
    extremes = _registered(inputs, read) if show else None
    grid = grids["examples"][1] if "examples" in grids else charts.png(charts.notice(NOT_SHOWN))
    losses = charts.losses(read["training"])
    curves = charts.png(losses)
    page = _fill(inputs, read, settings, grids, extremes, losses)
    next(steps)
    with ExitStack() as all_or_none:
        for name, content in zip(FILES, (page.encode(), grid, curves, table.encode()), strict=True):
            all_or_none.enter_context(tables.atomic_path(out / name)).write_bytes(content)
    list(steps)
    return f"{table}\nThe report: {out / 'index.html'}"


def _writer(settings: dict[str, Any]) -> str:
    """The writer whose descriptions the model of the main row learned from."""
    run = settings["train"]["runs"][settings["systems"]["biomedjourney"]["run"]]
    return run["writer"] or settings["rewrite"]["writers"][0]


def _fill(
    inputs: dict[str, Any],
    read: dict[str, pd.DataFrame],
    settings: dict[str, Any],
    grids: dict[str, tuple[list[examples.Example], bytes]],
    extremes: str | None,
    losses: Figure,
) -> str:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "percent": percent,
        "figure": _figure,
        "count": lambda n: "–" if pd.isna(n) else f"{n:,.0f}",
        "minutes": lambda minutes: "–" if pd.isna(minutes) else f"{minutes:,.1f}",
    }
    template = environment.from_string((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
    threshold = settings["register"]["threshold"]
    return template.render(
        settings=settings,
        settings_text=yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=110),
        about={name: about(name, own) for name, own in settings["systems"].items()},
        measures=_measures(read["systems"], MAIN),
        parts=_measures(read["systems"], [measure for measure in MEASURES if measure.part_of]),
        beyond=_measures(read["beyond"], BEYOND),
        beyond_of={str(row["system"]): row for row in _records(read["beyond"])},
        soundness=_records(read["soundness"]) if "soundness" in read else [],
        gaps=subgroups.gaps(_main_rows(read["subgroups"]), MAIN),
        least_group=subgroups.LEAST_PAIRS,
        claims=claims.claims(read["systems"], read["findings"], read["ablations"]),
        systems=_records(_recomputed(read["systems"])),
        ablations=_records(_recomputed(read["ablations"])),
        judged=_records(read["judges"]) if "judges" in read else [],
        orders=[orders.compare(read["judges"], measure) for measure in RANKING] if "judges" in read else [],
        ranking=[{"name": measure.name, "title": measure.title} for measure in RANKING],
        findings=_wide(read["findings"], "finding"),
        subgroups=_records(_main_rows(read["subgroups"])),
        guidance=_records(read["guidance"]) if "guidance" in read else [],
        samplers=_records(read["samplers"]) if "samplers" in read else [],
        allowed=ALLOWED,
        guiding=[{"name": measure.name, "title": measure.title} for measure in GUIDING],
        cohort=_records(read["cohort"]),
        registration=_registration(read["registrations"], read["forward"]),
        triples=_counted_triples(read["triples"]),
        writer=_writer(settings),
        descriptions=_descriptions(read["forward"], settings),
        several=trained_several_times(read["systems"]),
        seeds=sorted(int(seed) for seed in read["scores"]["seed"].unique()),
        training_seeds=sorted(int(seed) for seed in read["scores"]["training_seed"].unique()),
        charts={
            "intervals": charts.svg(charts.intervals(read["systems"])),
            "cohort": charts.svg(charts.flow(read["cohort"])),
            "guidance": charts.svg(charts.trade_off(read["guidance"])) if "guidance" in read else None,
            "samplers": charts.svg(charts.samplers(read["samplers"], ALLOWED)) if "samplers" in read else None,
            "losses": charts.svg(losses),
            "registration": charts.svg(charts.registration_scores(read["registrations"], threshold)),
        },
        extremes=extremes,
        grids={name: (rows, charts.data_uri(picture, "image/png")) for name, (rows, picture) in grids.items()},
        picked_by={"examples": examples.RULE, "missed": examples.MISSED},
        csv={name: _csv(read[name]) for name in AS_CSV if name in read},
        steps=_steps(inputs.get("benchmarks"), settings["resources"]),
        files=_files(inputs),
        versions={"Python": python_version()} | {name: _version(name) for name in PACKAGES},
    )


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return [{str(name): value for name, value in record.items()} for record in records]


def _figure(row: dict[str, Any], measure: str, sign: str = "") -> dict[str, str]:
    """A measure, its interval and its spread over training seeds, times 100, for a table's cell.

    ``sign`` "+": positive numbers get their sign.
    """

    def between(*ends: str) -> str:
        least, greatest = (row.get(f"{measure}_{end}") for end in ends)
        if least is None or greatest is None:
            return ""
        return f"{100 * least:{sign}.1f} to {100 * greatest:{sign}.1f}"

    value = row.get(measure)
    return {
        "value": "–" if value is None else f"{100 * value:{sign}.2f}",
        "interval": between("low", "high"),
        "seeds": between("seeds_least", "seeds_greatest"),
    }


def _recomputed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(paper_cmig_recomputed=[paper_cmig_recomputed(row) for row in rows.to_dict("records")])


def _measures(systems: pd.DataFrame, declared: Iterable[Measure]) -> list[dict[str, Any]]:
    """Those of the measures that are defined for some system: name, title, and what the page shows beside each."""
    return [
        {
            "name": measure.name,
            "title": measure.title,
            "description": measure.description,
            "in_paper": measure in IN_PAPER,
            "recomputed": measure is CMIG,
            "by_finding": measure.by_finding,
        }
        for measure in declared
        if measure in IN_PAPER or systems[measure.name].notna().any()
    ]


def _wide(rows: pd.DataFrame, by: str) -> dict[str, Any]:
    names = list(dict.fromkeys(rows[by]))
    cells = {(row["system"], row[by]): row for row in _records(rows)}
    return {"names": names, "systems": list(dict.fromkeys(rows["system"])), "cells": cells}


def _main_rows(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["system"] == "biomedjourney"]


def _registration(registrations: pd.DataFrame, forward: pd.DataFrame) -> dict[str, Any]:
    """Counts and medians of the pairs read forward."""
    test = registrations["pair_id"].isin(forward.loc[forward["split"] == "test", "pair_id"])
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


def _counted_triples(triples: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per writer and direction: triples, accepted ones, distinct descriptions and their mean length."""
    counted = []
    for (writer, direction), rows in triples.groupby(["writer", "direction"], sort=False):
        accepted = rows.loc[rows["accepted"], "description"]
        counted.append(
            {
                "writer": writer,
                "direction": direction,
                "count": len(rows),
                "accepted": len(accepted),
                "distinct": int(accepted.nunique()),
                "characters": float(accepted.str.len().mean()) if len(accepted) else None,
            }
        )
    return counted


def _descriptions(forward: pd.DataFrame, settings: dict[str, Any]) -> list[str]:
    """Some descriptions of test pairs, picked by the hash of their identifier."""
    if not settings["report"]["show_patients"]:
        return []
    test = forward[forward["accepted"] & (forward["split"] == "test")].set_index("pair_id")
    return [str(test.loc[pair_id, "description"]) for pair_id in examples.by_hash(test.index)[:DESCRIPTIONS_SHOWN]]


def _csv(rows: pd.DataFrame) -> str:
    """The table as a data URI, for a link that saves it."""
    return charts.data_uri(rows.to_csv(index=False).encode(), "text/csv")


def _steps(benchmarks: Path | None, resources: dict[str, Any]) -> list[dict[str, Any]]:
    """What each step cost; empty where the commands were run without Snakemake."""
    if benchmarks is None:
        return []
    return timing.steps(benchmarks, {verb: job.get("gpus", 0) for verb, job in resources.items()})


def _pictures(
    inputs: dict[str, Any], read: dict[str, pd.DataFrame], settings: dict[str, Any]
) -> dict[str, tuple[list[examples.Example], bytes]]:
    """Two grids, `examples` and `missed`: their rows and the picture (PNG); without one that has no rows."""
    drawn = {row for path in inputs["generated"] for row in tables.read(path, "generated", ["pair_id"])["pair_id"]}
    triples = read["forward"][read["forward"]["pair_id"].isin(drawn)]
    findings, count = settings["labels"]["findings"], settings["report"]["examples"]
    picked = {
        "examples": examples.pick(triples, read["studies"], findings, count),
        "missed": examples.missed(triples, read["studies"], read["scores"], findings, count),
    }
    return {name: (rows, _grid(inputs, rows)) for name, rows in picked.items() if rows}


def _grid(inputs: dict[str, Any], picked: list[examples.Example]) -> bytes:
    """The grid of some examples (PNG)."""
    film = _decode(tables.find(inputs["pixels"], "pixels", "dicom_id", [e.dicom_id for e in picked]))
    priors = tables.find(inputs["registered"], "registered", "pair_id", [e.pair_id for e in picked])
    registered, coverage = _decode(priors), _decode(priors, "coverage")
    ours = _decode(tables.find(inputs["generated"], "generated", "pair_id", [e.pair_id for e in picked]))
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
    return charts.png(charts.grid(rows))


def _registered(inputs: dict[str, Any], read: dict[str, pd.DataFrame]) -> str | None:
    """The pairs that fit worst and best (data URI of a PNG); None where there are no pictures."""
    extreme_pairs = registration.extremes(read["registrations"], read["forward"])
    pairs = registration.read(extreme_pairs, inputs["pixels"], inputs["registered"])
    return charts.data_uri(charts.png(registration.grid(pairs)), "image/png") if pairs else None


def _decode(rows: dict[str, dict[str, Any]], column: str = "png") -> dict[str, np.ndarray]:
    return {key: pixels.decode_png(row[column]) for key, row in rows.items() if row[column] is not None}


def _files(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """Each table that the report reads: its file, rows and the verb that wrote it; shards in one line."""
    files = [(name, [Path(inputs[name])]) for name in SINGLE if inputs.get(name)]
    files += [(name, [Path(path) for path in inputs[name]]) for name in ("pixels", "registered", "generated")]
    return [
        {
            "file": str(paths[0]) + (f" and {len(paths) - 1} more shards" if len(paths) > 1 else ""),
            "table": name,
            "rows": sum(tables.row_count(path, name) for path in paths),
            "verb": VERBS.get(name, "evaluate"),
        }
        for name, paths in files
    ]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
