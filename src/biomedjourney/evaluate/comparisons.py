"""How a generated picture differs from the prior that it was made from."""

import numpy as np
import pandas as pd

from biomedjourney.evaluate.pictures import Comparison, Pictures


def difference_to_prior(pictures: Pictures) -> pd.DataFrame:
    """The mean absolute difference to the registered prior over the pixels that it covers; NaN where it covers none."""
    differences = np.abs(pictures.generated - pictures.prior)
    sums, counts = (differences * pictures.covered).sum(axis=(1, 2)), pictures.covered.sum(axis=(1, 2))
    mean = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    return pd.DataFrame({"difference_to_prior": mean})


COMPARISONS: tuple[Comparison, ...] = (difference_to_prior,)
