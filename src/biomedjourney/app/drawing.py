"""One counterfactual with all that the page shows of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biomedjourney.editing import draw, edits, marks, run, write
from biomedjourney.editing import film as films
from biomedjourney.preprocess import canonical, files

SCREEN_ROWS = 1024  # pixels, the height of a picture on the page


@dataclass(frozen=True)
class Shown:
    """A counterfactual on the page.

    ``picture`` and ``difference``: PNG files for the screen. ``file``: the counterfactual at the film's own size, to
    keep. ``before`` and ``after``: the probability of each finding in the film and in the counterfactual, by the
    pathology judge; empty where there is no judge. ``note``: how much changed.
    """

    picture: Path
    difference: Path
    file: Path
    before: dict[str, float]
    after: dict[str, float]
    note: str


@dataclass(frozen=True)
class Studio:
    """A model and, where there are any, its judges."""

    model: Path
    judges: Path | None

    def load(self) -> draw.Model:
        """Loads both, so that the first picture does not wait for them. Raises UserError where they cannot be read."""
        model = draw.load(self.model)
        edits.check_sees_prior(model)
        if self.judges:
            run.readings(np.zeros((model.facts["size"],) * 2, dtype=np.float32), self.judges)
        return model

    def film_on_screen(self, path: Path, out: Path) -> None:
        """Writes the film as a PNG for the screen. Raises UserError for a file that is no film."""
        film = films.read(path, draw.described(self.model)["size"])
        write.sheet(out, [film.preview(film.pixels)], None, SCREEN_ROWS)

    def counterfactual(
        self, path: Path, text: str, seed: int, text_scale: float, image_scale: float, folder: Path
    ) -> tuple[Shown, list[str]]:
        """Draws one, writes its files into the folder, and returns it with the cautions. Errors as in `editing.run`."""
        settings = edits.Settings(range(seed, seed + 1), text_scale, image_scale, judges=self.judges)
        ending = ".dcm" if files.is_dicom(path) else ".png"
        out, difference = folder / f"counterfactual-{seed}{ending}", folder / f"difference-{seed}.png"
        result = run.run(path, text, self.model, settings, out, difference)
        film, edited = result.film, result.edited[0]
        picture = folder / f"screen-{seed}.png"
        mark = marks.mark(result.facts, text, edited, settings)
        write.sheet(picture, [film.preview(marks.with_word(film, edited.pixels))], mark, SCREEN_ROWS)
        before, after = (self._reading(film, pixels) for pixels in (film.pixels, edited.pixels))
        note = f"seed {seed}: {edited.share:.0%} of the film changed"
        return Shown(picture, difference, out, before, after, note), result.cautions

    def _reading(self, film: films.Film, pixels: np.ndarray) -> dict[str, float]:
        """Both films are read as a viewer shows them, so that equal pixels have equal readings."""
        if self.judges is None:
            return {}
        size = draw.described(self.model)["size"]
        return run.readings(canonical(film.preview(pixels), size).picture, self.judges)
