"""Trainings of a tiny model: one that waits to be killed, and folders in which they are the workflow's next job."""

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from biomedjourney import config
from tests.helpers import tiny

# Longer than any test waits.
ENDLESS = {"decay": 0.0, "checkpoint_every": 5, "log_every": 50, "runs": {"stage1": {"steps": 10**7}}}
# The command: it has saved its state at step 2, and waits to be killed when it is about to save the one at step 4.
WAITS_AT_STEP_4 = """
import sys
from biomedjourney.cli import main
from biomedjourney.train import checkpoint

save = checkpoint.save

def save_or_wait(folder, state):
    if state["step"] == 4:
        print("step 4", flush=True)
        sys.stdin.read()
    save(folder, state)

checkpoint.save = save_or_wait
main()
"""


def prepare(folder: Path, overlay: dict[str, Any]) -> Path:
    """Puts what runs on singles read into ``folder``, where the rules expect it, and returns the configuration's file.

    The runs are those of `tiny.OVERLAY`; ``overlay`` is laid over it.
    """
    tables = folder / "tables"
    tables.mkdir(parents=True)
    paths = tiny.write(tables)
    places = {"singles": "tables/singles", "texts": "texts/reports", "latents": "latents/images/0"}
    made = []
    for name, place in places.items():
        path = folder / "results" / f"{place}.parquet"
        path.parent.mkdir(parents=True)
        shutil.copy(paths[name], path)
        made.append(path)
    made.append(shutil.copytree(paths["first_stage"], folder / "results" / "models" / "first-stage"))
    for path in made:
        os.utime(path, (0, 0))  # all of the same time: Snakemake makes again what is older than its inputs
    file = folder / "training.yaml"
    file.write_text(yaml.safe_dump(config.merge(tiny.OVERLAY, overlay)))
    return file


def words(file: Path, *runs: str) -> list[str]:
    """What Snakemake is told so that it trains these runs and does nothing else."""
    return ["--configfile", str(file), "--rerun-triggers", "mtime", "--", *(f"results/models/{run}" for run in runs)]
