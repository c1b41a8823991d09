"""How fast batches reach a training step at full size: the loader alone, with a model that does nothing.

Latents of 4 x 32 x 32 and float16 states of up to 256 tokens of width 768, drawn at random, as many examples as
MIMIC-CXR has singles. Run: python bench/train_loader.py
"""

import argparse
import time

import numpy as np
import torch

from biomedjourney.examples import Conditions, Targets
from biomedjourney.train import batches

WIDTH, MAX_TOKENS, SHAPE = 768, 256, (4, 32, 32)
SETTINGS = {"seed": 0, "train": {"dropout": {"text": 0.05, "image": 0.05, "both": 0.05}, "timestep_power": 1.0}}
AIM = 250  # images per second that training needs on an H100


def problem(examples: int, stored: int, tokens: tuple[int, int]) -> tuple[Targets, Conditions]:
    """``examples`` examples that share ``stored`` pictures and texts, so that the bench needs little memory."""
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((stored, *SHAPE), dtype=np.float32).astype(np.float16)
    lengths = rng.integers(*tokens, stored, endpoint=True)
    states = [rng.standard_normal((length, WIDTH), dtype=np.float32).astype(np.float16) for length in lengths]
    places = rng.integers(0, stored, examples)
    return Targets(latents, np.abs(latents), places, 0.18215), Conditions(latents, places, states, places, MAX_TOKENS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--tokens", type=int, nargs=2, default=(20, 120), help="fewest and most tokens of a text")
    options = parser.parse_args()
    torch.set_num_threads(1)
    targets, conditions = problem(157_148, 1000, tuple(options.tokens))

    def next_batch(step: int) -> batches.Batch:
        return batches.batch(targets, conditions, step, SETTINGS, "bench", options.batch_size, 1000)

    def rate(steps: int) -> tuple[float, float]:
        """Images per second by the clock, and per second of this process's CPU time."""
        began, cpu = time.perf_counter(), time.process_time()
        for _step, batch in batches.ahead(next_batch, range(steps), torch.device("cpu")):
            assert len(batch) == options.batch_size  # the model that does nothing
        images = steps * options.batch_size
        return images / (time.perf_counter() - began), images / (time.process_time() - cpu)

    rate(10)
    by_clock, by_cpu = rate(options.steps)
    print(
        f"{by_clock:.0f} images per second ({by_cpu:.0f} per second of CPU time), {by_clock / AIM:.1f} times {AIM}: "
        f"batches of {options.batch_size}, texts of {options.tokens[0]} to {options.tokens[1]} tokens"
    )


if __name__ == "__main__":
    main()
