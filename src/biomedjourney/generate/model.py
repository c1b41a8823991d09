"""A trained model as one object: prior latent, token states and scales in, pictures out."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biomedjourney import sampling, sums
from biomedjourney.errors import UserError
from biomedjourney.train.run import run_facts


@dataclass(frozen=True)
class Model:
    """UNet, solver with its noise schedule, and first stage of a run's folder, on one device, ready to draw."""

    folder: Path
    unet: Any
    scheduler: Any
    first_stage: Any
    knows_prior: bool

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        config = self.unet.config
        return config.out_channels, config.sample_size, config.sample_size

    @torch.no_grad()
    def draw(
        self,
        names: list[str],
        seed: int,
        prior_latents: np.ndarray | None,
        states: np.ndarray,
        text_scale: float,
        image_scale: float,
        steps: int,
    ) -> np.ndarray:
        """Pictures, float32 (n, rows, columns) in [0, 1], one per name; the noise depends on seed and name alone.

        ``prior_latents``: float32 (n, c, h, w), unscaled, or None for a model without a prior. ``states``: float32
        (n, tokens, width), padded to the length that the model was trained with. Raises UserError where either is of
        another shape than the model learned from.
        """
        self._check(prior_latents if self.knows_prior else None, states)
        device = self.unet.device
        noise = sampling.noise(seed, names, self.latent_shape).to(device)
        prior = torch.from_numpy(prior_latents).to(device) if prior_latents is not None and self.knows_prior else None
        latents = sampling.sample(
            self.unet, self.scheduler, steps, noise, prior, torch.from_numpy(states).to(device), text_scale, image_scale
        )
        pictures: np.ndarray = sampling.decode(self.first_stage, latents).cpu().numpy()
        return pictures

    def with_solver(self, name: str) -> "Model":
        """The same model, drawn by another solver of `sampling.SOLVERS`."""
        return replace(self, scheduler=sampling.solver(name, self.scheduler.config))

    def _check(self, prior_latents: np.ndarray | None, states: np.ndarray) -> None:
        if prior_latents is not None and prior_latents.shape[1:] != self.latent_shape:
            raise UserError(
                f"{self.folder}: a model of latents {self.latent_shape}, but the priors' are "
                f"{prior_latents.shape[1:]}: encode them with the first stage and at the size that it was trained with"
            )
        width = self.unet.config.encoder_hid_dim
        if states.shape[2] != width:
            raise UserError(
                f"{self.folder}: a model of text states of width {width}, but these have {states.shape[2]}: "
                "encode the texts with the text tower that it was trained with"
            )


def load(folder: Path, first_stage: Path) -> Model:
    """The model of a training run's folder, or of an exported one, with the solver that is stored there.

    Raises UserError where a part is missing or the first stage is another.
    """
    from biomedjourney.pretrain import load_first_stage

    sums.verify(folder)
    facts = run_facts(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    unet = sampling.load_unet(folder / "unet").to(device).eval()
    schedule = folder / "scheduler" / "scheduler_config.json"
    try:
        stored = json.loads(schedule.read_text(encoding="utf-8"))
        scheduler = sampling.solver(sampling.solver_of(stored), stored)
    except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise UserError(f"{schedule}: the noise schedule cannot be read ({error}): run train again") from None
    stage = load_first_stage(first_stage)
    offered = stage.config.latent_channels, stage.config.scaling_factor
    expected = unet.config.out_channels, facts["first_stage_scaling_factor"]
    if offered != expected:
        raise UserError(
            f"{first_stage}: latents of {offered[0]} channels, scaled by {offered[1]}, but the model in {folder} was "
            f"trained on {expected[0]}, scaled by {expected[1]}: give the first stage that it was trained with"
        )
    knows_prior = facts["settings"]["run"]["prior"] != "none"
    return Model(folder, unet, scheduler, stage.to(device).eval(), knows_prior)
