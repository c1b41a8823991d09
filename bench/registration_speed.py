"""Registration against the usual recipe, on the same real films in the same run.

    BIOMEDJOURNEY_FILMS=FOLDER python bench/registration_speed.py [--pairs 12]

The usual recipe: SimpleITK at 512 px, affine, Mattes mutual information, shrink 4-2-1, regular-step gradient descent,
200 iterations. Everything runs in one process on one thread; CPU seconds are counted, so a busy machine matters less.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk

from biomedjourney.preprocess import load
from biomedjourney.register import register
from tests.helpers import films


def usual(prior: np.ndarray, current: np.ndarray) -> np.ndarray:
    """The prior on the current film by the usual recipe."""
    fixed, moving = (sitk.GetImageFromArray(film.astype(np.float32)) for film in (current, prior))
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(50)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.AffineTransform(2), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    method.SetInitialTransform(start, inPlace=False)
    found = method.Execute(fixed, moving)
    return sitk.GetArrayFromImage(sitk.Resample(moving, fixed, found, sitk.sitkLinear, 0.0))


def ours(prior: np.ndarray, current: np.ndarray) -> np.ndarray:
    return register(prior, current).warp(prior)


def timed(work: Callable[[np.ndarray, np.ndarray], np.ndarray], pairs: list) -> tuple[np.ndarray, np.ndarray]:
    """(CPU seconds, correlation) of each pair."""
    seconds, fits = [], []
    for prior, current in pairs:
        start = time.process_time()
        warped = work(prior, current)
        seconds.append(time.process_time() - start)
        fits.append(films.correlation(warped, current))
    return np.array(seconds), np.array(fits)


def main(count: int) -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    chosen = films.pairs(films.folder())
    chosen = [chosen[k] for k in np.linspace(0, len(chosen) - 1, count).round().astype(int)]
    raw = [tuple(films.square(path) for path in pair) for pair in chosen]
    ours(*raw[0])  # imports and first use
    usual_seconds, usual_fits = timed(usual, raw)
    rows = [("the usual recipe, 512 px", usual_seconds, usual_fits), ("ours, 512 px", *timed(ours, raw))]
    for side in (256, 64):
        rows.append(
            (f"ours, preprocessed, {side} px", *timed(ours, [tuple(load(p, side).picture for p in q) for q in chosen]))
        )
    print(
        f"{count} real pairs, one process, one thread; correlation with nothing done: "
        f"{np.mean([films.correlation(*p) for p in raw]):.3f}"
    )
    print(f"{'':30}{'median CPU s':>13}{'pairs/s':>9}{'ratio of medians':>18}{'of means':>10}{'correlation':>13}")
    for name, seconds, fits in rows:
        median, mean = np.median(usual_seconds) / np.median(seconds), usual_seconds.mean() / seconds.mean()
        print(
            f"{name:30}{np.median(seconds):13.4f}{1 / seconds.mean():9.1f}{median:18.1f}{mean:10.1f}{fits.mean():13.3f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=12)
    main(parser.parse_args().pairs)
