"""Films of phantom patients of no cohort, to try the page with."""

from dataclasses import dataclass, replace
from pathlib import Path

from biomedjourney.phantom import anatomy, cohort, draw
from biomedjourney.phantom.state import Findings

SEED = 71  # of no configuration
SIZE = 512  # pixels


@dataclass(frozen=True)
class Example:
    film: Path
    title: str
    text: str


CASES = (
    ("a clear chest", Findings(), "new moderate left pleural effusion"),
    ("right effusion", Findings(pleural_effusion=(0.75, 0.0)), "resolved right pleural effusion"),
    ("a small heart", Findings(), "worsening cardiomegaly, now severe"),
    ("edema, large heart", Findings(edema=0.7, cardiomegaly=0.6), "improved pulmonary edema, now mild"),
)


def write(folder: Path) -> list[Example]:
    """Draws the films as PNG files in the folder."""
    from PIL import Image

    result = []
    for number, (title, findings, text) in enumerate(CASES):
        person = cohort.patient(SEED, cohort.Identity(number, (number,)))
        body = anatomy.sample(cohort.stream(SEED, number, 1), person.sex, person.race)
        study = person.studies[0]
        acquisition = replace(study.films[0].acquisition, inverted=False)
        rng = cohort.stream(SEED, number, 3, 0)
        film = folder / f"phantom-{number + 1}.png"
        Image.fromarray(draw.draw(body, study.age, findings, acquisition, SIZE, rng)).save(film)
        result.append(Example(film, title, text))
    return result
