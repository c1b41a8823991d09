"""From one film and one text to one picture, with a model in a folder of its own."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney.encode.latents import posterior
from biomedjourney.errors import UserError
from biomedjourney.examples import pad
from biomedjourney.generate import model as models
from biomedjourney.preprocess import canonical, load
from biomedjourney.pretrain import load_text_tower


def counterfactual(
    image: Any,
    text: str,
    folder: Path,
    seed: int,
    text_scale: float | None,
    image_scale: float | None,
    steps: int | None,
) -> np.ndarray:
    """As `biomedjourney.edit`, with every argument given."""
    text = " ".join(text.replace("___", " ").split())
    if not text:
        raise UserError('the text is empty: describe what changes, as "new small left pleural effusion"')
    model_facts = description(folder)
    prior = _picture(image, model_facts["size"])
    model, tower = _parts(folder, model_facts["max_tokens"], (folder / "model.json").stat().st_mtime_ns)
    pictures = model.draw(
        ["edit"],
        seed,
        posterior(model.first_stage, prior[None]).mean.cpu().numpy() if model.knows_prior else None,
        pad(tower.states([text]), model_facts["max_tokens"]),
        model_facts["text_scale"] if text_scale is None else text_scale,
        model_facts["image_scale"] if image_scale is None else image_scale,
        model_facts["steps"] if steps is None else steps,
    )
    result: np.ndarray = pictures[0]
    return result


def description(folder: Path) -> dict[str, Any]:
    """The folder's model.json. Raises UserError where there is none."""
    try:
        model_facts: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        model_facts["size"]
    except (OSError, ValueError, LookupError, TypeError):
        raise UserError(
            f"{folder}: no model here (model.json cannot be read): run the workflow first, or give --model the folder "
            "that generate export wrote"
        ) from None
    if (folder / "first_stage").is_dir() and not (folder / "vae").exists():
        raise UserError(f"{folder}: exported by an earlier version of this program: run generate export again")
    return model_facts


@lru_cache(maxsize=1)
def _parts(folder: Path, max_tokens: int, written: int) -> tuple[models.Model, Any]:
    """The model and its text tower, kept for the next picture. ``written`` tells when the folder was written."""
    return models.load(folder, folder / "vae"), load_text_tower(folder / "text_tower", max_tokens)


def _picture(image: Any, size: int) -> np.ndarray:
    if isinstance(image, str | Path):
        return load(image, size).picture
    return canonical(image, size).picture
