"""How far lungs and heart of a generated picture lie where the real pictures have them."""

from typing import Any

import numpy as np
import pandas as pd

from biomedjourney.evaluate.pictures import Comparison, Pictures
from biomedjourney.measures import ORGANS, dice

REFERENCES = ("prior", "current")


def overlap(segmenter: Any | None) -> Comparison:
    """Gives ``<organ>_dice_<reference>`` of pictures: the Dice of the organ with that of the real picture.

    The references are the registered prior and the true current picture. ``segmenter``: of `pretrain.load_segmenter`;
    None: every value is NaN. NaN too where the segmenter finds nothing of the organ on the reference.
    """

    def compare(pictures: Pictures) -> pd.DataFrame:
        if segmenter is None:
            return pd.DataFrame(np.nan, index=range(len(pictures.generated)), columns=_names())
        found = segmenter.organs(pictures.generated)
        real = {reference: segmenter.organs(getattr(pictures, reference)) for reference in REFERENCES}
        values = [dice(found[organ], real[reference][organ]) for reference in REFERENCES for organ in ORGANS]
        return pd.DataFrame(np.stack(values, axis=1), columns=_names())

    return compare


def _names() -> list[str]:
    return [f"{organ}_dice_{reference}" for reference in REFERENCES for organ in ORGANS]
