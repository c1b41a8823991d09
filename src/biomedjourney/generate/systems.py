"""What is compared: each kind of system is one small class that yields pictures for pairs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from biomedjourney import pixels, progress, tables
from biomedjourney.errors import UserError

if TYPE_CHECKING:
    from biomedjourney.generate.model import Model
    from biomedjourney.train.data import Conditions

Rows = list[dict[str, Any]]

BATCH = 256


class System(Protocol):
    """Draws the pairs that it was made for."""

    def pictures(self, seed: int) -> Iterator[Rows]:
        """Batches of rows of the table `generated` without ``seed``: pair_id and png."""
        ...


@dataclass(frozen=True)
class Diffusion:
    """A trained model on the ``conditions`` of the pairs ``pair_ids``, place by place."""

    model: "Model"
    conditions: "Conditions"
    pair_ids: list[str]
    text_scale: float
    image_scale: float
    steps: int
    batch_size: int

    def pictures(self, seed: int) -> Iterator[Rows]:
        title = f"draw, text {self.text_scale:g}, image {self.image_scale:g}"
        with progress.bar(len(self.pair_ids), title, unit="picture") as shown:
            for first in range(0, len(self.pair_ids), self.batch_size):
                places = list(range(first, min(first + self.batch_size, len(self.pair_ids))))
                names = self.pair_ids[first : first + self.batch_size]
                drawn = self.model.draw(
                    names,
                    seed,
                    self.conditions.priors(places),
                    self.conditions.states(places),
                    self.text_scale,
                    self.image_scale,
                    self.steps,
                )
                pairs = zip(names, drawn, strict=True)
                yield [{"pair_id": name, "png": pixels.encode_png(picture)} for name, picture in pairs]
                shown.update(len(names))


@dataclass(frozen=True)
class Stored:
    """A picture that exists already: ``pair_of`` maps its id in the tables ``files`` to the pair that it answers."""

    files: tuple[Path, ...]
    table: str
    key: str
    pair_of: dict[str, str]

    def pictures(self, seed: int) -> Iterator[Rows]:
        rows: Rows = []
        found = 0
        for file in progress.track(self.files, f"copy from {self.table}", unit="file"):
            for row in tables.read_stream(file, self.table, [self.key, "png"], rows=BATCH):
                if row[self.key] not in self.pair_of:
                    continue
                if row["png"] is None:
                    raise UserError(f"{file}: {self.key} {row[self.key]} of a test pair has no picture: run register")
                rows.append({"pair_id": self.pair_of[row[self.key]], "png": row["png"]})
                if len(rows) == BATCH:
                    found += len(rows)
                    yield rows
                    rows = []
        yield rows
        absent = len(self.pair_of) - found - len(rows)
        if absent:
            raise UserError(
                f"{', '.join(map(str, self.files))}: {absent} of {len(self.pair_of)} pictures are missing: "
                f"give every shard of the table {self.table}"
            )


def prior_pictures(pairs: pd.DataFrame, registered: tuple[Path, ...]) -> Stored:
    """The copy of the registered prior."""
    return Stored(registered, "registered", "pair_id", dict(zip(pairs["pair_id"], pairs["pair_id"], strict=True)))


def current_pictures(pairs: pd.DataFrame, pixel_files: tuple[Path, ...]) -> Stored:
    """The real follow-up."""
    return Stored(pixel_files, "pixels", "dicom_id", dict(zip(pairs["dicom_id"], pairs["pair_id"], strict=True)))
