"""How long `edit` takes beside importing diffusers, and a second picture: python bench/edit_speed.py MODEL FILM

MODEL: an exported model; FILM: a frontal film. Each program runs three times, in turn; seconds of the processor are
less disturbed by other work than seconds of the clock. The smallest of each is printed.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

model, film = sys.argv[1:]
COMMAND = "from biomedjourney.cli import main; main()"
TEXT = "new small left pleural effusion"
SECOND = (
    "import time, warnings; from biomedjourney import edit\n"
    f"edit({film!r}, {TEXT!r}, {model!r})\n"
    "clock, cpu = time.perf_counter(), time.process_time()\n"
    f"edit({film!r}, {TEXT!r}, {model!r}, seed=1)\n"
    "print(f'{time.perf_counter() - clock:.2f} {time.process_time() - cpu:.2f}')\n"
)


def seconds(*words: str) -> tuple[float, float]:
    """(clock, processor) seconds of a program."""
    before, clock = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - clock, used


with tempfile.TemporaryDirectory() as folder:
    out = str(Path(folder) / "edited.png")
    programs = {
        "import diffusers": ["-c", "import diffusers"],
        "import its UNet and scheduler": ["-c", "from diffusers import DDIMScheduler, UNet2DConditionModel"],
        "edit": [
            "-c",
            "from biomedjourney.cli import main; main()",
            "edit",
            film,
            TEXT,
            "--out",
            out,
            "--model",
            model,
        ],
    }

    runs = [{name: seconds(*words) for name, words in programs.items()} for _ in range(3)]
for name in programs:
    clock, used = (min(run[name][which] for run in runs) for which in (0, 1))
    print(f"{name}: {clock:.1f} s of the clock, {used:.1f} s of the processor")
done = subprocess.run([sys.executable, "-c", SECOND], check=True, capture_output=True, text=True)
print(f"second picture: {done.stdout.strip().replace(' ', ' s of the clock, ')} s of the processor")
