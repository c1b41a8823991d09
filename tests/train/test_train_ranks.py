"""Several processes train one run, and signals end it: the real command as accelerate and the rule start it."""

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from biomedjourney import config, tables
from tests.helpers import REPOSITORY, tiny
from tests.helpers.fabricated import config_text

pytestmark = pytest.mark.long

INPUTS = ("triples", "prior_latents", "latents", "texts")
PROCESSES = 2
LAUNCH = "accelerate launch --multi_gpu --num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port 0"
BATCH = 5  # does not divide by the processes
COMMAND = "from biomedjourney.cli import main; main()"
BROKEN = """
import os
from biomedjourney.errors import UserError
from biomedjourney.train import batches, checkpoint
batch = batches.batch

def batch_or_fail(*given, **named):
    if os.environ["RANK"] == "1" and given[2] == 3:
        ENDS
    return batch(*given, **named)

batches.batch = batch_or_fail
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return tiny.write(tmp_path_factory.mktemp("tables"))


def words(folder: Path, paths: dict[str, Path], steps: int = 6, batch_size: int = BATCH, **train: Any) -> list[str]:
    """The arguments of ``biomedjourney train``."""
    overlay = {"train": {"decay": 0.0, **train, "runs": {"alone": {"steps": steps, "batch_size": batch_size}}}}
    settings = config_text(**config.merge(tiny.OVERLAY, overlay))
    outputs = ["--checkpoints", str(folder / "checkpoints"), "--out", str(folder / "alone")]
    outputs += ["--training", str(folder / "alone.parquet")]
    return ["train", "--config", settings, "--run", "alone", *tiny.flags(paths, *INPUTS), *outputs]


def environment() -> dict[str, str]:
    """That of the tests, with the commands that are installed beside this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    joined = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.run(command, env=environment(), timeout=600, check=False, **joined)  # type: ignore[call-overload]


def launched(arguments: list[str], before: str = "") -> list[str]:
    launcher = [*LAUNCH.split(), "--num_processes", str(PROCESSES), "--no_python"]
    return [*launcher, sys.executable, "-c", before + COMMAND, *arguments]


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "alone" / "unet" / "diffusion_pytorch_model.safetensors")


def losses(folder: Path) -> list[float]:
    return tables.read(folder / "alone.parquet", "training")["loss"].tolist()[1:]


def saved_steps(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("state-")) for path in folder.glob("checkpoints/*/state-*.pt"))


@pytest.fixture(scope="module")
def single(paths: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run in one process."""
    folder = tmp_path_factory.mktemp("single")
    result = run(sys.executable, "-c", COMMAND, *words(folder, paths))
    assert result.returncode == 0, result.stdout
    return folder


def test_two_processes_go_the_way_of_one(paths: dict[str, Path], single: Path, tmp_path: Path) -> None:
    """Their shares, 2 and 3 examples, are computed in micro-batches of 2: one process has one, the other two."""
    result = run(*launched(words(tmp_path, paths, micro_batch_size=2)))
    assert result.returncode == 0, result.stdout
    assert result.stdout.count("6 steps of 5 on 2 x cpu") == 1
    assert losses(tmp_path) == pytest.approx(losses(single), abs=1e-4)
    table = tables.read(tmp_path / "alone.parquet", "training")
    assert table["images_seen"].tolist() == [0, 10, 20, 30]
    assert saved_steps(tmp_path) == [6]


def test_two_processes_go_on_from_the_checkpoint_of_one(paths: dict[str, Path], single: Path, tmp_path: Path) -> None:
    first = run(sys.executable, "-c", COMMAND, *words(tmp_path, paths, steps=3))
    assert first.returncode == 0, first.stdout
    state = next(tmp_path.glob("checkpoints/*/state-3.pt"))
    result = run(*launched(words(tmp_path, paths)))
    assert "on 2 x cpu, from step 3" in result.stdout
    assert result.returncode == 0, result.stdout
    assert not state.exists()
    assert tables.read(tmp_path / "alone.parquet", "training")["step"].tolist() == [0, 2, 3, 4, 6]
    to_2, to_3, to_4, to_6 = losses(tmp_path)
    assert [to_2, (to_3 + to_4) / 2, to_6] == pytest.approx(losses(single), abs=1e-4)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ('raise UserError("latents.parquet: the disk is gone")', r"^error: latents\.parquet: the disk is gone$"),
        ("raise KeyError('a mistake')", r"^error: unexpected KeyError in .*the traceback is in "),
        ("os.kill(os.getpid(), 9)", r"^error: another process of this run has ended .*killed for want of memory"),
    ],
    ids=["a mistake of the user", "a mistake of the code", "killed"],
)
def test_an_error_in_one_process_ends_all_with_one_line(
    ends: str, said: str, paths: dict[str, Path], tmp_path: Path
) -> None:
    log = ["--log", str(tmp_path / "train.log")]
    began = time.monotonic()
    result = run(*launched([*log, *words(tmp_path, paths)], BROKEN.replace("ENDS", ends)))
    assert result.returncode != 0
    lines = re.findall(r"^error: .*$", result.stdout, re.MULTILINE)
    assert len(lines) == 1, result.stdout
    assert re.search(said, lines[0])
    assert time.monotonic() - began < 300
    assert not (tmp_path / "alone").exists()
    assert saved_steps(tmp_path) in ([], [2]), "batches are prepared ahead, so a kill may come before step 2"


def test_a_mistake_that_all_processes_see_is_told_once(paths: dict[str, Path], tmp_path: Path) -> None:
    for arguments, said in (
        (
            words(tmp_path, paths, batch_size=1),
            "error: batch_size: 1 examples per step cannot be shared by 2 processes",
        ),
        (words(tmp_path, paths, decay="much"), "error: configuration, train.decay: 'much' is not of type"),
    ):
        result = run(*launched(arguments))
        assert result.returncode != 0
        assert result.stdout.count("error: ") == result.stdout.count(said) == 1, result.stdout


def rule_line(folder: Path, arguments: list[str]) -> list[str]:
    """The shell line of the rule that trains, as Snakemake runs it, with these arguments in place of the rule's."""
    text = (REPOSITORY / "workflow" / "rules" / "train.smk").read_text()
    line = ast.literal_eval(f"({text[text.index('    shell:') + len('    shell:') :]})")
    values = {name.lstrip("-"): value for name, value in zip(arguments[1::2], arguments[2::2], strict=False)}
    filled = {
        "log": folder / "rule.log",
        "params.run": "alone",
        "params.seed": 0,
        "params.checkpoints": values["checkpoints"],
        "output.model": values["out"],
        "output.training": values["training"],
        "threads": 1,
    }
    others = [word for pair in zip(arguments[1::2], arguments[2::2], strict=False) for word in pair]
    for option in ("--config", "--run", "--checkpoints", "--out", "--training"):
        place = others.index(option)
        del others[place : place + 2]
    filled["params.inputs"] = shlex.join(others)
    line = re.sub(r"\{([\w.]+)(?::q)?\}", lambda match: str(filled.get(match[1], "")), line)
    return ["bash", "-c", f"set -euo pipefail; {line}"]


def start_and_signal(command: list[str], folder: Path, number: int, settings: str = "") -> tuple[int, str]:
    """Signals the whole process group once a checkpoint is there; the exit status and what was printed."""
    variables = environment() | {"BIOMEDJOURNEY_CONFIG": settings}
    with subprocess.Popen(
        command, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        limit = time.monotonic() + 300
        while not saved_steps(folder) and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.02)
        os.killpg(process.pid, number)
        printed, _ = process.communicate(timeout=300)
    return process.returncode, printed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_rule_saves_on_a_signal_to_its_group_and_goes_on_bit_for_bit(
    number: int, paths: dict[str, Path], tmp_path: Path
) -> None:
    steps = 150
    arguments = words(tmp_path, paths, steps=steps)
    line = rule_line(tmp_path, arguments)
    status, printed = start_and_signal(line, tmp_path, number, settings=arguments[2])
    assert status == 75, printed
    said = re.search(rf"stopped by {signal.Signals(number).name} after step (\d+) of {steps}, saved in .*", printed)
    assert said, printed
    assert said[0] in (tmp_path / "rule.log").read_text()
    assert saved_steps(tmp_path) == [int(said[1])]
    assert not (tmp_path / "alone").exists()

    variables = environment() | {"BIOMEDJOURNEY_CONFIG": arguments[2]}
    again = subprocess.run(line, env=variables, timeout=600, check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout
    assert f"from step {said[1]}\n" in again.stdout
    whole = run(sys.executable, "-c", COMMAND, *words(tmp_path / "whole", paths, steps=steps))
    assert whole.returncode == 0, whole.stdout
    first, second = weights(tmp_path), weights(tmp_path / "whole")
    assert all(np.array_equal(first[name], second[name]) for name in second)
    assert losses(tmp_path) == losses(tmp_path / "whole")


def test_two_processes_stop_at_the_same_step_and_one_goes_on(paths: dict[str, Path], tmp_path: Path) -> None:
    """Rows are 50 steps apart, so that the checkpoint holds the sum of the losses since the last one."""
    intervals = {"log_every": 50, "checkpoint_every": 7}
    status, printed = start_and_signal(
        launched(words(tmp_path, paths, steps=100, **intervals)), tmp_path, signal.SIGTERM
    )
    assert status != 0
    said = re.findall(r"stopped by SIGTERM after step (\d+) of 100", printed)
    assert len(said) == 1, printed
    assert saved_steps(tmp_path) == [int(said[0])]
    assert "error:" not in printed
    result = run(sys.executable, "-c", COMMAND, *words(tmp_path, paths, steps=100, **intervals))
    assert f"on cpu, from step {said[0]}\n" in result.stdout
    whole = run(sys.executable, "-c", COMMAND, *words(tmp_path / "whole", paths, steps=100, **intervals))
    assert whole.returncode == result.returncode == 0
    assert losses(tmp_path) == pytest.approx(losses(tmp_path / "whole"), abs=2e-3)
