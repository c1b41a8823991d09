"""From one film and one text to squares of the model's size, with a model in a folder of its own."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney.errors import UserError
from biomedjourney.rewrite import rules

NO_CHANGE = rules.NO_CHANGE[0]  # the most frequent one of real reports


@dataclass(frozen=True)
class Model:
    """An exported model, ready to draw. ``facts``: its model.json."""

    folder: Path
    facts: dict[str, Any]
    editor: Any  # generate.editor.Editor

    @property
    def knows_phantom_alone(self) -> bool:
        """Whether it learned from the drawn cohort."""
        return self.facts.get("trained", {}).get("settings", {}).get("phantom") is not None

    def draw(
        self,
        prior: np.ndarray,
        texts: list[str],
        seed: int,
        text_scale: float | None,
        image_scale: float | None,
        steps: int | None,
    ) -> np.ndarray:
        """Pictures, float32 (len(texts), size, size) in [0, 1], of one prior (size, size), from the same noise.

        A scale or number of steps that is None is the model's own.
        """
        facts = self.facts
        pictures: np.ndarray = self.editor.draw(
            ["edit"] * len(texts),
            seed,
            np.repeat(prior[None], len(texts), axis=0),
            texts,
            facts["text_scale"] if text_scale is None else text_scale,
            facts["image_scale"] if image_scale is None else image_scale,
            facts["steps"] if steps is None else steps,
        )
        return pictures

    def through_first_stage(self, prior: np.ndarray) -> np.ndarray:
        """The picture (size, size) in [0, 1] as the first stage gives it back: what an unchanged latent decodes to."""
        picture: np.ndarray = self.editor.reconstructed(prior[None])[0]
        return picture


def load(folder: Path) -> Model:
    """The model of a folder that `generate export` wrote, kept for the next picture. Errors as in `described`."""
    facts = described(folder)
    return Model(folder, facts, _editor(folder, facts["max_tokens"], (folder / "model.json").stat().st_mtime_ns))


def described(folder: Path) -> dict[str, Any]:
    """The folder's model.json. Raises UserError where there is none."""
    try:
        facts: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        facts["size"]
    except (OSError, ValueError, LookupError, TypeError):
        raise UserError(
            f"{folder}: no model here (model.json cannot be read): run the workflow first, or give --model the folder "
            "that generate export wrote"
        ) from None
    if (folder / "first_stage").is_dir() and not (folder / "vae").exists():
        raise UserError(f"{folder}: exported by an earlier version of this program: run generate export again")
    return facts


@lru_cache(maxsize=1)
def _editor(folder: Path, max_tokens: int, written: int) -> Any:
    """``written`` tells when the folder was written."""
    from biomedjourney.generate import editor

    return editor.load(folder, folder / "vae", folder / "text_tower", max_tokens)
