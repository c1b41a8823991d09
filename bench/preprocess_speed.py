"""From files of MIMIC-CXR's size: what decoding costs, the rate of pairs, and memory against the number of pairs.

    BIOMEDJOURNEY_FILMS=FOLDER python bench/preprocess_speed.py [--films 16]

Real films are enlarged to 2544 x 3056 and stored as JPEG, quality 95. CPU seconds, one process, one thread. The usual
way: decode the whole file, then resize. Memory: `register` over tables of copies of real films at 64 px.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from biomedjourney import tables
from biomedjourney.preprocess import files, load
from biomedjourney.preprocess import rows as preprocess_rows
from biomedjourney.register import register, rows
from tests.helpers import films

SIZE = 256


def write_large(folder: Path, count: int) -> list[Path]:
    found = []
    for path in films.paths(films.folder())[:count]:
        grey = Image.open(path).convert("L")
        upright = grey.resize((2544, round(2544 * grey.height / grey.width)), Image.Resampling.BICUBIC)
        canvas = Image.new("L", (2544, 3056))
        canvas.paste(upright, (0, (3056 - upright.height) // 2))
        found.append(folder / f"{path.stem}.jpg")
        canvas.save(found[-1], quality=95)
    return found


def usual(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L").resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def seconds(work: Callable[..., object], items: Iterable[tuple]) -> float:
    """The median CPU seconds of an item."""
    taken = []
    for item in items:
        start = time.process_time()
        work(*item)
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def speed(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        paths = write_large(Path(name), count)
        load(paths[0], SIZE)
        each = [(path,) for path in paths]
        whole, small = seconds(usual, each), seconds(files.read, [(path, SIZE) for path in paths])
        all_of_it = seconds(load, [(path, SIZE) for path in paths])
        print(f"{count} JPEG files of 2544 x 3056, to {SIZE} px, median CPU seconds a film:")
        print(f"  decoded whole and resized, the usual way  {whole:.4f}")
        print(f"  decoded at a reduced size                 {small:.4f}  ({whole / small:.1f} times faster)")
        print(f"  preprocess, decoding included             {all_of_it:.4f}  ({whole / all_of_it:.1f} times faster)")
        pictures = [load(path, SIZE).picture for path in paths]
        register(pictures[0], pictures[1])
        fit = seconds(register, list(pairwise(pictures)))
        print(
            f"  a pair: two films {2 * all_of_it:.4f}, registration {fit:.4f}: {1 / (2 * all_of_it + fit):.1f} pairs/s"
        )
        print(f"          registration alone, from decoded films: {1 / fit:.1f} pairs/s")


def memory(count: int) -> None:
    """Registers ``count`` pairs of copies of 16 films and prints the peak of resident memory."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "pixels.parquet"
        files_of_16 = films.paths(films.folder())[:16]
        rows_of_16 = [preprocess_rows.work(preprocess_rows.Job("", film, 64)).row for film in files_of_16]
        made = [rows_of_16[k % 16] | {"dicom_id": f"{k:06}"} for k in range(count + 1)]
        tables.write_stream(path, "pixels", [made[k : k + 64] for k in range(0, len(made), 64)])
        pairs = [rows.Pair(str(k), f"{k:06}", f"{k + 1:06}") for k in range(count)]
        prior_paths = {f"{k:06}": files_of_16[k % 16] for k in range(count)}
        del made
        for job in rows.jobs(pairs, [path], prior_paths):
            rows.work(job, "similarity", 0.4)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {count:5} pairs: peak resident memory {peak:.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=16)
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        memory(options.memory_of)
    else:
        speed(options.films)
        for number in (64, 512, 2048):
            subprocess.run([sys.executable, __file__, "--memory-of", str(number)], check=True)
