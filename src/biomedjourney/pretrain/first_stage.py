"""The first stage: diffusers' AutoencoderKL if weights are given, else a patch autoencoder with its interface."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import nn

from biomedjourney import pixels, progress, tables, weights
from biomedjourney.errors import UserError
from biomedjourney.pretrain.schedule import one_cycle

# Standard deviation of the noise on the standardised latents in training. With it the decoder learns to tolerate the
# errors that diffusion leaves.
LATENT_NOISE = 0.05


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """Patches of 4 x 4 pixels become 4 channels: a linear map that starts as PCA, and a small convolutional residual.

    Pictures are (n, 1, h, w) in [-1, 1]; latents are (n, 4, h/4, w/4), standardised per channel over the training
    pictures.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 1,
        latent_channels: int = 4,
        patch: int = 4,
        hidden: int = 40,
        scaling_factor: float = 1.0,
        block_out_channels: tuple[int, ...] = (1, 1, 1),  # diffusers derives the reduction from the length: 2 ** 2
    ) -> None:
        super().__init__()
        values = in_channels * patch * patch
        self.unshuffle, self.shuffle = nn.PixelUnshuffle(patch), nn.PixelShuffle(patch)
        self.to_latent = nn.Conv2d(values, latent_channels, 1)
        self.from_latent = nn.Conv2d(latent_channels, values, 1)
        last_in = nn.Conv2d(hidden, latent_channels, 3, padding=1)
        last_out = nn.Conv2d(hidden, values, 3, padding=1)
        self.encode_more = nn.Sequential(nn.Conv2d(values, hidden, 3, padding=1), nn.SiLU(), last_in)
        self.decode_more = nn.Sequential(
            nn.Conv2d(latent_channels, hidden, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.SiLU(),
            last_out,
        )
        for parameter in (*last_in.parameters(), *last_out.parameters()):
            nn.init.zeros_(parameter)
        self.register_buffer("latent_mean", torch.zeros(latent_channels, 1, 1))
        self.register_buffer("latent_std", torch.ones(latent_channels, 1, 1))

    def encode(self, x: torch.Tensor) -> Any:
        """``.latent_dist`` of pictures: a Gaussian whose standard deviation is the LATENT_NOISE of the training."""
        patches = self.unshuffle(x)
        mean = (self.to_latent(patches) + self.encode_more(patches) - self.latent_mean) / self.latent_std
        log_variance = torch.full_like(mean, 2 * float(np.log(LATENT_NOISE)))
        return SimpleNamespace(latent_dist=DiagonalGaussianDistribution(torch.cat([mean, log_variance], dim=1)))

    def decode(self, z: torch.Tensor) -> Any:
        """``.sample``: the pictures of the latents."""
        latents = z * self.latent_std + self.latent_mean
        return SimpleNamespace(sample=self.shuffle(self.from_latent(latents) + self.decode_more(latents)))

    @torch.no_grad()
    def start_from_pca(self, x: torch.Tensor) -> None:
        """Sets the linear maps to the principal components of the patches in pictures (n, 1, h, w)."""
        patches = self.unshuffle(x).permute(0, 2, 3, 1).flatten(0, 2)
        mean = patches.mean(dim=0)
        _, vectors = torch.linalg.eigh(torch.cov(patches.T))
        basis = vectors.flip(1)[:, : self.config.latent_channels]
        self.to_latent.weight.copy_(basis.T[:, :, None, None])
        self.to_latent.bias = nn.Parameter(-(mean @ basis))
        self.from_latent.weight.copy_(basis[:, :, None, None])
        self.from_latent.bias = nn.Parameter(mean)

    @torch.no_grad()
    def standardise(self, x: torch.Tensor) -> None:
        """Makes the latents of pictures (n, 1, h, w) have mean 0 and standard deviation 1 in each channel."""
        self.latent_mean.zero_()
        self.latent_std.fill_(1.0)
        latents = self.encode(x).latent_dist.mean
        self.latent_mean.copy_(latents.mean(dim=(0, 2, 3))[:, None, None])
        self.latent_std.copy_(latents.std(dim=(0, 2, 3))[:, None, None])


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
    with tables.atomic_folder(out) as folder:
        shutil.copytree(published, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))


def load(folder: Path) -> Any:
    """The first stage of a folder, frozen, in evaluation mode. Raises UserError if there is none or it is damaged."""
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
