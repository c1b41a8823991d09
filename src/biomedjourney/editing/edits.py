"""Counterfactuals of one film, at the film's own size or as the model's square."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney.editing import draw, noise
from biomedjourney.editing.film import Film, on_film
from biomedjourney.errors import UserError


@dataclass(frozen=True)
class Settings:
    """How counterfactuals are drawn and written.

    One is drawn per seed. A scale or number of steps that is None is the model's own. ``raw``: the model's own square
    is wanted. ``word``: the files are marked in a corner. ``judges``: the folder of the judges; None for those beside
    the model, where there are any.
    """

    seeds: range = range(1)
    text_scale: float | None = None
    image_scale: float | None = None
    steps: int | None = None
    raw: bool = False
    word: bool = True
    judges: Path | None = None


@dataclass(frozen=True)
class Edited:
    """A counterfactual.

    ``pixels``: in the form of the film's pixels, or float32 (size, size) in [0, 1] where the square is wanted.
    ``change``: of the tones, float32 of the same rows and columns, in shares of the model's range from black to white.
    ``floor``: the median of the noise floor that it lies above; None for a square, whose change is kept whole.
    """

    pixels: np.ndarray
    change: np.ndarray
    seed: int
    floor: float | None

    @property
    def share(self) -> float:
        """Of the pixels, those that changed."""
        return float((self.change != 0.0).mean())


def clean(text: str) -> str:
    """The text without ``___`` and with single spaces."""
    return " ".join(text.replace("___", " ").split())


def check_sees_prior(model: draw.Model) -> None:
    """Raises UserError where the model does not see the prior, so that there is no change to bring back to the film."""
    if not model.editor.model.knows_prior:
        raise UserError(
            f"{model.folder}: a model that draws from the text alone, so its picture is no change of the film: "
            "give another model, or ask for the model's own square (edit --raw)"
        )


def edited(film: Film, text: str, model: draw.Model, settings: Settings) -> Iterator[Edited]:
    """One counterfactual per seed. The same seed gives the same picture, whatever the others are.

    Raises UserError as `check_sees_prior` does, but where the model's own square is wanted.
    """
    if not settings.raw:
        check_sees_prior(model)
    prior = film.canonical.picture
    for seed in settings.seeds:
        yield (_square if settings.raw else _on_film)(film, prior, text, model, seed, settings)


def _square(film: Film, prior: np.ndarray, text: str, model: draw.Model, seed: int, settings: Settings) -> Edited:
    picture = _drawn(prior, [text], model, seed, settings)[0]
    return Edited(picture, picture - prior, seed, None)


def _on_film(film: Film, prior: np.ndarray, text: str, model: draw.Model, seed: int, settings: Settings) -> Edited:
    """The change is what the text adds to a drawing with the same noise that is told of no change.

    Both drawings also differ from the film where the model redraws it, as in pose and exposure, and they do so alike.
    """
    left, top, columns, rows = film.canonical.box
    field = np.s_[top : top + rows, left : left + columns]
    squares = _drawn(prior, [text, draw.NO_CHANGE], model, seed, settings)
    floor = noise.floor((squares[1] - model.through_first_stage(prior))[field])
    kept = np.zeros_like(prior)
    kept[field] = noise.above((squares[0] - squares[1])[field], floor)
    change = on_film(kept, film.canonical, film.pixels.shape[:2])
    return Edited(film.changed(change), change, seed, float(np.median(floor)))


def _drawn(prior: np.ndarray, texts: list[str], model: draw.Model, seed: int, settings: Settings) -> Any:
    return model.draw(prior, texts, seed, settings.text_scale, settings.image_scale, settings.steps)
