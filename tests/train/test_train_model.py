from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from biomedjourney.errors import UserError
from biomedjourney.train import model
from tests.helpers import published, tiny


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


@pytest.mark.parametrize("config", [published.UNET, published.INSTRUCT_PIX2PIX])
def test_published_unet_keeps_its_function_when_widened(tmp_path: Path, config: dict[str, Any]) -> None:
    folder = published.unet(tmp_path, config)
    known = UNet2DConditionModel.from_pretrained(folder)
    unet = model.build(tiny.UNET | {"weights": str(folder)}, tiny.SHAPE, tiny.WIDTH, 0)
    inputs, states, time = torch.randn(2, 8, 8, 8), torch.randn(2, 5, tiny.WIDTH), torch.tensor([3, 9])
    found = unet(inputs, time, encoder_hidden_states=states).sample
    projected = unet.encoder_hid_proj(states)
    assert projected.shape[-1] == config["cross_attention_dim"]
    expected = known(inputs[:, : config["in_channels"]], time, encoder_hidden_states=projected).sample
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("config", [published.UNET, published.INSTRUCT_PIX2PIX])
def test_what_a_model_is_for_comes_from_latents_and_texts_and_is_saved(tmp_path: Path, config: dict[str, Any]) -> None:
    folder = published.unet(tmp_path / "unet", config)
    unet = model.build(tiny.UNET | {"weights": str(folder)}, tiny.SHAPE, tiny.WIDTH, 0)
    unet.save_pretrained(tmp_path / "saved")
    saved = UNet2DConditionModel.from_pretrained(tmp_path / "saved")
    assert (saved.config.sample_size, saved.config.in_channels, saved.config.out_channels) == (8, 8, 4)
    assert (saved.config.encoder_hid_dim, saved.config.encoder_hid_dim_type) == (tiny.WIDTH, "text_proj")
    assert all(torch.equal(value, saved.state_dict()[name]) for name, value in unet.state_dict().items())
    again = model.build(tiny.UNET | {"weights": str(tmp_path / "saved")}, tiny.SHAPE, tiny.WIDTH, 1)
    assert torch.equal(again.encoder_hid_proj.weight, unet.encoder_hid_proj.weight)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"in_channels": 9}, "from 9 to 4 channels does not fit latents of 4 channels"),
        ({"out_channels": 8}, "from 4 to 8 channels does not fit latents of 4 channels"),
        ({"encoder_hid_dim": 12}, "for text states of width 12, but the texts have 16"),
        ({"num_class_embeds": 10}, "needs other conditions"),
        (
            {
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 64,
            },
            "needs other conditions",
        ),
        ({"encoder_hid_dim": 16, "encoder_hid_dim_type": "image_proj"}, "needs other conditions"),
    ],
)
def test_a_published_unet_for_something_else_is_named_in_one_line(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    published.unet(tmp_path, published.UNET | change)
    with pytest.raises(UserError, match=f"^{tmp_path}: a UNet .*{said}") as refused:
        model.build(tiny.UNET | {"weights": str(tmp_path)}, tiny.SHAPE, tiny.WIDTH, 0)
    assert "\n" not in str(refused.value)


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
    published.unet(tmp_path)
    with pytest.raises(UserError, match="does not fit latents of 16 channels"):
        model.build(tiny.UNET | {"weights": str(tmp_path)}, (16, 8, 8), tiny.WIDTH, 0)
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be read"):
        model.build(tiny.UNET | {"weights": str(tmp_path)}, tiny.SHAPE, tiny.WIDTH, 0)
