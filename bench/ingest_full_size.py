"""Ingest and pair at MIMIC-CXR's true size beside the usual way: seconds, CPU seconds and memory.

python bench/ingest_full_size.py FOLDER --community section_parser.py [--shares 0.25 0.5 1] [--usual 1]

For each share, `biomedjourney ingest tables` and `pair` run as a user runs them, on two cores, on files that
bench/full_size.py draws into FOLDER, and beside them bench/ingest_usual_way.py (shares of --usual alone). Memory is
the sum of the resident sets of a command's processes, which counts what they share once for each of them. The
image files are not drawn: the table that `ingest check` would write is made up, every file whole.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil

from biomedjourney import tables

CONFIG = {
    "seed": 0,
    "ingest": {
        **{"labels": "chexpert", "test_set_labels": False, "image_format": "jpg"},
        **{"largest_refused_share": 0.001, "checksums": False},
    },
    "pair": {
        **{"views": ["PA"], "same_view": True, "priors": "last", "largest_gap_days": None},
        **{"split": "paper", "validation_share": 0.1, "text": ["impression", "findings"]},
    },
}
CORES = 2


def watch(command: list[str]) -> dict[str, float]:
    """Runs a command on two cores; its wall and CPU seconds and the peak of its processes' memory in GiB."""
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    start = time.perf_counter()
    process = psutil.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    cpu: dict[int, float] = {}
    peak = 0
    while process.poll() is None:
        memory = 0
        for each in [process, *process.children(recursive=True)]:
            try:
                with each.oneshot():
                    used = each.cpu_times()
                    memory += each.memory_info().rss
                    cpu[each.pid] = used.user + used.system
            except psutil.NoSuchProcess:
                continue
        peak = max(peak, memory)
        time.sleep(0.25)
    if process.returncode:
        sys.exit(f"{command[0]} failed")
    return {"wall": time.perf_counter() - start, "cpu": sum(cpu.values()), "GiB": peak / 2**30}


def ours(folder: Path, out: Path) -> dict[str, dict[str, float]]:
    places = {"images": "mimic-cxr-jpg", "reports": "mimic-cxr/mimic-cxr-reports.zip", "demographics": "mimic-iv/hosp"}
    config = json.dumps(CONFIG | {"data": {k: str(folder / v) for k, v in places.items()} | {"tables": None}})
    names = ("patients", "studies", "images", "cohort", "exclusions")
    flags = [word for name in names for word in (f"--{name}", str(out / f"{name}.parquet"))]
    program = [str(Path(sys.executable).with_name("biomedjourney"))]
    ingest = watch([*program, "ingest", "tables", "--config", config, *flags, "--processes", str(CORES)])
    whole = tables.read(out / "images.parquet", "images", ["dicom_id"]).assign(bytes=1, problem="")
    tables.write(out / "files.parquet", "image_files", whole)
    flags = [word for name in ("studies", "images") for word in (f"--{name}", str(out / f"{name}.parquet"))]
    flags += ["--image-files", str(out / "files.parquet")]
    flags += [w for name in ("cohort", "exclusions") for w in (f"--ingest-{name}", str(out / f"{name}.parquet"))]
    made = ("pairs", "singles", "cohort", "exclusions")
    flags += [word for name in made for word in (f"--{name}", str(out / "paired" / f"{name}.parquet"))]
    return {"ingest": ingest, "pair": watch([*program, "pair", "--config", config, *flags])}


def show(share: float, way: str, found: dict[str, dict[str, float]]) -> None:
    total = {key: sum(each[key] for each in found.values()) for key in ("wall", "cpu")}
    peak = max(each["GiB"] for each in found.values())
    parts = ", ".join(f"{name} {each['wall']:.1f} ({each['cpu']:.1f} CPU)" for name, each in found.items())
    print(f"{share:5g} {way:6} {total['wall']:7.1f} s {total['cpu']:7.1f} CPU s {peak:5.2f} GiB: {parts}", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--community", type=Path)
    arguments.add_argument("--shares", type=float, nargs="*", default=[0.25, 0.5, 1])
    arguments.add_argument("--usual", type=float, nargs="*", default=[1])
    chosen = arguments.parse_args()
    print(f"load at the start {os.getloadavg()[0]:.1f}")
    for share in chosen.shares:
        drawn = chosen.folder / str(share)
        if not drawn.exists():
            script = Path(__file__).with_name("full_size.py")
            subprocess.run([sys.executable, str(script), str(drawn), "--share", str(share)], check=True)
        show(share, "ours", ours(drawn, chosen.folder / "out" / str(share)))
        if share in chosen.usual and chosen.community:
            script = Path(__file__).with_name("ingest_usual_way.py")
            command = [sys.executable, str(script), str(drawn), str(chosen.folder / "usual")]
            shutil.rmtree(chosen.folder / "usual", ignore_errors=True)
            show(share, "usual", {"all": watch([*command, "--community", str(chosen.community)])})
    paired = chosen.folder / "out" / str(chosen.shares[-1]) / "paired" / "cohort.parquet"
    with pd.option_context("display.width", 160, "display.max_colwidth", 60, "display.max_rows", 99):
        print(tables.read(paired, "cohort").to_string(index=False))
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
