from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from biomedjourney.errors import UserError
from biomedjourney.train import model
from tests.helpers import tiny


def test_new_unet_reads_prior_and_text_and_ignores_the_prior_at_first() -> None:
    unet = model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, 0)
    noisy, states, time = torch.randn(2, *tiny.SHAPE), torch.randn(2, 5, tiny.WIDTH), torch.tensor([3, 9])
    priors = [torch.zeros(2, *tiny.SHAPE), torch.randn(2, *tiny.SHAPE)]
    first, second = (
        unet(torch.cat([noisy, prior], dim=1), time, encoder_hidden_states=states).sample for prior in priors
    )
    assert first.shape == noisy.shape
    assert torch.equal(first, second)
    assert isinstance(unet.encoder_hid_proj, torch.nn.Linear)
    assert unet.encoder_hid_proj.bias is not None
    assert unet.mid_block.attentions[0].config.num_attention_heads == tiny.UNET["heads"]


def test_weights_depend_on_the_seed_alone() -> None:
    first, again, other = (model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["conv_in.weight"], other["conv_in.weight"])


def published(folder: Path, in_channels: int) -> UNet2DConditionModel:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=24,
        attention_head_dim=2,
        norm_num_groups=8,
    )
    unet.save_pretrained(folder)
    return unet


@pytest.mark.parametrize("channels", [4, 8])
def test_published_unet_keeps_its_function_when_widened(tmp_path: Path, channels: int) -> None:
    known = published(tmp_path, channels)
    unet = model.build(tiny.UNET | {"weights": str(tmp_path)}, tiny.SHAPE, tiny.WIDTH, 0)
    assert unet.config.in_channels == 8
    inputs, states, time = torch.randn(2, 8, 8, 8), torch.randn(2, 5, tiny.WIDTH), torch.tensor([3, 9])
    found = unet(inputs, time, encoder_hidden_states=states).sample
    projected = unet.encoder_hid_proj(states)
    assert projected.shape[-1] == 24
    expected = known(inputs[:, :channels], time, encoder_hidden_states=projected).sample
    assert torch.allclose(found, expected, atol=1e-6)


def test_saved_unet_is_read_back_by_stock_diffusers(tmp_path: Path) -> None:
    unet = model.build(tiny.UNET, tiny.SHAPE, tiny.WIDTH, 0)
    unet.save_pretrained(tmp_path)
    read = UNet2DConditionModel.from_pretrained(tmp_path)
    assert all(torch.equal(value, read.state_dict()[name]) for name, value in unet.state_dict().items())


def test_unfit_weights_and_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config.json: not a UNet"):
        model.build(tiny.UNET | {"weights": str(tmp_path / "absent")}, tiny.SHAPE, tiny.WIDTH, 0)
    with pytest.raises(UserError, match="attention has 1 values for 2"):
        model.build(tiny.UNET | {"attention": [True]}, tiny.SHAPE, tiny.WIDTH, 0)
    published(tmp_path, 4)
    with pytest.raises(UserError, match="does not fit latents of 16 channels"):
        model.build(tiny.UNET | {"weights": str(tmp_path)}, (16, 8, 8), tiny.WIDTH, 0)
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be read"):
        model.build(tiny.UNET | {"weights": str(tmp_path)}, tiny.SHAPE, tiny.WIDTH, 0)
