"""The first stage of the miniature: a patch autoencoder with the interface of diffusers' AutoencoderKL.

An exported model carries this file, so that diffusers opens it where this project is not installed. So it imports
nothing of the project.
"""

import math
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import nn

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

    def encode(self, x: torch.Tensor, return_dict: bool = True) -> Any:
        """``.latent_dist`` of pictures: a Gaussian whose standard deviation is the LATENT_NOISE of the training.

        ``return_dict`` False, here and in `decode`: a tuple in place of the object, as in diffusers.
        """
        patches = self.unshuffle(x)
        mean = (self.to_latent(patches) + self.encode_more(patches) - self.latent_mean) / self.latent_std
        log_variance = torch.full_like(mean, 2 * math.log(LATENT_NOISE))
        posterior = DiagonalGaussianDistribution(torch.cat([mean, log_variance], dim=1))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(self, z: torch.Tensor, return_dict: bool = True) -> Any:
        """``.sample``: the pictures of the latents."""
        latents = z * self.latent_std + self.latent_mean
        pictures = self.shuffle(self.from_latent(latents) + self.decode_more(latents))
        return DecoderOutput(sample=pictures) if return_dict else (pictures,)

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
