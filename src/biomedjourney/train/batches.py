"""What a training step sees: which examples, which noise, which timesteps, which conditions are dropped.

Everything is drawn by a key of seed, run, step and place in the batch. So a run that goes on after a kill, or on
another number of devices, sees what it would have seen.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from biomedjourney.examples import Conditions, Targets
from biomedjourney.sampling import keyed


@dataclass(frozen=True)
class Batch:
    """Tensors of n examples: latents (n, c, h, w), the target's scaled, the prior's not; states (n, tokens, width)."""

    target: torch.Tensor
    prior: torch.Tensor
    states: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))


def order(seed: int, run: str, examples: int, step: int, batch_size: int) -> list[int]:
    """The examples of a step: every epoch takes each once, in a new order."""
    places = range(step * batch_size, (step + 1) * batch_size)
    epochs = {place // examples for place in places}
    permutations = {epoch: keyed("order", seed, run, epoch).permutation(examples) for epoch in epochs}
    return [int(permutations[place // examples][place % examples]) for place in places]


def dropped(draw: float, shares: dict[str, float]) -> tuple[bool, bool]:
    """Whether the text and the image are dropped: ``draw``, uniform in [0, 1), decides by the configured shares."""
    text, image = shares["text"], shares["text"] + shares["image"]
    both = image + shares["both"]
    return draw < text or image <= draw < both, text <= draw < both


def batch(
    targets: Targets,
    conditions: Conditions,
    step: int,
    settings: dict[str, Any],
    run: str,
    batch_size: int,
    timesteps: int,
) -> Batch:
    """The batch of a step. ``settings``: the sections ``seed`` and ``train``; ``timesteps``: of the noise schedule."""
    seed, shares = settings["seed"], settings["train"]["dropout"]
    rows = order(seed, run, len(targets), step, batch_size)
    latents, stds = targets.posterior(rows)
    priors, states = conditions.priors(rows), conditions.states(rows)
    if priors is None:
        priors = np.zeros_like(latents)
    noise, times = np.empty_like(latents), np.empty(batch_size, np.int64)
    for i in range(batch_size):
        rng = keyed("step", seed, run, step, i)
        times[i] = int(timesteps * rng.random() ** settings["train"]["timestep_power"])
        text_dropped, image_dropped = dropped(rng.random(), shares)
        states[i] *= not text_dropped
        priors[i] *= not image_dropped
        latents[i] += stds[i] * rng.standard_normal(latents[i].shape, dtype=np.float32)
        noise[i] = rng.standard_normal(latents[i].shape, dtype=np.float32)
    arrays = (latents * np.float32(targets.scaling_factor), priors, states, noise, times)
    return Batch(*(torch.from_numpy(array) for array in arrays))
