"""How alike the pictures are that one model draws of one pair from different noise: a column of the table `scores`."""

from pathlib import Path

import numpy as np
import pandas as pd

from biomedjourney import pixels, tables

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, the finest first (Wang et al., 2003)
WINDOW = 11  # pixels: the side of SSIM's window, which has to fit into the coarsest scale


def likeness_of_seeds(path: Path) -> pd.DataFrame:
    """`seeds_ms_ssim` of each picture of a file of the table `generated`: the mean over the pair's other seeds.

    NaN where the file has no other seed of the pair. Memory holds the file's compressed pictures where it has several
    seeds.
    """
    key = ["training_seed", "seed", "pair_id"]
    keys = tables.read(path, "generated", key)
    if keys["seed"].nunique() == 1:
        return keys.assign(seeds_ms_ssim=np.nan)
    frames = []
    for _, rows in tables.read(path, "generated", [*key, "png"]).groupby(["training_seed", "pair_id"], sort=False):
        pictures = np.stack([pixels.decode_png(png) for png in rows["png"]])
        frames.append(rows[key].assign(seeds_ms_ssim=mean_ms_ssim(pictures)))
    return pd.concat(frames, ignore_index=True)


def mean_ms_ssim(pictures: np.ndarray) -> np.ndarray:
    """The mean multi-scale SSIM of each picture (n, rows, columns), in [0, 1], with the others; NaN for one alone.

    With as many scales as the pictures are large enough for: five from 176 pixels, three from 44.
    """
    import torch
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    n = len(pictures)
    if n == 1:
        return np.full(1, np.nan)
    first, second = np.triu_indices(n, 1)
    channel = torch.from_numpy(pictures)[:, None]
    weights = np.array(WEIGHTS[: scales(min(pictures.shape[1:]))])
    values = multiscale_structural_similarity_index_measure(
        channel[first],
        channel[second],
        kernel_size=WINDOW,
        data_range=1.0,
        betas=tuple((weights / weights.sum()).tolist()),
        reduction="none",
    )
    summed = sum(np.bincount(places, np.atleast_1d(values.numpy()), n) for places in (first, second))
    return np.asarray(summed) / (n - 1)


def scales(side: int) -> int:
    """How many scales torchmetrics takes for pictures of this side."""
    return max(
        (n for n in range(2, len(WEIGHTS) + 1) if side // (n - 1) ** 2 >= WINDOW and side // 2 ** (n - 1) >= WINDOW),
        default=1,
    )
