"""Latents and token states of a run's examples, by place.

Latents and states stay float16, each once, however many examples share them; a batch is float32.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney import tables
from biomedjourney.encode import text_key
from biomedjourney.errors import UserError
from biomedjourney.train.inputs import Inputs


@dataclass(frozen=True)
class Targets:
    """The pictures to learn: posterior means and stds, float16 (pictures, c, h, w), unscaled; ``places`` by example."""

    means: np.ndarray
    stds: np.ndarray
    places: np.ndarray
    scaling_factor: float

    def __len__(self) -> int:
        return len(self.places)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.means.shape[1:]
        return channels, height, width

    def posterior(self, examples: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation, float32 (n, c, h, w)."""
        rows = self.places[examples]
        return self.means[rows].astype(np.float32), self.stds[rows].astype(np.float32)


@dataclass(frozen=True)
class Conditions:
    """What a picture is drawn from: the prior's latent (``prior_means`` None: the run knows no prior) and the text.

    ``prior_means``: float16 (priors, c, h, w), unscaled. ``token_states``: one float16 (tokens, width) a distinct text.
    ``prior_places`` and ``text_places`` say which of them belongs to which example.
    """

    prior_means: np.ndarray | None
    prior_places: np.ndarray
    token_states: list[np.ndarray]
    text_places: np.ndarray
    max_tokens: int

    @property
    def text_width(self) -> int:
        return int(self.token_states[0].shape[1])

    def priors(self, examples: list[int]) -> np.ndarray | None:
        """The priors' latents, float32 (n, c, h, w), unscaled, or None for a run without priors."""
        if self.prior_means is None:
            return None
        return self.prior_means[self.prior_places[examples]].astype(np.float32)

    def states(self, examples: list[int]) -> np.ndarray:
        """Token states, float32 (n, max_tokens, width), padded with zero rows."""
        return pad([self.token_states[place] for place in self.text_places[examples]], self.max_tokens)


def pad(states: list[np.ndarray], max_tokens: int) -> np.ndarray:
    """Token states of n texts, each (tokens, width), as float32 (n, max_tokens, width) with zero rows after the end."""
    padded = np.zeros((len(states), max_tokens, states[0].shape[1]), np.float32)
    for row, own in zip(padded, states, strict=True):
        row[: len(own)] = own
    return padded


def prior_file(run: dict[str, Any], inputs: Inputs) -> Path | None:
    """Where the latents of the run's priors lie: a table of their own once registered, else that of all pictures."""
    if run["prior"] == "none":
        return None
    registered = run["prior"] == "registered"
    return inputs.need("prior_latents" if registered else "latents", f"prior: {run['prior']}")


def with_latents(examples: pd.DataFrame, run: dict[str, Any], inputs: Inputs) -> pd.DataFrame:
    """The examples whose target and prior have a latent: a picture that could not be read has none.

    Raises UserError where no example is left.
    """
    latents, priors = inputs.need("latents", "train"), prior_file(run, inputs)
    known = examples[examples["target"].isin(_ids(latents))]
    if priors is not None:
        known = known[known["prior"].isin(_ids(priors))]
    if known.empty:
        raise UserError(f"{latents}: none of {len(examples)} examples has a latent: run encode on these tables")
    return known.reset_index(drop=True)


def load_targets(examples: pd.DataFrame, inputs: Inputs) -> Targets:
    """The latents of the examples' pictures. Raises UserError for one that is missing."""
    from biomedjourney.pretrain import load_first_stage

    places, ids = pd.factorize(examples["target"])
    means, stds = load_latents(inputs.need("latents", "train"), ids)
    first_stage = load_first_stage(inputs.need("first_stage", "the scale of the latents"))
    return Targets(means, stds, places, float(first_stage.config.scaling_factor))


def load_conditions(examples: pd.DataFrame, run: dict[str, Any], inputs: Inputs, max_tokens: int) -> Conditions:
    """The priors' latents and the texts' states of the examples. Raises UserError for one that is missing."""
    prior_places, prior_ids = pd.factorize(examples["prior"])
    text_places, texts = pd.factorize(examples["text"])
    file = prior_file(run, inputs)
    priors = None if file is None else load_latents(file, prior_ids)[0]
    states = load_states(inputs.need("texts", "every run"), list(texts))
    return Conditions(priors, prior_places, states, text_places, max_tokens)


def _ids(path: Path) -> set[str]:
    return set(tables.read_arrow(path, "latents", ["id"])["id"].to_pylist())


def load_latents(path: Path, ids: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Means and stds, float16 (n, c, h, w), of the ids in their order. Raises UserError for an id that is missing."""
    ids = list(ids)
    found = tables.find([path], "latents", "id", ids)
    absent = [i for i in ids if i not in found]
    if absent:
        raise UserError(f"{path}: no latent of {absent[0]} ({len(absent)} are missing): run encode on these tables")
    means, stds = (
        np.stack([np.frombuffer(found[i][part], "<f2").reshape(found[i]["shape"]) for i in ids])
        for part in ("mean", "std")
    )
    return means, stds


def load_states(path: Path, texts: list[str]) -> list[np.ndarray]:
    """Token states, float16 (tokens, width), of each text. Raises UserError for a text that was not encoded."""
    keys = [text_key(text) for text in texts]
    found = tables.find([path], "texts", "text_sha256", keys)
    absent = [text for key, text in zip(keys, texts, strict=True) if key not in found]
    if absent:
        raise UserError(f"{path}: {len(absent)} texts were not encoded, as {absent[0][:60]!r}: run encode texts")
    return [np.frombuffer(found[key]["states"], "<f2").reshape(found[key]["shape"]) for key in keys]
