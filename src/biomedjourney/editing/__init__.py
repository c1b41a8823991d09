"""`edit`: a counterfactual of one picture, as a function.

The folder is not called ``edit``, because a sub-module of that name would hide the function ``biomedjourney.edit``.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["edit"]


def edit(
    image: Any,
    text: str,
    model: str | Path = "results/models/biomedjourney",
    *,
    seed: int = 0,
    text_scale: float | None = None,
    image_scale: float | None = None,
    steps: int | None = None,
) -> "np.ndarray":
    """What the film might look like after the progression that the text describes.

    ``image``: a frontal chest film as a 2-D array of any size and numeric type, a PIL image, or the path of a JPEG,
    PNG or DICOM file; it is read as a viewer shows it and brought into canonical form first. ``text``: a progression
    description, as "new small left pleural effusion". ``model``: a folder that ``biomedjourney generate export`` wrote.
    ``text_scale`` and ``image_scale`` are guidance scales, ``steps`` the number of sampling steps; None takes the
    model's own.

    Returns a float32 array (size, size) in [0, 1], size being that of the model's pictures. The same arguments give
    the same picture. Raises UserError for a folder that is no such model, a file that is no image, and an empty text.
    For research, not for clinical use.
    """
    from biomedjourney.editing.draw import counterfactual

    return counterfactual(image, text, Path(model), seed, text_scale, image_scale, steps)
