"""On a problem that the text and the prior decide together, the model learns to use both."""

import functools

import numpy as np
import torch

from biomedjourney import sampling
from biomedjourney.examples import Conditions, Targets, pad
from biomedjourney.train import batches, loop, model
from tests.helpers import tiny
from tests.helpers.fabricated import settings as default


def test_loss_falls_and_the_guided_sample_keeps_the_prior_and_follows_the_text() -> None:
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
    rows = loop.train(unet, scheduler, next_batch, 120, settings["train"])
    assert [row["step"] for row in rows] == list(range(0, 121, 10))
    assert rows[-1]["images_seen"] == 120 * 32
    assert rows[-1]["loss"] < 0.5 * rows[1]["loss"]

    prior, current, told = tiny.toy(16, seed=1)
    texts = torch.from_numpy(pad([states[i] for i in told], tiny.TOKENS))
    noise = sampling.noise(0, [str(i) for i in range(16)], tiny.SHAPE)
    known = torch.from_numpy(prior.astype(np.float32))
    drawn = sampling.sample(unet.eval(), scheduler, 10, noise, known, texts, 2.0, 1.5).numpy()
    change = (drawn - prior).mean(axis=(1, 2, 3))
    assert change[told == 0].min() > 0.4 * tiny.SHIFT
    assert change[told == 1].max() < -0.4 * tiny.SHIFT
    assert np.corrcoef((drawn - change[:, None, None, None]).ravel(), prior.ravel())[0, 1] > 0.7
