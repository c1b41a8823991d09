"""The segmenter: the published one reads its own file, and a small one learns where the organs lie."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchxrayvision as xrv
import yaml
from scipy import ndimage
from torch import nn

from biomedjourney import measures
from biomedjourney.errors import UserError
from biomedjourney.measures import ORGANS
from biomedjourney.pretrain import load_segmenter, segmenter
from tests.helpers import REPOSITORY, published

SETTINGS: dict[str, Any] = {"steps": 3, "batch_size": 4, "learning_rate": 4e-3}
TARGETS = xrv.baseline_models.chestx_det.PSPNet.targets


def marked(count: int, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Pictures, uint8, with a dark and a bright square in places that vary, and the squares as masks of the organs."""
    rng = np.random.default_rng(0)
    masks = np.zeros((count, len(ORGANS), side, side), np.float32)
    for mask in masks:
        row, column = rng.integers(2, side // 2 - 2, 2)
        mask[0, row : row + 14, column : column + 6] = 1
        mask[1, row : row + 14, column + 8 : column + 14] = 1
    grey = 130 + rng.integers(-15, 15, (count, side, side)) - 80 * masks[:, 0] + 80 * masks[:, 1]
    return grey.astype(np.uint8), masks


class Bands(nn.Module):
    """Marks with each channel one twentieth of the grey scale, in the place of the published network."""

    def __init__(self, channels: int = len(TARGETS)) -> None:
        super().__init__()
        self.centres = nn.Parameter((torch.arange(channels) + 0.5) / 20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1:] == (3, 512, 512), "as torchxrayvision gives its own network: three channels of its side"
        grey = x[:, :1] * 0.229 + 0.485  # undoes the normalisation of the first channel
        return 1 / 40 - (grey - self.centres[None, :, None, None]).abs()


@pytest.fixture
def small_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Published weights of `Bands`, which torchxrayvision now builds in place of its network."""
    monkeypatch.setattr(xrv.baseline_models.chestx_det, "pspnet", Bands)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(xrv.utils, "download", lambda *_: pytest.fail("a download was tried"))
    return published.segmenter(tmp_path / "given", Bands())


@pytest.fixture(scope="module")
def whole_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = published.segmenter(tmp_path_factory.mktemp("published"))
    yield path
    path.unlink()


def test_published_weights_are_copied_and_mark_lungs_and_heart(small_network: Path, tmp_path: Path) -> None:
    segmenter.copy_published(small_network, tmp_path / "segmenter")
    small_network.unlink()
    pictures = np.full((2, 64, 64), 0.97, np.float32)
    place = {name: (TARGETS.index(name) + 0.5) / 20 for name in TARGETS}
    pictures[0, 8:24, 8:24] = place["Left Lung"]
    pictures[0, 8:24, 40:56] = place["Right Lung"]
    pictures[1, 32:56, 16:48] = place["Heart"]
    pictures[1, :16, :16] = place["Spine"]
    found = load_segmenter(tmp_path / "segmenter").organs(pictures)
    assert set(found) == set(ORGANS)
    expected = {"lung": np.zeros_like(pictures, bool), "heart": np.zeros_like(pictures, bool)}
    expected["lung"][0, 8:24, 8:24] = expected["lung"][0, 8:24, 40:56] = True
    expected["heart"][1, 32:56, 16:48] = True
    flat = ndimage.maximum_filter(pictures, (1, 5, 5)) == ndimage.minimum_filter(pictures, (1, 5, 5))
    for organ, mask in expected.items():
        assert found[organ].dtype == bool
        np.testing.assert_array_equal(found[organ][flat], mask[flat])  # edges pass through other grey levels
    assert not (tmp_path / "home").exists()


def test_the_network_that_is_published_opens_and_a_damaged_file_does_not(whole_network: Path, tmp_path: Path) -> None:
    segmenter.check(whole_network)
    damaged = tmp_path / whole_network.name
    weights = torch.load(whole_network, weights_only=True, mmap=True)
    torch.save({name: value for name, value in weights.items() if "pyramid" not in name}, damaged)
    with pytest.raises(UserError, match=r"pspnet.*: the weights cannot be read") as refused:
        segmenter.check(damaged)
    assert "\n" not in str(refused.value)
    damaged.write_bytes(b"half")
    with pytest.raises(UserError, match=r"pspnet.*: the weights cannot be read"):
        segmenter.copy_published(damaged, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    damaged.unlink()


def test_a_file_of_another_name_and_a_missing_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"other.pth: .* of organs with this name: expected .* {published.ORGANS}"):
        segmenter.check(tmp_path / "other.pth")
    with pytest.raises(UserError, match=f"{published.ORGANS}: the weights of the judge of organs are missing"):
        segmenter.check(tmp_path / published.ORGANS)


def test_the_configuration_of_the_paper_names_the_published_file() -> None:
    paper = yaml.safe_load((REPOSITORY / "workflow" / "configs" / "paper.yaml").read_text())
    assert Path(paper["pretrain"]["segmenter"]["weights"]).name == published.ORGANS


def test_training_repeats_itself() -> None:
    pictures, masks = marked(8)
    one, two, other = (segmenter.train(pictures, masks, SETTINGS, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_where_an_organ_lies_can_be_learned_and_is_kept(tmp_path: Path) -> None:
    pictures, masks = marked(60)
    model = segmenter.train(pictures[:48], masks[:48], SETTINGS | {"steps": 100, "batch_size": 16}, 0)
    segmenter.save(tmp_path, model, {"size": 32})
    found = load_segmenter(tmp_path).organs(pictures[48:] / np.float32(255))
    for i, organ in enumerate(ORGANS):
        assert measures.dice(found[organ], masks[48:, i] > 0.5).mean() > 0.8, organ
    larger = np.kron(pictures[48:] / np.float32(255), np.ones((2, 2), np.float32))
    found_larger = load_segmenter(tmp_path).organs(larger)
    for organ in ORGANS:
        assert found_larger[organ].shape == larger.shape
        assert measures.dice(found_larger[organ], np.kron(found[organ], np.ones((2, 2), bool))).mean() > 0.9


def test_a_folder_without_a_segmenter_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path}: no segmenter .*: run pretrain segmenter"):
        load_segmenter(tmp_path)
    segmenter.save(tmp_path, segmenter.SmallUNet(), {"size": 32})
    (tmp_path / "weights.pt").write_bytes(b"half")
    with pytest.raises(UserError, match=r"weights.pt: the weights cannot be read"):
        load_segmenter(tmp_path)
