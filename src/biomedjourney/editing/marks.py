"""What says that a picture is synthetic: a text for its metadata, and a word in its corner."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from biomedjourney import __version__
from biomedjourney.editing.edits import Edited, Settings
from biomedjourney.editing.film import Film

WORD = "SYNTHETIC"
HEIGHT = 40  # a letter is so many times smaller than the film is high
LEAST_HEIGHT = 9  # pixels of a letter


@dataclass(frozen=True)
class Mark:
    """How a synthetic picture came about. ``model``: the system and the hash of its configuration."""

    model: str
    text: str
    seed: int
    details: dict[str, Any]

    @property
    def sentence(self) -> str:
        return (
            f"Synthetic picture, not for clinical use: drawn by the model {self.model} (biomedjourney {__version__}) "
            f'from a film and the text "{self.text}", seed {self.seed}.'
        )

    @property
    def record(self) -> str:
        """The same and how it was drawn, as a JSON object in one line."""
        facts = {"synthetic": True, "biomedjourney": __version__, "model": self.model, "text": self.text}
        return json.dumps(facts | {"seed": self.seed} | self.details)


def mark(facts: dict[str, Any], text: str, edited: Edited, settings: Settings) -> Mark:
    """The mark of a picture. ``facts``: the model's model.json."""
    scales = {name: getattr(settings, name) for name in ("text_scale", "image_scale", "steps")}
    details = {name: facts.get(name) if value is None else value for name, value in scales.items()}
    if edited.floor is not None:
        details["noise_floor"] = round(edited.floor, 4)
    name = " ".join(str(facts[key]) for key in ("system", "configuration") if facts.get(key))
    return Mark(name or "without a name", text, edited.seed, details)


def with_word(film: Film, pixels: np.ndarray) -> np.ndarray:
    """The film's pixels with the word in the lower right corner: as bright as the film's brightest, on its darkest."""
    letters = _letters(max(LEAST_HEIGHT, pixels.shape[0] // HEIGHT))
    rows, columns = (min(a, b) for a, b in zip(letters.shape, pixels.shape[:2], strict=True))
    dark, bright = _extremes(film)
    result = pixels.copy()
    corner = result[-rows:, -columns:]
    written = letters[:rows, :columns]
    if corner.ndim == 3 and corner.shape[2] in (2, 4):  # an alpha channel stays
        corner = corner[..., :-1]
    corner[...] = dark
    corner[written] = bright
    return result


def _extremes(film: Film) -> tuple[Any, Any]:
    """The stored values that a viewer shows darkest and brightest, of those that the film has."""
    if film.window is not None:
        stored, grey = film.window
        return stored[np.argmin(grey)], stored[np.argmax(grey)]
    low, high = film.tones.stored[[0, -1]].astype(film.pixels.dtype)
    return low, high


def _letters(height: int) -> np.ndarray:
    """The word as bool (rows, columns), with a margin."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(height)
    left, top, right, bottom = font.getbbox(WORD)
    margin = max(1, height // 6)
    size = round(right - left) + 2 * margin, round(bottom - top) + 2 * margin
    image = Image.new("1", size)
    ImageDraw.Draw(image).text((margin - left, margin - top), WORD, fill=1, font=font)
    return np.asarray(image)
