"""The UNet with eight input channels: a new one, a published one widened, or the one of an earlier stage."""

import math
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from biomedjourney.errors import UserError
from biomedjourney.sampling import check_conditions, load_unet


def build(settings: dict[str, Any], latent_shape: tuple[int, int, int], text_width: int, seed: int) -> Any:
    """The UNet at the start of a run: noisy and prior latent in, by channel, and the prediction out.

    ``settings``: the section ``diffusion.unet``. The weights that read the prior latent start at zero (Brooks et al.,
    2023). A learned projection brings the text states, of width ``text_width``, to the width of cross-attention.
    """
    torch.manual_seed(seed)
    if settings["weights"] is not None:
        return published(Path(settings["weights"]), latent_shape, text_width)
    channels, attention = settings["block_out_channels"], settings["attention"]
    if len(attention) != len(channels):
        raise UserError(
            f"configuration, diffusion.unet: attention has {len(attention)} values for {len(channels)} "
            "block_out_channels: give one for each"
        )
    unet = UNet2DConditionModel(
        sample_size=latent_shape[1],
        in_channels=2 * latent_shape[0],
        out_channels=latent_shape[0],
        block_out_channels=tuple(channels),
        layers_per_block=settings["layers_per_block"],
        down_block_types=tuple("CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in attention),
        up_block_types=tuple("CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(attention)),
        attention_head_dim=settings["heads"],  # diffusers calls the number of heads so in this class
        cross_attention_dim=settings["cross_attention_dim"],
        norm_num_groups=min(32, math.gcd(*channels) // 2),
        encoder_hid_dim=text_width,
        encoder_hid_dim_type="text_proj",
    )
    with torch.no_grad():
        unet.conv_in.weight[:, latent_shape[0] :] = 0
    return unet


def published(folder: Path, latent_shape: tuple[int, int, int], text_width: int) -> Any:
    """A published UNet, as Stable Diffusion's, with zero weights for the prior's channels and a new text projection.

    One that has the wider input already (InstructPix2Pix) keeps its weights, and one with a text projection of this
    width keeps that too. The size for which it was published does not count: a UNet takes latents of any size. Raises
    UserError for a folder that holds no such UNet.
    """
    original = load_unet(folder)
    check_conditions(folder, original.config, latent_shape[0], text_width)
    ours = {
        "sample_size": latent_shape[1],
        "in_channels": 2 * latent_shape[0],
        "encoder_hid_dim": text_width,
        "encoder_hid_dim_type": "text_proj",
    }
    # Without the private entry _use_default_values: it lists the keys that an old file lacks, and diffusers would
    # ignore what is set for them here.
    config = {key: value for key, value in original.config.items() if not key.startswith("_")}
    unet = UNet2DConditionModel.from_config(config | ours)
    unet_weights, narrow = unet.state_dict(), original.conv_in.weight.detach()
    widened = torch.zeros_like(unet_weights["conv_in.weight"])
    widened[:, : narrow.shape[1]] = narrow
    unet.load_state_dict(unet_weights | original.state_dict() | {"conv_in.weight": widened})
    return unet
