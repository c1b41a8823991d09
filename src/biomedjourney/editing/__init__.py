"""`edit`: counterfactuals of one film, or of a table of films, as functions.

The folder is not called ``edit``, because a sub-module of that name would hide the function ``biomedjourney.edit``.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["edit", "edit_table"]


def edit(
    image: Any,
    text: str,
    model: str | Path = "results/models/biomedjourney",
    *,
    seed: int = 0,
    samples: int = 1,
    text_scale: float | None = None,
    image_scale: float | None = None,
    steps: int | None = None,
    raw: bool = False,
    out: str | Path | None = None,
    difference: str | Path | None = None,
    mark: bool = True,
    judges: str | Path | None = None,
) -> "np.ndarray":
    """What the film might look like after the progression that the text describes.

    ``image``: a frontal chest film as a 2-D array of any size and numeric type, a PIL image, or the path of a JPEG,
    PNG or DICOM file. ``text``: a progression description, as "new small left pleural effusion". ``model``: a folder
    that ``biomedjourney generate export`` wrote. ``seed``: another seed, another picture; with ``samples`` the seeds
    are ``seed``, ``seed + 1`` and so on. ``text_scale`` and ``image_scale`` are guidance scales, ``steps`` the number
    of sampling steps; None takes the model's own.

    Returns the film with the change that the model drew, as an array of the size and type of the film's own pixels:
    those of the array, or those that the file stores, turned as a viewer shows them. Where the model changed no more
    than its noise floor (`editing.noise`), the pixels are the film's, bit for bit. ``raw``: returns the model's own
    square instead, float32 (size, size) in [0, 1]. With more than one of ``samples``, the pictures lie along a new
    first axis. The same arguments give the same pictures.

    ``out``: a file to write as well, as the command writes it: .png, .jpg, or .dcm for a DICOM film; with several
    samples NAME-1, NAME-2 and a sheet of all of them. Its metadata say that it is synthetic; ``mark``: and so does a
    word in its corner. ``difference``: a PNG of where it differs. ``judges``: the folder of the judging classifiers,
    which tell whether a finding that is to go is there; None takes the folder ``judges`` beside the model, if any.

    Warns, with the reason, where the text is not in the language that the model learned. Raises UserError for a folder
    that is no such model, and a file that is no film or cannot be written. For research, not for clinical use.
    """
    import numpy as np

    from biomedjourney.editing import edits, run

    seeds = range(seed, seed + samples)
    settings = edits.Settings(seeds, text_scale, image_scale, steps, raw, mark, _path(judges))
    result = run.run(image, text, Path(model), settings, _path(out), _path(difference))
    for caution in result.cautions:
        warnings.warn(caution, stacklevel=2)
    pictures = [one.pixels for one in result.edited]
    return pictures[0] if samples == 1 else np.stack(pictures)


def edit_table(
    cases: str | Path,
    out: str | Path,
    model: str | Path = "results/models/biomedjourney",
    *,
    seed: int = 0,
    samples: int = 1,
    text_scale: float | None = None,
    image_scale: float | None = None,
    steps: int | None = None,
    raw: bool = False,
    mark: bool = True,
    judges: str | Path | None = None,
) -> "pd.DataFrame":
    """Counterfactuals of a table of films and texts, as files in a folder.

    ``cases``: a CSV or Parquet file with the columns ``path`` and ``text``; paths that are not absolute count from its
    folder. ``out``: the folder to write to. The rest as in `edit`. A DICOM film comes back as DICOM, another one as
    PNG.

    Returns one row per picture, which is also written to ``out`` as ``edits.csv`` or ``edits.parquet``, as the cases
    are: row (of the cases, from 0), path, text, seed, out, noise_floor, changed (share of the pixels), warning, error.
    A film that fails is a row with an error. Raises UserError where the cases or the model cannot be read.
    """
    from biomedjourney.editing import edits, table

    seeds = range(seed, seed + samples)
    settings = edits.Settings(seeds, text_scale, image_scale, steps, raw, mark, _path(judges))
    return table.run(Path(cases), Path(out), Path(model), settings)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
