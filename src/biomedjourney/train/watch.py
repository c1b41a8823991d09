"""What is seen of a run while it goes on: rows of its course, the loss on validation examples, pictures.

Nothing here changes what is learned. All files lie in the run's folder of checkpoints:

- ``training/*.parquet``: rows of the table `training`, in closed files, one more with every row;
- ``pictures/*.png``: how the model draws validation examples, named by the step;
- ``tensorboard/``: both for TensorBoard, where the configuration asks for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from biomedjourney import pixels, tables
from biomedjourney.train.validation import Validation

Row = dict[str, Any]


class Watch:
    """Writes the files. `logged` takes each row of the table `training`, `validate` the averaged model at intervals."""

    def __init__(
        self,
        folder: Path,
        run: str,
        stage: int,
        rows: list[Row],
        validation: Validation | None,
        tensorboard: bool,
        training_seed: int = 0,
    ) -> None:
        """``rows``: those of the checkpoint from which the run goes on. What was written after it is taken back."""
        self.folder, self.run, self.stage, self.validation = folder, run, stage, validation
        self.training_seed = training_seed
        last_step = rows[-1]["step"] if rows else -1
        for path in folder.glob("training/*.parquet"):
            path.unlink()
        for path in folder.glob("pictures/*.png"):
            if path.stem.isdigit() and int(path.stem) > last_step:
                path.unlink()
        self._write_part(rows)
        self.writer = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(folder / "tensorboard", purge_step=last_step + 1)

    def logged(self, row: Row) -> None:
        """Writes one more part of the table, and the row's figures for TensorBoard."""
        self._write_part([row])
        elsewhere = ("step", "images_seen", "seconds", "validation_loss")
        self._write_scalars(row["step"], {key: value for key, value in row.items() if key not in elsewhere})

    def validate(self, step: int, unet: Any) -> dict[str, Any]:
        """The figures that the next row of the table gets. ``unet`` has the averaged weights, in evaluation mode."""
        if self.validation is None:
            return {}
        with torch.compiler.set_stance("force_eager"):  # a compiled model would be compiled again for other sizes
            figures = {"validation_loss": self.validation.loss(unet)}
            self._write_scalars(step, figures)
            if self.validation.picture_count:
                self._write_pictures(step, self.validation.pictures(unet))
        return figures

    def in_words(self) -> str:
        """Where the files lie and what they show."""
        seen = "no validation: train.validate_every is null, or there are no validation examples"
        if self.validation is not None:
            seen = self.validation.in_words()
        return f"seen while it runs: {self.folder}/training/*.parquet; {seen}" + (
            f"; tensorboard --logdir {self.folder.parent}" if self.writer is not None else ""
        )

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def _write_part(self, rows: list[Row]) -> None:
        if rows:
            path = self.folder / "training" / f"{rows[-1]['step']:08d}.parquet"
            tables.write(path, "training", table(self.run, self.stage, rows, self.training_seed))

    def _write_scalars(self, step: int, figures: dict[str, Any]) -> None:
        with self._events() as writer:
            for name, value in figures.items():
                if writer is not None and value is not None:
                    writer.add_scalar(name, value, step)

    def _write_pictures(self, step: int, grid: np.ndarray) -> None:
        with tables.atomic_path(self.folder / "pictures" / f"{step:08d}.png") as temporary:
            temporary.write_bytes(pixels.encode_png(grid))
        with self._events() as writer:
            if writer is not None:
                writer.add_image("validation", grid, step, dataformats="HW")

    @contextmanager
    def _events(self) -> Iterator[Any]:
        """TensorBoard's writer, if there is one. What comes before a checkpoint must be on disk when that is saved,
        since it is not written a second time.
        """
        with tables.errors_of_writing(self.folder / "tensorboard"):
            yield self.writer
            if self.writer is not None:
                self.writer.flush()


def table(run: str, stage: int, rows: list[Row], training_seed: int = 0) -> pd.DataFrame:
    """Rows of the training loop as the table `training`; figures that a row does not have are null."""
    columns = [column.name for column in tables.table("training").columns]
    return pd.DataFrame(rows, columns=columns).assign(run=run, stage=stage, training_seed=training_seed)
