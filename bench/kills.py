"""Kills a run of the workflow at random moments, starts it again each time, and compares its tables in the end.

python bench/kills.py WHOLE BROKEN [--kills 20] [--seed 0] [--snakefile Snakefile] [--configfile OVERLAY]

WHOLE: folder of a run that was not disturbed; it is made where it is not there. BROKEN: folder of the run that is
killed, new. Each kill is SIGKILL to the whole process group, a random time after a random number of jobs, so that the
kills fall on all steps; the jobs that run then are named. A run that ends before all kills are spent is not started
again: take another seed.
Every table of both runs has to be equal in every column but those of time and memory.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

MOST_JOBS, LONGEST = 6, 15.0  # between two kills, and seconds
TIMES = ("seconds", "images_per_second", "memory_mb")


def command(folder: Path, arguments: argparse.Namespace) -> list[str]:
    words = ["snakemake", "--snakefile", str(arguments.snakefile), "--directory", str(folder), "--cores", "2"]
    return [*words, "--configfile", str(arguments.configfile), "--rerun-incomplete"]


def go_on(folder: Path, arguments: argparse.Namespace, delay: float | None, jobs: int = 0) -> list[str] | None:
    """Starts or goes on with the run; the rules whose jobs were killed, None: the run has ended.

    The kill comes ``delay`` seconds after the first job started and ``jobs`` of them have finished; None: never.
    """
    log = folder / "said.txt"
    with log.open("w") as said:
        process = subprocess.Popen(
            command(folder, arguments), stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
    if delay is None:
        process.wait()
    while process.poll() is None:
        said_so_far = log.read_text()
        if "\nJob " in said_so_far and said_so_far.count("\nFinished jobid:") >= jobs:
            break
        time.sleep(0.2)
    if delay is not None:
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return running(log.read_text())
    if process.returncode:
        raise SystemExit(f"the run failed:\n{log.read_text()[-3000:]}")
    return None


def running(said: str) -> list[str]:
    """The rules of the jobs that had started and not finished."""
    started = dict(re.findall(r"^Job (\d+): .*?\((\w+)[^()]*\)", said, re.MULTILINE))
    finished = re.findall(r"^Finished jobid: (\d+)", said, re.MULTILINE)
    return [rule for job, rule in started.items() if job not in finished]


def differences(whole: Path, broken: Path) -> list[str]:
    """The tables that are not equal, or are in one of the folders alone."""
    names = {path.relative_to(folder) for folder in (whole, broken) for path in folder.glob("results/**/*.parquet")}
    names = {name for name in names if "checkpoints" not in name.parts}
    print(f"{len(names)} tables are compared")
    return [str(name) for name in sorted(names) if not is_equal(whole / name, broken / name)]


def is_equal(first: Path, second: Path) -> bool:
    if not (first.is_file() and second.is_file()):
        return False
    tables = [pq.read_table(path).to_pandas() for path in (first, second)]
    tables = [table.drop(columns=[name for name in TIMES if name in table.columns]) for table in tables]
    try:
        pd.testing.assert_frame_equal(*tables, check_exact=True)
    except AssertionError:
        return False
    return True


def left_behind(folder: Path) -> list[str]:
    """Files and folders that were half written when a kill came."""
    return [str(path.relative_to(folder)) for path in (folder / "results").rglob(".*.part")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("whole", type=Path)
    parser.add_argument("broken", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--snakefile", type=Path, default=Path("Snakefile"))
    parser.add_argument("--configfile", type=Path, default=Path("workflow/configs/smoke.yaml"))
    arguments = parser.parse_args()
    if not arguments.whole.exists():
        arguments.whole.mkdir(parents=True)
        go_on(arguments.whole, arguments, None)
    arguments.broken.mkdir(parents=True, exist_ok=True)
    drawn, hit, kills = random.Random(arguments.seed), Counter[str](), 0
    while kills < arguments.kills:
        jobs, delay = drawn.randint(0, MOST_JOBS), drawn.uniform(0, LONGEST)
        rules = go_on(arguments.broken, arguments, delay, jobs)
        if rules is None:
            break
        kills += 1
        hit.update(rules)
        print(
            f"kill {kills}, {jobs} jobs and {delay:.1f} s after the start: {', '.join(rules) or 'between two jobs'}",
            flush=True,
        )
        shutil.rmtree(arguments.broken / ".snakemake" / "locks")  # which `snakemake --unlock` does, in longer time
    else:
        go_on(arguments.broken, arguments, None)
    print(f"seed {arguments.seed}: {kills} kills, of jobs of {len(hit)} rules: {dict(hit)}")
    print(f"half written and left behind: {left_behind(arguments.broken) or 'nothing'}")
    different = differences(arguments.whole, arguments.broken)
    print("\n".join(f"differs: {name}" for name in different) or "every table is equal in every column but times")
    raise SystemExit(bool(different))


if __name__ == "__main__":
    main()
