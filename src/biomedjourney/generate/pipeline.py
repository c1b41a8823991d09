"""A published pipeline of diffusers, with the interface of our own model: somebody else's weights draw our pairs.

Text encoder, tokenizer, null text (the encoded empty string), scheduler and first stage are the folder's own. Noise is
ours, so that a picture depends on the seed and its pair alone, and pictures come in the size of all others.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch

from biomedjourney import pipelines, pixels, pretrain, sampling, sums
from biomedjourney.errors import UserError
from biomedjourney.generate.systems import pngs, stored_pictures
from biomedjourney.systems import STORED

# diffusers guides by the prior only where the text's scale is more than one
JUST_ABOVE_ONE = 1 + 1e-6


@dataclass(frozen=True)
class Pipeline:
    """A pipeline of diffusers on one device, ready to draw; ``side``: of the pictures that it gives, in pixels."""

    folder: Path
    pipeline: Any
    facts: pipelines.Facts
    side: int

    @property
    def knows_prior(self) -> bool:
        return self.facts.takes_prior

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        side = self.facts.size // self.pipeline.vae_scale_factor
        return self.pipeline.vae.config.latent_channels, side, side

    @torch.no_grad()
    def draw(
        self,
        names: list[str],
        seed: int,
        priors: np.ndarray | None,
        texts: list[str],
        text_scale: float,
        image_scale: float,
        steps: int,
    ) -> np.ndarray:
        """Pictures, float32 (n, side, side) in [0, 1], one per name; the noise depends on seed and name alone.

        ``priors``: pictures (n, rows, columns) in [0, 1], or None where none is taken. ``texts``: as they are in the
        tables; the tokenizer cuts those that are too long. Raises UserError for scales that diffusers cannot draw.
        """
        if text_scale < 1 or (self.knows_prior and image_scale < 1):
            raise UserError(
                f"{self.folder}: guidance scales of {text_scale:g} and {image_scale:g}, but diffusers guides by scales "
                "of 1 and more: change generate.guidance"
            )
        vae, device = self.pipeline.vae, self.pipeline.device
        if self.knows_prior:
            image = pixels.resize(torch.from_numpy(priors), self.facts.size)[:, None]
            form = {
                "image": image.expand(-1, vae.config.in_channels, -1, -1).to(device),
                "image_guidance_scale": image_scale,
            }
            text_scale = max(text_scale, JUST_ABOVE_ONE) if image_scale > 1 else text_scale
        else:
            form = {"height": self.facts.size, "width": self.facts.size}
        with pipelines.silent():
            latents = self.pipeline(
                prompt=texts,
                latents=sampling.noise(seed, names, self.latent_shape).to(device),
                generator=[_generator(seed, name) for name in names],
                num_inference_steps=steps,
                guidance_scale=text_scale,
                output_type="latent",
                **form,
            ).images
        pictures: np.ndarray = pixels.resize(sampling.decode(vae, latents), self.side).cpu().numpy()
        return pictures

    def cut(self, texts: Sequence[str]) -> int:
        """How many of the texts have more tokens than the pipeline reads."""
        with pipelines.silent():
            lengths = [len(ids) for ids in self.pipeline.tokenizer(list(texts))["input_ids"]]
        return sum(length > self.facts.tokens for length in lengths)


@dataclass(frozen=True)
class Conditions:
    """What a pipeline draws from: the text of each example and, where it takes one, the prior as a stored PNG."""

    texts: list[str]
    priors_png: list[bytes] | None

    def priors(self, examples: Sequence[int]) -> np.ndarray | None:
        """The priors' pictures, float32 (n, rows, columns) in [0, 1]."""
        if self.priors_png is None:
            return None
        return np.stack([pixels.decode_png(self.priors_png[place]) for place in examples])

    def states(self, examples: Sequence[int]) -> list[str]:
        return [self.texts[place] for place in examples]


def _generator(seed: int, name: str) -> torch.Generator:
    """For a scheduler that adds noise at each step; on the CPU, whose numbers are the same on every machine."""
    return torch.Generator().manual_seed(int(sampling.keyed("scheduler", seed, name).integers(2**62)))


def load(folder: Path, settings: dict[str, Any], side: int) -> Pipeline:
    """The pipeline of a folder; ``settings``: the system's. Raises UserError where a part is missing or unfit."""
    sums.verify(folder)
    index = pipelines.describe(folder)
    pipelines.check_prior(folder, index, settings["prior"])
    encoder, tokenizer = pipelines.texts(folder, index)
    unet, vae = sampling.load_unet(folder / "unet"), pretrain.load_first_stage(folder / "vae")
    facts = pipelines.facts(folder, index, unet.config, vae.config, encoder.config, tokenizer, settings.get("size"))
    scheduler = pipelines.scheduler(folder, index)
    pipeline = assembled(index.pipeline, unet.requires_grad_(False).eval(), vae, encoder, tokenizer, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return Pipeline(folder, pipeline.to("cuda" if torch.cuda.is_available() else "cpu"), facts, side)


def assembled(name: str, unet: Any, first_stage: Any, encoder: Any, tokenizer: Any, scheduler: Any) -> Any:
    """A pipeline of diffusers, of the class with this name, of these parts and without a safety checker."""
    import diffusers

    with warnings.catch_warnings():  # it corrects what old files say of the scheduler
        warnings.simplefilter("ignore", FutureWarning)
        return getattr(diffusers, name)(
            vae=first_stage,
            text_encoder=encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def conditions(examples: pd.DataFrame, pipeline: Pipeline, registered: Sequence[Path]) -> Conditions:
    """What the examples (`examples.drawn_examples`) are drawn from. ``registered``: every shard of that table.

    Says on standard error how many texts are cut. Raises UserError where a prior's picture is missing.
    """
    texts = list(examples["text"])
    if cut := pipeline.cut(texts):
        click.echo(f"{pipeline.folder}: {cut} of {len(texts)} texts have more than {pipeline.facts.tokens} tokens and "
                   "are cut", err=True)  # fmt: skip
    if not pipeline.knows_prior:
        return Conditions(texts, None)
    if not registered:
        raise UserError("--registered is missing: prior: registered reads it: give every shard of the table registered")
    found: dict[str, bytes] = {}
    for batch in pngs(stored_pictures(registered, STORED["prior"], examples["prior"])):
        found |= batch
    return Conditions(texts, [found[prior] for prior in examples["prior"]])
