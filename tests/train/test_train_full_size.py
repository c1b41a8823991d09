"""Optimiser steps through the real command with paper.yaml, from a UNet in the published format: memory and size.

The true size of Stable Diffusion v1.5 takes about 18 GiB of memory, 21 GB of disk and some minutes on two cores. It
runs on demand alone: `make test-full-size`.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

from biomedjourney import tables
from biomedjourney.examples import text_key
from tests.helpers import REPOSITORY, published
from tests.helpers.workflow_runs import PAPER

LATENT, TOKENS, TEXT_WIDTH = (4, 32, 32), 256, 768
EXAMPLES = 3
TRUE_PARAMETERS = 859_520_964  # of the published file
FILE = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that does not stay: pytest would keep the checkpoints of the last three runs."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def write_tables(folder: Path) -> list[str]:
    """Singles with latents of 256 px and texts of full length; returns the options that give them."""
    rng = np.random.default_rng(0)
    ids, texts = [f"image{i}" for i in range(EXAMPLES)], [f"Report {i}." for i in range(EXAMPLES)]
    numbers = np.arange(EXAMPLES)
    singles = {"dicom_id": ids, "study_id": numbers, "subject_id": numbers, "split": "train", "text": texts}
    means = rng.normal(0, 5, (EXAMPLES, *LATENT)).astype(np.float16)
    latents = {"id": ids, "mean": [mean.tobytes() for mean in means], "std": np.ones(LATENT, np.float16).tobytes()}
    latents |= {"shape": [list(LATENT)] * EXAMPLES, "scaling_factor": 0.18215}
    states = rng.normal(0, 1, (EXAMPLES, TOKENS, TEXT_WIDTH)).astype(np.float16)
    encoded = {"text_sha256": [text_key(text) for text in texts], "states": [each.tobytes() for each in states]}
    encoded |= {"shape": [[TOKENS, TEXT_WIDTH]] * EXAMPLES}
    options = []
    for name, rows in (("singles", singles), ("latents", latents), ("texts", encoded)):
        tables.write(folder / f"{name}.parquet", name, pd.DataFrame(rows))
        options += [f"--{name}", str(folder / f"{name}.parquet")]
    return options


def shapes(file: Path) -> dict[str, tuple[list[int], str]]:
    """Shape and type of every weight in a file, without reading the weights."""
    with safe_open(file, "pt") as weights:
        slices = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118
        return {name: (part.get_shape(), part.get_dtype()) for name, part in slices.items()}


def largest_memory(pid: int) -> int | None:
    """In KiB; None once the process has ended. os.wait4 would count what the parent, pytest, had before."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)


STEPS = {"steps": 2, "batch_size": 1}


@pytest.mark.parametrize(
    ("config", "parameters", "most_gib", "threads"),
    [
        pytest.param(published.FOUR_LEVELS, None, 2.0, 1, id="narrow"),
        pytest.param(
            *(published.TRUE_SIZE, TRUE_PARAMETERS, 20.0, os.cpu_count()), id="true-size", marks=pytest.mark.full_size
        ),
    ],
)
def test_steps_from_the_published_unet_in_bounded_memory(
    folder: Path, config: dict[str, Any], parameters: int | None, most_gib: float, threads: int
) -> None:
    start = published.unet(folder / "unet", config) / FILE
    before = shapes(start)
    assert parameters in (None, sum(np.prod(shape) for shape, _ in before.values()))
    overlay = {
        "diffusion": {"unet": {"weights": str(start.parent)}},
        # in bf16 a CPU keeps a second copy of the weights
        "train": {"precision": "float32", "warmup_steps": 0, "log_every": 1, "runs": {"stage1": STEPS}},
    }
    command = ["biomedjourney", "train", "--run", "stage1", "--threads", str(threads), *write_tables(folder)]
    for source in (REPOSITORY / "config.yaml", PAPER, json.dumps(overlay)):
        command += ["--config", str(source)]
    for option in ("checkpoints", "out", "training"):
        command += [f"--{option}", str(folder / option)]
    with (folder / "said.txt").open("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        peak = 0
        while process.poll() is None:
            peak = largest_memory(process.pid) or peak
            time.sleep(0.05)
        said.seek(0)
        assert process.returncode == 0, said.read()[-3000:]

    course = tables.read(folder / "training", "training")
    assert course["step"].tolist() == [0, 1, 2]
    assert np.isfinite(course["loss"][1:]).all()
    gib, seconds = peak / 2**20, course["seconds"].diff().iloc[-1]
    print(f"\n{gib:.1f} GiB, {seconds:.1f} s for the second step")
    assert gib < most_gib

    after = shapes(folder / "out" / "unet" / FILE)
    channels, width = config["block_out_channels"][0], config["cross_attention_dim"]
    projection = {"encoder_hid_proj.weight": ([width, TEXT_WIDTH], "F32"), "encoder_hid_proj.bias": ([width], "F32")}
    assert after == before | projection | {"conv_in.weight": ([channels, 2 * LATENT[0], 3, 3], "F32")}
    name = "mid_block.resnets.0.conv1.weight"
    with safe_open(start, "pt") as old, safe_open(folder / "out" / "unet" / FILE, "pt") as new:
        assert not (old.get_tensor(name) == new.get_tensor(name)).all(), "nothing was learned"
