"""The first stage: diffusers' AutoencoderKL if weights are given, else a patch autoencoder with its interface."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL

from biomedjourney import pixels, progress, sums, weights
from biomedjourney.errors import UserError
from biomedjourney.pretrain.patch_autoencoder import LATENT_NOISE, PatchAutoencoder
from biomedjourney.pretrain.schedule import one_cycle


def train(pictures: np.ndarray, settings: dict[str, Any], seed: int) -> PatchAutoencoder:
    """A patch autoencoder trained on uint8 pictures (n, h, w); ``settings`` is the section `pretrain.first_stage`."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    model = PatchAutoencoder()
    all_pictures = torch.from_numpy(pictures)[:, None]

    def batch(rows: np.ndarray) -> torch.Tensor:
        return pixels.to_first_stage(all_pictures[rows].float() / 255)

    sample = rng.choice(len(pictures), min(512, len(pictures)), replace=False)
    model.start_from_pca(batch(sample))
    optimiser = torch.optim.AdamW(model.parameters(), settings["learning_rate"])
    schedule = one_cycle(optimiser, settings, 0.1)
    for step in progress.track(range(settings["steps"]), "first stage", unit="step"):
        if step % 100 == 0:
            model.standardise(batch(sample))
        x = batch(rng.choice(len(pictures), settings["batch_size"]))
        latents = model.encode(x).latent_dist.mean
        decoded = model.decode(latents + LATENT_NOISE * torch.randn_like(latents)).sample
        loss = (decoded - x).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    model.standardise(batch(sample))
    return model.eval()


@torch.no_grad()
def psnr(model: Any, pictures: np.ndarray) -> float:
    """Peak signal-to-noise ratio, in dB over all pixels, of uint8 pictures (n, h, w) after the first stage."""
    x = pixels.to_first_stage(torch.from_numpy(pictures)[:, None].float() / 255)
    x = x.expand(-1, model.config.in_channels, -1, -1)
    error = (model.decode(model.encode(x).latent_dist.mean).sample - x).square().mean().item()
    return float(10 * np.log10(4.0 / error))  # 4: the square of the range from -1 to 1


def copy_published(published: Path, out: Path) -> None:
    """Copies a published AutoencoderKL after checking that it opens. Raises UserError if it does not."""
    load(published)
    with sums.model_folder(out) as folder:
        shutil.copytree(published, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))


def load(folder: Path) -> Any:
    """The first stage of a folder, frozen, in evaluation mode. Raises UserError if there is none or it is damaged."""
    sums.verify(Path(folder))
    model = weights.load(Path(folder), weights.FIRST_STAGE, AutoencoderKL, PatchAutoencoder)
    return model.requires_grad_(False).eval()


def check(folder: Path) -> Any:
    """The configuration of a published first stage, from its files' headers. Raises UserError as `load` does."""
    return weights.check(folder, weights.FIRST_STAGE, AutoencoderKL, PatchAutoencoder)


def check_side(where: str, side: int, config: Any) -> int:
    """The side of the latents of pictures with ``side`` pixels per side. ``where`` names the pictures in messages.

    Raises UserError for a side that the first stage, which halves it level by level, would cut off.
    """
    reduction: int = 2 ** (len(config.block_out_channels) - 1)
    if side % reduction:
        raise UserError(
            f"{where}: pictures of {side} pixels, but the first stage needs a multiple of {reduction}: "
            f"set preprocess.size to {side // reduction * reduction + reduction}"
        )
    return side // reduction
