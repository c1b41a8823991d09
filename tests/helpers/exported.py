"""An exported model of a few training steps with an untrained text tower, untrained judges, and a film."""

from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from biomedjourney.cli import commands
from biomedjourney.tables import RACES
from tests.helpers import tiny
from tests.helpers.fabricated import config_text


def write(folder: Path) -> Path:
    """Trains in the folder, and returns the folder of the exported model."""
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


def judge(folder: Path, kind: str, names: list[str]) -> Any:
    """An untrained judge, as `pretrain judges` writes it."""
    import torch

    from biomedjourney.pretrain import judges

    torch.manual_seed(len(names))
    model = judges.network(len(names)).eval()
    facts = {"architecture": judges.ARCHITECTURE, "names": names, "outputs": len(names), "size": 32, "mean_age": 60.0}
    judges.save(folder, kind, model, facts)
    return model


def judges(folder: Path, findings: list[str]) -> dict[str, Any]:
    """Untrained judges of every kind."""
    folder.mkdir(exist_ok=True)
    return {
        kind: judge(folder, kind, names)
        for kind, names in (("pathology", findings), ("race", list(RACES)), ("age", ["age"]))
    }


def film() -> np.ndarray:
    """Two dark lungs in 12 bits, (90, 80)."""
    y, x = np.mgrid[0:90, 0:80]
    lungs = np.exp(-(((x - 25) / 10) ** 2) - ((y - 45) / 25) ** 2) + np.exp(
        -(((x - 55) / 10) ** 2) - ((y - 45) / 25) ** 2
    )
    return (3000 * (1 - 0.8 * lungs) + np.random.default_rng(0).normal(0, 30, x.shape)).clip(0).astype(np.uint16)
