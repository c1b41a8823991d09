"""What the tests of edit share."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biomedjourney.editing import draw, noise
from tests.helpers import exported


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported.write(tmp_path_factory.mktemp("edit"))


@pytest.fixture(scope="session")
def film() -> np.ndarray:
    return exported.film()


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
