"""Fixed validation examples: the loss on them, and pictures that show how a run draws them.

Choice, noise and timestep of an example depend on the seed and its id alone. So the losses of two runs, or of a run
and its continuation, are of the same examples with the same noise.
"""

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from biomedjourney import examples, pixels, sampling
from biomedjourney.errors import UserError
from biomedjourney.examples import Conditions, Inputs, Targets
from biomedjourney.pretrain import load_first_stage
from biomedjourney.train import loop
from biomedjourney.train.batches import Batch

LARGEST_BATCH = 16  # examples at once: without gradients they need less memory than a training step of as many
PANEL = 128  # least side of a picture in the grid, in pixels


@dataclass(frozen=True)
class Validation:
    """The examples ``ids`` with their ``texts``, and the ``settings``: the sections seed, diffusion, train, generate.

    The loss is taken of the first ``loss_count``, and the first ``picture_count`` are drawn; ``no_pictures`` says why
    it is none.
    """

    ids: list[str]
    texts: list[str]
    targets: Targets
    conditions: Conditions
    settings: dict[str, Any]
    batch_size: int
    loss_count: int
    picture_count: int
    first_stage: Any
    no_pictures: str

    def in_words(self) -> str:
        drawn = f"{self.picture_count} drawn in pictures/" if self.picture_count else f"none drawn ({self.no_pictures})"
        return f"validation: the loss of {self.loss_count} examples, {drawn}"

    @torch.no_grad()
    def loss(self, unet: Any) -> float:
        """The mean of the training's loss, with every text and prior kept, over the examples."""
        schedule = sampling.scheduler(self.settings["diffusion"]["schedule"])
        gamma = self.settings["train"]["min_snr_gamma"]
        weights = loop.loss_weight(schedule.alphas_cumprod, schedule.config.prediction_type, gamma).to(unet.device)
        total = 0.0
        for first in range(0, self.loss_count, self.batch_size):
            places = list(range(first, min(first + self.batch_size, self.loss_count)))
            batch = self._batch(places).to(unet.device)
            total += len(places) * loop.loss(unet, batch, schedule, weights).item()
        return total / self.loss_count

    def _batch(self, places: list[int]) -> Batch:
        """The examples as `batches.batch` gives them for a step, but with nothing dropped."""
        latents, stds = self.targets.posterior(places)
        priors, states = self.conditions.priors(places), self.conditions.states(places)
        noise, times = np.empty_like(latents), np.empty(len(places), np.int64)
        for i, place in enumerate(places):
            rng = sampling.keyed("validation", self.settings["seed"], self.ids[place])
            share = rng.random() ** self.settings["train"]["timestep_power"]
            times[i] = int(self.settings["diffusion"]["schedule"]["steps"] * share)
            latents[i] += stds[i] * rng.standard_normal(latents[i].shape, dtype=np.float32)
            noise[i] = rng.standard_normal(latents[i].shape, dtype=np.float32)
        target = latents * np.float32(self.targets.scaling_factor)
        arrays = (target, np.zeros_like(latents) if priors is None else priors, states, noise, times)
        return Batch(*(torch.from_numpy(array) for array in arrays))

    @torch.no_grad()
    def pictures(self, unet: Any) -> np.ndarray:
        """The grid, uint8 (rows, columns): for each example its prior if it has one, what is drawn, what is true, its
        text. Drawn with the scales and steps of the section generate.
        """
        columns: dict[str, list[np.ndarray]] = {"prior": [], "drawn": [], "true": []}
        self.first_stage.to(unet.device)
        for first in range(0, self.picture_count, self.batch_size):
            places = list(range(first, min(first + self.batch_size, self.picture_count)))
            priors, targets = self.conditions.priors(places), self.targets.posterior(places)[0]
            columns["prior"] += [] if priors is None else self._decoded(torch.from_numpy(priors).to(unet.device))
            columns["drawn"] += self._decoded(self._drawn(unet, places, priors) / self.targets.scaling_factor)
            columns["true"] += self._decoded(torch.from_numpy(targets).to(unet.device))
        self.first_stage.to("cpu")
        shown = {title: column for title, column in columns.items() if column}
        return grid(list(zip(*shown.values(), strict=True)), self.texts, list(shown))

    def _drawn(self, unet: Any, places: list[int], priors: np.ndarray | None) -> torch.Tensor:
        generate, guidance = self.settings["generate"], self.settings["generate"]["guidance"]
        schedule = sampling.scheduler(self.settings["diffusion"]["schedule"])
        solver = sampling.solver(generate["solver"], schedule.config)
        names = [self.ids[place] for place in places]
        noise = sampling.noise(self.settings["seed"], names, self.targets.latent_shape).to(unet.device)
        prior = None if priors is None else torch.from_numpy(priors).to(unet.device)
        states = torch.from_numpy(self.conditions.states(places)).to(unet.device)
        scales = guidance["text_scale"], guidance["image_scale"]
        return sampling.sample(unet, solver, generate["steps"], noise, prior, states, *scales)

    def _decoded(self, latents: torch.Tensor) -> list[np.ndarray]:
        """Pictures of unscaled latents, one by one: at full size, a decoder needs gigabytes for each."""
        scaled = latents * self.targets.scaling_factor
        return [sampling.decode(self.first_stage, one[None])[0].cpu().numpy() for one in scaled]


def load(
    run: dict[str, Any], settings: dict[str, Any], inputs: Inputs, first_stage: Path | None, scaling_factor: float
) -> Validation | None:
    """The validation examples of a run, or None where the configuration wants none or there are none.

    ``settings``: those of the command. ``first_stage``: its folder. Without it, and where the configuration keeps
    pictures of patients back, nothing is drawn. Raises UserError for a first stage that did not make the latents, whose
    scaling factor is given.
    """
    train = settings["train"]
    rows = examples.validation_examples(run, inputs) if train["validate_every"] else None
    if rows is None or rows.empty:
        return None
    rows = examples.with_latents(rows, run, inputs)
    wanted = train["validation"]
    loss_count = min(wanted["examples"], len(rows))
    no_pictures = "" if wanted["pictures"] else "train.validation.pictures is 0"
    if not settings["report"]["show_patients"]:
        no_pictures = "report.show_patients is false"
    elif first_stage is None:
        no_pictures = "--first-stage is not given"
    picture_count = 0 if no_pictures else min(wanted["pictures"], len(rows))
    places = chosen(list(rows["id"]), max(loss_count, picture_count), settings["seed"])
    rows = rows.iloc[places].reset_index(drop=True)
    targets = examples.load_targets(rows, inputs)
    stage = None
    if picture_count and first_stage is not None:
        stage = load_first_stage(first_stage)
        offered = stage.config.latent_channels, stage.config.scaling_factor
        if offered != (targets.latent_shape[0], scaling_factor):
            raise UserError(
                f"{first_stage}: latents of {offered[0]} channels, scaled by {offered[1]}, but the run learns from "
                f"{targets.latent_shape[0]}, scaled by {scaling_factor}: give the first stage that encoded the pictures"
            )
    return Validation(
        list(rows["id"]),
        list(rows["text"]),
        targets,
        examples.load_conditions(rows, run, inputs, settings["text"]["max_tokens"]),
        settings,
        min(run["batch_size"], LARGEST_BATCH),
        loss_count,
        picture_count,
        stage,
        no_pictures,
    )


def chosen(ids: list[str], count: int, seed: int) -> list[int]:
    """The places of ``count`` of the ids in an order that the seed and each id alone decide."""
    return sorted(range(len(ids)), key=lambda place: sampling.keyed("validate", seed, ids[place]).random())[:count]


def grid(rows: Sequence[Sequence[np.ndarray]], texts: Sequence[str], titles: Sequence[str]) -> np.ndarray:
    """Rows of pictures, float32 (side, side) in [0, 1], with a title over each column and a text beside each row.

    uint8 (rows, columns). Small pictures are enlarged by a whole factor, so that every pixel of theirs is to be seen.
    """
    pictures = [[Image.open(io.BytesIO(pixels.encode_png(picture))) for picture in row] for row in rows]
    side = pictures[0][0].width * math.ceil(PANEL / pictures[0][0].width)
    font, gap, head, line = ImageFont.load_default(size=12), 4, 18, 15
    canvas = Image.new("L", (len(titles) * (side + gap) + 2 * side, head + len(rows) * (side + gap)), 255)
    draw = ImageDraw.Draw(canvas)
    for i, title in enumerate(titles):
        draw.text((i * (side + gap), 1), title, fill=0, font=font)
    characters = int(2 * side / font.getlength("n"))
    for i, (row, text) in enumerate(zip(pictures, texts, strict=False)):
        top = head + i * (side + gap)
        for j, picture in enumerate(row):
            canvas.paste(picture.resize((side, side), Image.Resampling.NEAREST), (j * (side + gap), top))
        lines = textwrap.wrap(text, characters, max_lines=side // line, placeholder=" …")
        draw.multiline_text((len(row) * (side + gap) + gap, top), "\n".join(lines), fill=0, font=font, spacing=2)
    return np.asarray(canvas)
