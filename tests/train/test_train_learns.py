"""On a problem that the text and the prior decide together, the model learns to use both."""

import functools
from pathlib import Path

import numpy as np
import torch

from biomedjourney import sampling
from biomedjourney.examples import Conditions, Targets, pad
from biomedjourney.train import batches, loop, model
from biomedjourney.train.validation import Validation
from biomedjourney.train.watch import Watch
from tests.helpers import tiny
from tests.helpers.fabricated import settings as default


def test_losses_fall_and_the_guided_sample_keeps_the_prior_and_follows_the_text(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    prior, current, told = tiny.toy(128)
    states = [tiny.states(text) for text in tiny.TEXTS]
    places = np.arange(128)
    settings = default("train", train={"learning_rate": 3e-3, "warmup_steps": 5, "ema_decay": 0.95, "log_every": 10})
    schedule = settings["diffusion"]["schedule"]
    scheduler = sampling.scheduler(schedule)
    unet = model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, 0)
    next_batch = functools.partial(
        batches.batch,
        Targets(current, np.full_like(current, 0.05), places, 1.0),
        Conditions(prior, places, states, told, tiny.TOKENS),
        settings=settings,
        run="toy",
        batch_size=32,
        timesteps=schedule["steps"],
    )
    settings["train"]["validate_every"] = 40
    prior, current, told = tiny.toy(32, seed=2)
    others, names = np.arange(32), [str(i) for i in range(32)]
    unseen = Targets(current, np.full_like(current, 0.05), others, 1.0)
    conditions = Conditions(prior, others, states, told, tiny.TOKENS)
    validation = Validation(names, names, unseen, conditions, settings, 16, 32, 0, None, "")
    watch = Watch(tmp_path, "toy", 2, [], validation, tensorboard=False)
    rows = loop.train(unet, scheduler, next_batch, 120, settings["train"], watch=watch)
    assert [row["step"] for row in rows] == list(range(0, 121, 10))
    assert rows[-1]["images_seen"] == 120 * 32
    assert rows[-1]["loss"] < 0.5 * rows[1]["loss"]
    assert [row["step"] for row in rows if "validation_loss" in row] == [40, 80, 120]
    validated = [row["validation_loss"] for row in rows if "validation_loss" in row]
    assert validated[0] > validated[1] > validated[2]
    assert validated[2] < 0.5 * rows[1]["loss"]

    prior, current, told = tiny.toy(16, seed=1)
    texts = torch.from_numpy(pad([states[i] for i in told], tiny.TOKENS))
    noise = sampling.noise(0, [str(i) for i in range(16)], tiny.SHAPE)
    known = torch.from_numpy(prior.astype(np.float32))
    drawn = sampling.sample(unet.eval(), scheduler, 10, noise, known, texts, 2.0, 1.5).numpy()
    change = (drawn - prior).mean(axis=(1, 2, 3))
    assert change[told == 0].min() > 0.4 * tiny.SHIFT
    assert change[told == 1].max() < -0.4 * tiny.SHIFT
    assert np.corrcoef((drawn - change[:, None, None, None]).ravel(), prior.ravel())[0, 1] > 0.7
