"""What a training step sees: which examples, which noise, which timesteps, which conditions are dropped.

Everything is drawn by a key of seed, run, step and place in the batch. So a run that goes on after a kill, or on
another number of devices, sees what it would have seen.
"""

import functools
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from biomedjourney.examples import Conditions, Targets
from biomedjourney.sampling import keyed

AHEAD = 4  # batches that wait: a step that is quicker than the others does not wait for the next batch
THREADS = 2  # numpy lets go of the interpreter while it draws and copies, so that two are nearly twice as fast as one


@dataclass(frozen=True)
class Batch:
    """Tensors of n examples: latents (n, c, h, w), the target's scaled, the prior's not; states (n, tokens, width).

    Latents and noise are float32. States come as they are stored, in float16, and become float32 on the device.
    """

    target: torch.Tensor
    prior: torch.Tensor
    states: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor

    def __len__(self) -> int:
        return len(self.target)

    def to(self, device: torch.device) -> "Batch":
        moved = self._each(lambda tensor: tensor.to(device, non_blocking=True))
        return moved._each(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)

    def pinned(self) -> "Batch":
        """The batch in memory from which a GPU fetches it while it computes."""
        return self._each(torch.Tensor.pin_memory)

    def split(self, size: int | None) -> list["Batch"]:
        """The batch in parts of at most ``size`` examples, or whole."""
        parts = ((getattr(self, name)).split(size or len(self)) for name in self.__dataclass_fields__)
        return [Batch(*tensors) for tensors in zip(*parts, strict=True)]

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        return Batch(*(change(getattr(self, name)) for name in self.__dataclass_fields__))


def order(
    seed: int, run: str, examples: int, step: int, batch_size: int, places: Sequence[int] | None = None
) -> list[int]:
    """The examples of a step, or those at ``places`` in its batch: every epoch takes each once, in a new order."""
    drawn = [step * batch_size + place for place in (range(batch_size) if places is None else places)]
    return [int(_permutation(seed, run, examples, place // examples)[place % examples]) for place in drawn]


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, run: str, examples: int, epoch: int) -> np.ndarray:
    return keyed("order", seed, run, epoch).permutation(examples)


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
    places: range | None = None,
) -> Batch:
    """The batch of a step, or those of its examples that are at ``places`` (within 0 to ``batch_size``) in it.

    ``settings``: the sections ``seed`` and ``train``; ``timesteps``: of the noise schedule.
    """
    seed, shares = settings["seed"], settings["train"]["dropout"]
    places = range(batch_size) if places is None else places
    rows = order(seed, run, len(targets), step, batch_size, places)
    latents, stds = targets.posterior(rows)
    priors, states = conditions.priors(rows), conditions.states(rows, np.float16)
    if priors is None:
        priors = np.zeros_like(latents)
    noise, times = np.empty_like(latents), np.empty(len(rows), np.int64)
    for i, place in enumerate(places):
        rng = keyed("step", seed, run, step, place)
        times[i] = int(timesteps * rng.random() ** settings["train"]["timestep_power"])
        text_dropped, image_dropped = dropped(rng.random(), shares)
        if text_dropped:
            states[i] = 0
        if image_dropped:
            priors[i] = 0
        latents[i] += stds[i] * rng.standard_normal(latents[i].shape, dtype=np.float32)
        rng.standard_normal(dtype=np.float32, out=noise[i])
    latents *= np.float32(targets.scaling_factor)
    arrays = (latents, priors, states, noise, times)
    return Batch(*(torch.from_numpy(array) for array in arrays))


def ahead(
    next_batch: Callable[[int], Batch], steps: range, device: torch.device
) -> Generator[tuple[int, Batch], None, None]:
    """Each step with its batch on the device; threads prepare the next ones meanwhile.

    Close the iterator (`contextlib.closing`) where the steps may end early.
    """
    source = iter(steps)
    waiting: deque[tuple[int, Future[Batch]]] = deque()

    on_gpu = device.type == "cuda"

    def prepared(step: int) -> Batch:
        batch = next_batch(step)
        return batch.pinned() if on_gpu else batch

    # a thread begins on the first GPU, and would take memory there from another process
    begin = functools.partial(torch.cuda.set_device, device) if on_gpu else None
    with ThreadPoolExecutor(THREADS, "batches", begin) as threads:
        try:
            for step in islice(source, AHEAD):
                waiting.append((step, threads.submit(prepared, step)))
            while waiting:
                step, batch = waiting.popleft()
                yield step, batch.result().to(device)
                for following in islice(source, 1):
                    waiting.append((following, threads.submit(prepared, following)))
        finally:
            threads.shutdown(cancel_futures=True)
