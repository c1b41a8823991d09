"""What each step of the run cost, from the files that Snakemake's ``benchmark`` writes."""

from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

UNKNOWN = ["-", "NA"]  # what Snakemake writes where a job was too short to be measured


def jobs(folder: Path) -> pd.DataFrame:
    """One row per job: its ``name`` (the path of its file, without the ending) and Snakemake's columns.

    Of them ``s`` is the time by the clock, ``cpu_time`` that of the processors, and ``max_rss`` the memory in MB.
    """
    frames = [
        pd.read_csv(path, sep="\t", na_values=UNKNOWN).assign(name=path.relative_to(folder).with_suffix("").as_posix())
        for path in sorted(folder.rglob("*.tsv"))
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"name": []})


def steps(folder: Path, gpus: dict[str, int]) -> list[dict[str, Any]]:
    """One row per step, in the order of the names: its jobs, their minutes, and the largest memory of one, in MB.

    A step is a file of the folder, or a folder of numbered files, one for each shard. ``gpus``: how many GPUs a job of
    a verb has; the verb is the first folder of the step's path. The minutes are summed over the jobs: ``minutes`` by
    the clock, ``cpu_minutes`` of the processors, ``gpu_minutes`` by the clock times the GPUs.
    """
    measured = jobs(folder)
    if measured.empty:
        return []
    places = [PurePosixPath(name) for name in measured["name"]]
    measured["step"] = [str(place.parent if place.name.isdecimal() else place) for place in places]
    rows = measured.groupby("step", sort=True).agg(
        jobs=("s", "size"), seconds=("s", "sum"), cpu_seconds=("cpu_time", "sum"), memory_mb=("max_rss", "max")
    )
    verbs = pd.Series([str(step).partition("/")[0] for step in rows.index], rows.index)
    minutes = rows["seconds"] / 60
    rows = rows.assign(
        minutes=minutes, cpu_minutes=rows["cpu_seconds"] / 60, gpu_minutes=minutes * verbs.map(gpus).fillna(0)
    )
    return [{str(name): value for name, value in row.items()} for row in rows.reset_index().to_dict("records")]
