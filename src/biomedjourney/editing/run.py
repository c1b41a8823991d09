"""One film and one text to counterfactuals, their files and what to beware of."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney.editing import cautions as language
from biomedjourney.editing import draw, edits, marks, write
from biomedjourney.editing import film as films
from biomedjourney.errors import UserError

JUDGES = "judges"  # the folder beside the model's where the workflow has them


@dataclass(frozen=True)
class Result:
    """The counterfactuals of one film and text, the file of each where one was asked for, the sheet, the cautions."""

    film: films.Film
    facts: dict[str, Any]
    edited: list[edits.Edited]
    files: list[Path | None]
    sheet: Path | None
    cautions: list[str]


def run(
    image: Any,
    text: str,
    folder: Path,
    settings: edits.Settings,
    out: Path | None = None,
    difference: Path | None = None,
) -> Result:
    """Draws counterfactuals, and writes them and their differences where a file is given.

    ``image``: as in `biomedjourney.edit`. ``folder``: of the model. Raises UserError, before anything is drawn, where a
    file cannot be written as it is asked for.
    """
    text = edits.clean(text)
    facts = draw.described(folder)
    outs, differences = (_numbered(file, len(settings.seeds)) for file in (out, difference))
    sheet = out.with_name(f"{out.stem}-sheet.png") if out and len(outs) > 1 else None
    _check_files(Path(image) if isinstance(image, str | Path) else None, [*outs, *differences, sheet])
    if difference:
        write.check_difference(difference)
    film = films.read(image, facts["size"])
    if out:
        write.check_out(out, film, settings.raw)
    model = draw.load(folder)
    cautions = _cautions(film, text, model, settings.judges)
    edited, prior = [], _shown(film, None, settings.raw)
    for one, file, difference_file in zip(edits.edited(film, text, model, settings), outs, differences, strict=True):
        edited.append(one)
        mark = marks.mark(facts, text, one, settings)
        if file and settings.raw:
            write.square(file, one.pixels, mark)
        elif file:
            write.picture(file, film, one.pixels, mark, settings.word)
        if difference_file:
            write.difference(difference_file, prior, one.change, mark)
    if sheet:
        pictures = [_shown(film, one.pixels, settings.raw) for one in edited]
        write.sheet(sheet, [prior, *pictures], marks.mark(facts, text, edited[0], settings))
    if not settings.raw and not any(one.share for one in edited):
        cautions.append("nothing that the model drew is above its noise floor on this film, which came back as it is")
    return Result(film, facts, edited, outs, sheet, cautions)


def _shown(film: films.Film, pixels: np.ndarray | None, raw: bool) -> np.ndarray:
    """A counterfactual, or with None the prior, as a viewer shows it, in [0, 1]."""
    if raw:
        return film.canonical.picture if pixels is None else pixels
    return film.preview(film.pixels if pixels is None else pixels)


def _numbered(file: Path | None, count: int) -> list[Path | None]:
    """One file per picture: the given one, or for several pictures NAME-1.png, NAME-2.png and so on."""
    if file is None or count == 1:
        return [file] * count
    return [file.with_name(f"{file.stem}-{number}{file.suffix}") for number in range(1, count + 1)]


def _check_files(prior: Path | None, targets: list[Path | None]) -> None:
    wanted = [target for target in targets if target is not None]
    for target in wanted:
        if wanted.count(target) > 1:
            raise UserError(f"{target}: two pictures would be written to it: give another file as --difference")
        if prior is not None and prior.exists() and target.exists() and target.samefile(prior):
            raise UserError(f"{target}: is the prior itself, which would be lost: give another file as --out")


def _cautions(film: films.Film, text: str, model: draw.Model, judges: Path | None) -> list[str]:
    source = judges or judges_beside(model.folder)

    def reading() -> dict[str, float]:
        assert source is not None
        return readings(film.canonical.picture, source)

    return language.cautions(text, model.knows_phantom_alone, reading if source else None)


def judges_beside(model: Path) -> Path | None:
    """The folder of the judges beside a model's, where there is one."""
    beside = model.absolute().parent / JUDGES
    return beside if beside.is_dir() else None


def readings(picture: np.ndarray, folder: Path) -> dict[str, float]:
    """The probability of each finding in a canonical picture, by the pathology judge of a folder."""
    judges = _judges(folder)
    return dict(zip(judges.labels, judges.pathology(picture[None])[0].tolist(), strict=True))


@lru_cache(maxsize=1)
def _judges(folder: Path) -> Any:
    from biomedjourney.pretrain import load_judges

    return load_judges(folder)
