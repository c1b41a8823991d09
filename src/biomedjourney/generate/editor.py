"""A model with its text tower and first stage: pictures and texts in, edited pictures out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biomedjourney import examples, sampling
from biomedjourney.encode.latents import posterior
from biomedjourney.generate import model as models
from biomedjourney.pretrain import load_text_tower


@dataclass(frozen=True)
class Editor:
    """``max_tokens``: the length to which the model's texts are padded."""

    model: models.Model
    text_tower: Any
    max_tokens: int

    def draw(
        self,
        names: Sequence[str],
        seed: int,
        priors: np.ndarray,
        texts: Sequence[str],
        text_scale: float,
        image_scale: float,
        steps: int,
    ) -> np.ndarray:
        """Pictures of the ``priors`` after the ``texts``; both are float32 (n, rows, columns) in [0, 1].

        The noise depends on the seed and the names alone. An empty text is the null text.
        """
        told = zip(texts, self.text_tower.states(list(texts)), strict=True)
        states = examples.pad([tokens if text else tokens[:0] for text, tokens in told], self.max_tokens)
        latents = posterior(self.model.first_stage, priors).mean.cpu().numpy() if self.model.knows_prior else None
        return self.model.draw(list(names), seed, latents, states, text_scale, image_scale, steps)

    @torch.no_grad()
    def reconstructed(self, pictures: np.ndarray) -> np.ndarray:
        """The pictures through the first stage and back: no edit can be nearer to its prior than that."""
        first_stage = self.model.first_stage
        mean = posterior(first_stage, pictures).mean
        decoded: np.ndarray = sampling.decode(first_stage, mean * first_stage.config.scaling_factor).cpu().numpy()
        return decoded


def load(model: Path, first_stage: Path, text_tower: Path, max_tokens: int) -> Editor:
    """The editor of these folders. Raises UserError where a part is missing or does not fit."""
    return Editor(models.load(model, first_stage), load_text_tower(text_tower, max_tokens), max_tokens)
