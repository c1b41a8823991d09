"""What watching a run of the default configuration costs, in CPU time: validation and parts beside the training steps.

python bench/watching.py

Random latents and texts of the default's shapes; the first stage is untrained.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from biomedjourney import config, sampling
from biomedjourney.examples import Conditions, Targets
from biomedjourney.pretrain.first_stage import PatchAutoencoder
from biomedjourney.train import batches, loop, model
from biomedjourney.train.validation import Validation
from biomedjourney.train.watch import Watch

TOKENS = 20


def main() -> None:
    torch.set_num_threads(1)
    settings = config.load(["config.yaml"], "train")
    train, run = settings["train"], settings["train"]["runs"]["stage2"]
    count, pictures = train["validation"]["examples"], train["validation"]["pictures"]
    shape, width = (4, 16, 16), 96
    rng = np.random.default_rng(0)
    means, places = rng.normal(size=(count, *shape)).astype(np.float16), np.arange(count)
    states = [rng.normal(size=(TOKENS, width)).astype(np.float16) for _ in places]
    targets = Targets(means, np.full_like(means, 0.05), places, 1.0)
    conditions = Conditions(means, places, states, places, settings["text"]["max_tokens"])
    names = [str(place) for place in places]
    stage = PatchAutoencoder().eval()
    validation = Validation(names, names, targets, conditions, settings, 16, count, pictures, stage, "")
    unet = model.build(settings["diffusion"]["unet"], shape, width, 0)
    scheduler = sampling.scheduler(settings["diffusion"]["schedule"])
    timesteps = settings["diffusion"]["schedule"]["steps"]

    def train_steps() -> None:
        def next_batch(step: int) -> batches.Batch:
            return batches.batch(targets, conditions, step, settings, "stage2", run["batch_size"], timesteps)

        loop.train(unet, scheduler, next_batch, 20, train)

    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(Path(folder), "stage2", 2, [], validation, tensorboard=False)
        row = {"step": 0, "images_seen": 0, "loss": 0.1, "learning_rate": 0.1, "seconds": 1.0}
        step = seconds(train_steps) / 20
        part = seconds(lambda: watch.logged(row))
        loss = seconds(lambda: validation.loss(unet.eval()))
        grid = seconds(lambda: validation.pictures(unet.eval()))
    validations = -(-run["steps"] // train["validate_every"])
    share = (validations * (loss + grid) + run["steps"] / train["log_every"] * part) / (run["steps"] * step)
    print(f"a step {step:.3f} s, the loss of {count} examples {loss:.2f} s, {pictures} pictures {grid:.2f} s,")
    print(f"a part of the table {part:.4f} s; over stage 2 with {validations} validations {share:.2%} of its steps")


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """The median CPU time of some calls, after one that does not count."""
    work()
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return float(np.median(taken))


if __name__ == "__main__":
    main()
