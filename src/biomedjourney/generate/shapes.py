"""Drawn shapes with captions, and drawn edits of them: what a stand-in for somebody else's weights learns from.

They have nothing to do with chest X-rays, as the pictures of the web have little to do with them.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from biomedjourney.sampling import keyed

FORMS = ("circle", "square", "triangle")
SIZES = {"small": 0.1, "large": 0.2}  # half of the side, as a share of the picture's
GREYS = {"dark": 0.35, "grey": 0.6, "bright": 0.95}
PLACES = {"at the top left": (0.28, 0.28), "at the top right": (0.72, 0.28)}
PLACES |= {"at the bottom left": (0.28, 0.72), "at the bottom right": (0.72, 0.72)}
SCALE = 4  # a picture is drawn so much larger and reduced, which smooths the edges


@dataclass(frozen=True)
class Shape:
    form: str
    size: str
    grey: str
    place: str

    def __str__(self) -> str:
        return f"a {self.size} {self.grey} {self.form} {self.place}"


@dataclass(frozen=True)
class Example:
    """Two pictures, uint8 (side, side), a caption of the later one and the edit that leads to it from the other one."""

    before: np.ndarray
    after: np.ndarray
    caption: str
    edit: str


def words() -> list[str]:
    """Every word of the captions and edits, sorted."""
    texts = [*FORMS, *SIZES, *GREYS, *PLACES, "a and add remove make smaller larger darker brighter no change"]
    return sorted({word for text in texts for word in text.split()})


def example(seed: int, place: int, side: int) -> Example:
    """The example at a place in an endless list; seed and place alone decide it."""
    rng = keyed("shapes", seed, place)

    def shape(where: str) -> Shape:
        form, size, grey = (str(rng.choice(list(names))) for names in (FORMS, SIZES, GREYS))
        return Shape(form, size, grey, where)

    first_place, second_place = rng.permutation(list(PLACES))[:2]
    first, second = shape(str(first_place)), shape(str(second_place))
    kind = rng.choice(["add", "remove", "size", "grey", "nothing"])
    before, after, edit = [first], [first], "no change"
    if kind == "add":
        after, edit = [first, second], f"add {second}"
    elif kind == "remove":
        before, edit = [first, second], f"remove the {second.form} {second.place}"
    elif kind == "size":
        larger = first.size == "small"
        after = [Shape(first.form, "large" if larger else "small", first.grey, first.place)]
        edit = f"make the {first.form} {'larger' if larger else 'smaller'}"
    elif kind == "grey":
        brighter = first.grey != "bright"
        after = [Shape(first.form, first.size, "bright" if brighter else "dark", first.place)]
        edit = f"make the {first.form} {'brighter' if brighter else 'darker'}"
    return Example(_draw(before, side), _draw(after, side), " and ".join(map(str, after)), edit)


def _draw(shapes: list[Shape], side: int) -> np.ndarray:
    large = side * SCALE
    image = Image.new("L", (large, large), 20)
    draw = ImageDraw.Draw(image)
    for shape in shapes:
        x, y = (large * share for share in PLACES[shape.place])
        half, fill = large * SIZES[shape.size], round(255 * GREYS[shape.grey])
        if shape.form == "circle":
            draw.ellipse((x - half, y - half, x + half, y + half), fill=fill)
        elif shape.form == "square":
            draw.rectangle((x - half, y - half, x + half, y + half), fill=fill)
        else:
            draw.polygon([(x, y - half), (x - half, y + half), (x + half, y + half)], fill=fill)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))
