"""Memory and reading of tables that grow with the cohort, each in a process of its own, on drawn tables.

python bench/memory.py FOLDER [--singles 4000] [--patients 4000] [--pictures 6000] [--processes 2]

examples: latents and token states of the singles (about 100 KB each), loaded and each number read once; in the memory
of one process, then shared by several. register: one shard of pixels and pairs of patients with four visits.
readers: a table of pictures of 100 KB. Growth is the peak above the process before its work; of several processes that
map one file, a page that n of them use counts 1/n for each (PSS).
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq

from biomedjourney import examples, tables
from biomedjourney.gather.parts import gather
from biomedjourney.inspect.describe import describe
from biomedjourney.preprocess.rows import groups, part_of
from biomedjourney.preprocess.rows import jobs as images_in_order
from biomedjourney.register import rows as register_rows

MB = 1_000_000
TOKENS, WIDTH, LATENT = (20, 100), 768, [4, 32, 32]
SHARDS, VISITS, PNG = 16, 4, 20_000
Row = dict[str, Any]


def batches(rows: Iterator[Row], name: str, path: Path) -> None:
    if not path.exists():
        tables.write_stream(path, name, groups(rows, 64))


def peak() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / MB for line in lines if line.startswith("VmHWM"))


def bytes_read() -> float:
    return int(Path("/proc/self/io").read_text().split()[1]) / MB


def draw_examples(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> bytes:
        return rng.integers(0, 15_000, shape, np.int16).tobytes()

    def text(i: int) -> Row:
        tokens = int(rng.integers(*TOKENS))
        return {"text_sha256": examples.text_key(f"text {i}"), "states": noise(tokens, WIDTH), "shape": [tokens, WIDTH]}

    def latent(i: int) -> Row:
        numbers = {"mean": noise(*LATENT), "std": noise(*LATENT), "shape": LATENT}
        return {"id": f"film{i}", "scaling_factor": 0.18215} | numbers

    batches((latent(i) for i in range(count)), "latents", folder / "latents.parquet")
    batches((text(i) for i in range(count)), "texts", folder / "texts.parquet")


def load_examples(folder: Path, count: int, shared: str) -> None:
    """Prints the seconds of loading, the growth of the peak, and the memory of this process alone and its share."""
    ids = [f"film{i}" for i in range(count)]
    given = pd.DataFrame({"target": ids, "prior": None, "text": [f"text {i}" for i in range(count)]})
    inputs = examples.Inputs(latents=[folder / "latents.parquet"], texts=[folder / "texts.parquet"])
    where = (folder / "shared",) if shared else ()
    before, began = psutil.Process().memory_full_info(), time.monotonic()
    highest = peak()
    targets = examples.load_targets(given, inputs, *where)
    conditions = examples.load_conditions(given, {"prior": "none"}, inputs, TOKENS[1], *where)
    seconds, places = time.monotonic() - began, np.random.default_rng(0).permutation(count)
    for first in range(0, count, 64):
        targets.posterior(places[first : first + 64]), conditions.states(places[first : first + 64])
    print("loaded", flush=True)
    sys.stdin.readline()  # until all have loaded
    after = psutil.Process().memory_full_info()
    print(seconds, peak() - highest, (after.uss - before.uss) / MB, (after.pss - before.pss) / MB, flush=True)
    sys.stdin.readline()  # until all have measured


def draw_pixels(folder: Path, patients: int) -> list[Path]:
    rng, singles, pairs = np.random.default_rng(0), [], []
    for subject in range(patients):
        films = [(rng.bytes(20).hex(), int(study)) for study in 10**8 + rng.choice(10**8, VISITS, replace=False)]
        common = {"subject_id": subject, "split": "train"}
        singles += [{"dicom_id": film, "study_id": study, "text": ""} | common for film, study in films]
        for (prior, prior_study), (film, study) in pairwise(films):
            pair = {"pair_id": f"{prior_study}-{study}", "prior_study_id": prior_study, "study_id": study}
            pairs.append(pair | {"prior_dicom_id": prior, "dicom_id": film, "interval_days": 1.0} | common)
    image = {"view": "PA", "rows": 1, "columns": 1, "official_split": "train", "path": "film.jpg"}
    images = [{name: single[name] for name in ("dicom_id", "study_id", "subject_id")} | image for single in singles]
    for name, rows in (("singles", singles), ("pairs", pairs), ("images", images)):
        tables.write(folder / f"{name}.parquet", name, pd.DataFrame(rows))
    files = (folder / f"{name}.parquet" for name in ("pairs", "singles", "images"))
    films_in_order, rest = images_in_order(*files, folder, 256), {"inverted": False, "to_original": None, "reason": ""}
    stored = [folder / f"pixels-{shard}.parquet" for shard in range(SHARDS)]
    for shard, path in enumerate(stored):
        films = part_of(films_in_order, shard, SHARDS)
        batches(({"dicom_id": film.dicom_id, "png": rng.bytes(PNG)} | rest for film in films), "pixels", path)
    return stored


def register(folder: Path) -> None:
    """Prints the pairs of a shard, what was read for them and the growth of the peak."""
    stored = [folder / f"pixels-{shard}.parquet" for shard in range(SHARDS)]
    highest, before = peak(), bytes_read()
    pairs = register_rows.pairs_of(folder / "pairs.parquet", "forward", SHARDS // 2, SHARDS)
    count = sum(job.prior is not None for job in register_rows.jobs(pairs, stored, {}))
    print(count, bytes_read() - before, peak() - highest)


def draw_pictures(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    many, one = folder / "groups.parquet", folder / "group.parquet"
    pictures = ({"training_seed": 0, "seed": 0, "pair_id": str(i), "png": rng.bytes(100_000)} for i in range(count))
    batches(pictures, "generated", many)
    if not one.exists():
        pq.write_table(tables.read_arrow(many, "generated"), one, row_group_size=count, write_batch_size=16)


READERS: dict[str, Callable[[Path], Any]] = {
    "read_stream": lambda path: sum(1 for _ in tables.read_stream(path, "generated")),
    "find": lambda path: tables.find([path], "generated", "pair_id", [str(i) for i in range(0, 1000, 50)]),
    "gather parts": lambda path: gather("generated", [path], path.with_suffix(".gathered")),
    "inspect": describe,
}


def read(path: Path, reader: str) -> None:
    highest = peak()
    READERS[reader](path)
    print(peak() - highest)


def children(count: int, *words: object) -> list[list[float]]:
    """What each of some processes prints at its end; they go on together at each line that they read."""
    program = [sys.executable, __file__, *map(str, words)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(program, **pipes) for _ in range(count)]
    printed = [process.stdout.readline() for process in started]
    if printed[0].strip() == "loaded":
        for process in started:
            print(file=process.stdin, flush=True)
        printed = [process.stdout.readline() for process in started]
    for process in started:
        process.communicate()
        if process.returncode:
            raise SystemExit(process.returncode)
    return [[float(word) for word in line.split()] for line in printed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("child", nargs="*")
    for name, value in (("singles", 4000), ("patients", 4000), ("pictures", 6000), ("processes", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    folder: Path = given.folder
    match given.child:
        case ["examples", count, *shared]:
            return load_examples(folder, int(count), *shared, *([] if shared else [""]))
        case ["register"]:
            return register(folder)
        case ["read", file, reader]:
            return read(folder / file, reader)
    folder.mkdir(parents=True, exist_ok=True)
    draw_examples(folder, given.singles)
    size = sum((folder / f"{name}.parquet").stat().st_size for name in ("latents", "texts")) / MB
    print(f"examples: {given.singles} singles, {size:.0f} MB")
    for count, shared in ((1, []), (1, ["shared"]), (given.processes, ["shared"])):
        results = children(count, folder, "examples", given.singles, *shared)
        shutil.rmtree(folder / "shared", ignore_errors=True)
        total = sum(pss for *_, pss in results)
        print(f"  {count} process(es), {'shared' if shared else 'in memory'}: together {total / size:.2f} of the size;")
        for seconds, growth, uss, pss in results:
            print(f"    {seconds:.1f} s, peak +{growth:.0f} MB, alone (USS) +{uss:.0f}, share (PSS) +{pss:.0f}")
    stored = draw_pixels(folder, given.patients)
    whole = sum(path.stat().st_size for path in stored) / MB
    ((pairs, megabytes, growth),) = children(1, folder, "register")
    print(
        f"register: one of {SHARDS} shards, {pairs:.0f} pairs: read {megabytes:.0f} of {whole:.0f} MB, +{growth:.0f} MB"
    )
    draw_pictures(folder, given.pictures)
    for file in ("groups.parquet", "group.parquet"):
        print(f"readers: {file}, {(folder / file).stat().st_size / MB:.0f} MB")
        for reader in READERS:
            print(f"  {reader}: peak +{children(1, folder, 'read', file, reader)[0][0]:.0f} MB")


if __name__ == "__main__":
    main()
