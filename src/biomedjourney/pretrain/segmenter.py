"""The segmenter of lungs and heart: torchxrayvision's published one, or a small U-Net trained on masks of organs."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from biomedjourney import pixels, progress, sums
from biomedjourney.errors import UserError
from biomedjourney.measures import ORGANS
from biomedjourney.pretrain import judges
from biomedjourney.pretrain.schedule import one_cycle

KIND = "organs"  # what it judges, as `judges` names it
CHANNELS = (16, 32, 64)  # of the levels of the small U-Net
PUBLISHED_SIDE = 512  # pixels of the published network's pictures
PUBLISHED_BATCH = 8  # pictures that it sees at once: each takes about 0.2 GB
PUBLISHED_TARGETS = {"lung": ("Left Lung", "Right Lung"), "heart": ("Heart",)}


@dataclass(frozen=True)
class Segmenter:
    """Marks the organs on pictures, float32 (n, rows, columns) in [0, 1]."""

    _logits: Callable[[torch.Tensor], torch.Tensor]

    @torch.no_grad()
    def organs(self, pictures: np.ndarray) -> dict[str, np.ndarray]:
        """A mask for each of `measures.ORGANS`, bool of the shape of the pictures: True where it is found."""
        x = torch.from_numpy(pixels.to_torchxrayvision(pictures.astype(np.float32)))[:, None]
        logits = _resized(self._logits(x), x.shape[-2:])
        found = (logits > 0).cpu().numpy()
        return {organ: found[:, i] for i, organ in enumerate(ORGANS)}


class SmallUNet(nn.Module):
    """A U-Net (Ronneberger et al., 2015) with a value per organ and pixel; it works at half of the picture's size.

    The sides of the pictures are multiples of 8 pixels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = _block(1, CHANNELS[0], kernel=5, stride=2)
        self.down = nn.ModuleList(_block(fine, coarse, stride=2) for fine, coarse in pairwise(CHANNELS))
        self.up = nn.ModuleList(_block(fine + coarse, fine) for fine, coarse in pairwise(CHANNELS))
        self.last = nn.Sequential(nn.Conv2d(CHANNELS[0], 4 * len(ORGANS), 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, organs, h, w) of pictures (n, 1, h, w) in [-1024, 1024]."""
        levels = [self.first(x / 1024.0)]
        for down in self.down:
            levels.append(down(levels[-1]))
        features = levels.pop()
        for up in reversed(self.up):
            larger = nn.functional.interpolate(features, scale_factor=2.0, mode="bilinear")
            features = up(torch.cat([levels.pop(), larger], dim=1))
        logits: torch.Tensor = self.last(features)
        return logits


def _block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels, size, step in ((inputs, kernel, stride), (outputs, 3, 1)):
        layers += [nn.Conv2d(channels, outputs, size, step, size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def _resized(x: torch.Tensor, shape: Any) -> torch.Tensor:
    if x.shape[-2:] == shape:
        return x
    return nn.functional.interpolate(x, shape, mode="bilinear", antialias=True)


def train(pictures: np.ndarray, masks: np.ndarray, settings: dict[str, Any], seed: int) -> SmallUNet:
    """A small U-Net trained on uint8 pictures (n, h, w).

    ``masks``: (n, organs, h, w), how much of each pixel lies in each of `measures.ORGANS`, 0 to 1. ``settings`` is the
    section `pretrain.segmenter`.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 4])
    generator = torch.Generator().manual_seed(seed)
    model = SmallUNet().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), settings["learning_rate"], weight_decay=0.01)
    schedule = one_cycle(optimiser, settings, 0.2)
    model.train()
    for _ in progress.track(range(settings["steps"]), "segmenter", unit="step"):
        rows = rng.choice(len(pictures), settings["batch_size"])
        x = torch.from_numpy(pictures[rows])[:, None].float() / 255
        # as one picture of several channels, so that a mask moves with its film
        both = judges.moved(torch.cat([x, torch.from_numpy(masks[rows]).float()], dim=1), generator)
        x, target = judges.recoloured(both[:, :1], generator), both[:, 1:]
        loss = nn.functional.binary_cross_entropy_with_logits(model(pixels.to_torchxrayvision(x)), target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def save(folder: Path, model: SmallUNet, facts: dict[str, Any]) -> None:
    """Writes the weights of a trained segmenter and its facts, of which ``size`` is that of its pictures."""
    torch.save(model.state_dict(), folder / "weights.pt")
    (folder / "segmenter.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def copy_published(weights: Path, out: Path) -> None:
    """Copies the published weights after checking that torchxrayvision opens them. Raises UserError if not."""
    check(weights)
    with sums.model_folder(out) as folder:
        shutil.copy2(weights, folder / weights.name)
        (folder / "segmenter.json").write_text(json.dumps({"published": weights.name}, indent=2), encoding="utf-8")


def check(weights: Path) -> None:
    """Raises UserError where published weights have another name than torchxrayvision's, or do not load."""
    _published(weights)


def load(folder: Path) -> Segmenter:
    """The segmenter of a folder. Raises UserError where there is none or it is damaged."""
    folder = Path(folder)
    sums.verify(folder)
    try:
        facts = json.loads((folder / "segmenter.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: no segmenter ({error}): run pretrain segmenter") from None
    return _published(folder / facts["published"]) if "published" in facts else _trained(folder, facts)


def _trained(folder: Path, facts: dict[str, Any]) -> Segmenter:
    model = SmallUNet()
    with judges._readable(folder / "weights.pt"):
        model.load_state_dict(torch.load(folder / "weights.pt", map_location="cpu", weights_only=True))
    return of_model(model, facts["size"])


def of_model(model: nn.Module, size: int) -> Segmenter:
    """The segmenter of a network whose pictures have ``size`` pixels per side."""
    device = judges._device()
    model.to(device).requires_grad_(False).eval()
    return Segmenter(lambda x: model(_resized(x, (size, size)).to(device)))


def _published(weights: Path) -> Segmenter:
    """torchxrayvision's PSPNet (Lian et al., 2021, on ChestX-Det) from a local file. No downloads."""
    import torchxrayvision as xrv

    judges._check_published(weights, KIND)
    with judges._readable(weights):
        network = xrv.baseline_models.chestx_det.PSPNet(cache_dir=str(weights.parent))
    places = {organ: [network.targets.index(name) for name in names] for organ, names in PUBLISHED_TARGETS.items()}
    whole = of_model(network, PUBLISHED_SIDE)

    def logits(x: torch.Tensor) -> torch.Tensor:
        output = whole._logits(x)
        return torch.stack([output[:, places[organ]].amax(dim=1) for organ in ORGANS], dim=1)

    return Segmenter(lambda x: torch.cat([logits(some) for some in x.split(PUBLISHED_BATCH)]))
