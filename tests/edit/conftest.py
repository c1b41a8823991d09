"""An exported model of a few training steps with an untrained text tower, and a film."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from biomedjourney.cli import commands
from biomedjourney.editing import draw, noise
from tests.helpers import tiny
from tests.helpers.fabricated import config_text


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edit")
    paths = tiny.write(folder)
    common = ["--config", config_text(**tiny.OVERLAY)]
    inputs = ("triples", "prior_latents", "latents", "texts")
    outputs = ["--checkpoints", str(folder / "checkpoints"), "--training", str(folder / "training.parquet")]
    words = ["train", *common, "--run", "alone", *tiny.flags(paths, *inputs), *outputs, "--out", str(folder / "alone")]
    CliRunner().invoke(commands, words, catch_exceptions=False)
    tower = tiny.text_tower(folder / "tower")
    words = ["generate", "export", *common, "--system", "biomedjourney", "--model", str(folder / "alone")]
    words += [*tiny.flags(paths, "first_stage"), "--text-tower", str(tower), "--out", str(folder / "model")]
    CliRunner().invoke(commands, words, catch_exceptions=False)
    return folder / "model"


@pytest.fixture(scope="session")
def film() -> np.ndarray:
    y, x = np.mgrid[0:90, 0:80]
    lungs = np.exp(-(((x - 25) / 10) ** 2) - ((y - 45) / 25) ** 2) + np.exp(
        -(((x - 55) / 10) ** 2) - ((y - 45) / 25) ** 2
    )
    return (3000 * (1 - 0.8 * lungs) + np.random.default_rng(0).normal(0, 30, x.shape)).clip(0).astype(np.uint16)


@pytest.fixture
def visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text changes the whole picture, by waves that the seed moves: the untrained model hardly heeds texts."""
    as_it_is = draw.Model.draw

    def drawn(self: draw.Model, prior: np.ndarray, texts: list[str], seed: int, *how: Any) -> np.ndarray:
        y, x = np.mgrid[: len(prior), : len(prior)] / len(prior)
        pictures = as_it_is(self, prior, texts, seed, *how)
        pictures[0] += 0.2 * np.sin(5 * x + 3 * y + 2 * seed).astype(np.float32)
        return pictures

    monkeypatch.setattr(draw.Model, "draw", drawn)
    monkeypatch.setattr(noise, "floor", lambda unchanged: np.full(unchanged.shape, 0.02, np.float32))
