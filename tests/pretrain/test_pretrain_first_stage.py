import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biomedjourney import pixels
from biomedjourney.errors import UserError
from biomedjourney.pretrain import first_stage, load_first_stage
from tests.helpers import published, tiny

SETTINGS: dict[str, Any] = {"steps": 60, "batch_size": 8, "learning_rate": 2e-3}


def structured(count: int, seed: int = 0, side: int = 32) -> np.ndarray:
    """Random ellipses and gratings, uint8 (count, side, side): more in a patch than four components can hold."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    drawn_pictures = []
    for _ in range(count):
        cx, cy, a, b = rng.uniform(0.2, 0.8, 4)
        inside = ((x - cx) / (0.1 + 0.3 * a)) ** 2 + ((y - cy) / (0.1 + 0.3 * b)) ** 2 < 1
        waves = np.sin(2 * np.pi * (rng.uniform(2, 8) * x + rng.uniform(2, 8) * y))
        drawn_pictures.append(np.clip(0.3 + 0.4 * inside + 0.15 * waves, 0, 1))
    return np.rint(np.stack(drawn_pictures) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def trained() -> first_stage.PatchAutoencoder:
    return first_stage.train(structured(64), SETTINGS, seed=0)


def tensor(pictures: np.ndarray) -> torch.Tensor:
    return pixels.to_first_stage(torch.from_numpy(pictures)[:, None].float() / 255)


def test_training_adds_to_what_principal_components_keep(trained: first_stage.PatchAutoencoder) -> None:
    alone = first_stage.PatchAutoencoder()
    alone.start_from_pca(tensor(structured(64)))
    held_out = structured(32, seed=1)
    assert first_stage.psnr(trained, held_out) > first_stage.psnr(alone, held_out) > 10


def test_components_alone_are_the_best_linear_reconstruction() -> None:
    x = tensor(structured(16))
    model = first_stage.PatchAutoencoder()
    model.start_from_pca(x)
    patches = model.unshuffle(x).permute(0, 2, 3, 1).flatten(0, 2).numpy().astype(np.float64)
    other_singular_values = np.linalg.svd(patches - patches.mean(axis=0), compute_uv=False)[4:]
    squared_error = (model.decode(model.encode(x).latent_dist.mean).sample - x).square().sum().item()
    assert squared_error == pytest.approx((other_singular_values**2).sum(), rel=1e-3)


def test_latents_of_the_training_pictures_are_standardised(trained: first_stage.PatchAutoencoder) -> None:
    with torch.no_grad():
        latents = trained.encode(tensor(structured(64))).latent_dist.mean
    assert latents.shape == (64, 4, 8, 8)
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)
    assert trained.config.scaling_factor == 1.0


def test_the_same_seed_gives_the_same_weights(trained: first_stage.PatchAutoencoder) -> None:
    again = first_stage.train(structured(64), SETTINGS, seed=0).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in trained.state_dict().items())


def test_a_saved_model_comes_back_frozen_and_the_same(trained: first_stage.PatchAutoencoder, tmp_path: Path) -> None:
    trained.save_pretrained(tmp_path / "m")
    loaded = load_first_stage(tmp_path / "m")
    x = tensor(structured(4, seed=2))
    before, after = trained.encode(x).latent_dist, loaded.encode(x).latent_dist
    assert torch.equal(before.mean, after.mean)
    assert torch.equal(before.std, after.std)
    assert torch.equal(trained.decode(before.mean).sample, loaded.decode(before.mean).sample)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not loaded.training


def test_a_published_autoencoder_is_copied_and_loads(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    weights = tiny.first_stage(tmp_path / "vae")
    first_stage.copy_published(weights, tmp_path / "out")
    loaded, x = load_first_stage(tmp_path / "out"), torch.rand(2, 3, 16, 16)
    assert isinstance(loaded, AutoencoderKL)
    assert loaded.config.scaling_factor == 0.5
    expected = AutoencoderKL.from_pretrained(weights).encode(x).latent_dist.mean
    torch.testing.assert_close(loaded.encode(x).latent_dist.mean, expected)  # a frozen model takes another kernel


@pytest.mark.parametrize("files", [("safetensors", "bin"), ("bin",), ("fp16.safetensors",), ("fp16.bin",)])
def test_the_old_names_of_the_attention_are_read_from_every_file(tmp_path: Path, files: tuple[str, ...]) -> None:
    from safetensors.torch import load_file

    plain = load_file(published.vae(tmp_path / "plain") / "diffusion_pytorch_model.safetensors")
    first_stage.copy_published(published.vae(tmp_path / "vae", files), tmp_path / "out")
    loaded = load_first_stage(tmp_path / "out")
    weights = loaded.state_dict()
    for part in ("encoder", "decoder"):
        for name, old_name in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            place = f"{part}.mid_block.attentions.0"
            expected = plain[f"{place}.{old_name}.weight"]
            expected = expected.half().float() if "fp16" in files[0] else expected
            assert torch.equal(weights[f"{place}.{name}.weight"], expected)
    assert loaded.config.scaling_factor == 0.18215


def test_another_class_is_refused(tmp_path: Path) -> None:
    from diffusers import VQModel

    VQModel(block_out_channels=(32,)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="VQModel is not a first stage: give a folder with AutoencoderKL"):
        load_first_stage(tmp_path)


def test_a_missing_or_damaged_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.config.json: not a first stage"):
        load_first_stage(tmp_path / "nowhere")
    weights = tiny.first_stage(tmp_path / "vae")
    (weights / "diffusion_pytorch_model.safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match="vae: the first stage cannot be read"):
        load_first_stage(weights)
    (weights / "diffusion_pytorch_model.safetensors").unlink()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("")
    with pytest.raises(UserError, match="vae: the first stage cannot be read"):
        first_stage.copy_published(weights, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["kept"]
    (weights / "config.json").write_text(json.dumps([1]))
    with pytest.raises(UserError, match="not a first stage"):
        load_first_stage(weights)
