"""The search for the transform: all shifts at once, then SimpleITK's optimiser."""

from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from biomedjourney.preprocess.field import valid_pixels, window
from biomedjourney.preprocess.film import shrink
from biomedjourney.register import affine

FLOOR = 0.03  # local contrast below this is noise
REACH = 0.3  # shifts that the search tries, as a share of the longer side
APART = 0.15  # unit frame: beyond this shift, or beyond 8 degrees, two starts are different
ITERATIONS = 25
ROTATIONS = (0.0, -4.0, 4.0, -8.0, 8.0)  # degrees


class Start(NamedTuple):
    fit: float  # correlation of the structures, 0 to 1
    polarity: int  # 1: same grey scale, -1: opposite
    matrix: np.ndarray  # between unit frames


def structure(picture: np.ndarray, valid: np.ndarray, spread: float, fine: float) -> np.ndarray:
    """What does not depend on exposure, contrast and wide opacities: each pixel against its neighbourhood.

    (picture - local mean) / (local standard deviation + 0.03), clipped to ±3. The local values are Gaussian
    means of ``spread`` pixels over the valid pixels. 0 where not valid; smoothed by ``fine`` pixels.
    """
    weight = valid.astype(np.float32)
    around = _blur(weight, spread) + 1e-3
    detail = (picture - _blur(picture * weight, spread) / around) * weight
    contrast = np.sqrt(_blur(detail * detail, spread) / around)
    return _blur(np.clip(detail / (contrast + FLOOR), -3.0, 3.0) * weight, fine)


def agreement(a: np.ndarray, b: np.ndarray, spread: float) -> np.ndarray:
    """How far two structures agree around each pixel: correlation over a Gaussian of ``spread`` pixels, 0 to 1."""
    size = np.sqrt(_blur(a * a, spread) * _blur(b * b, spread))
    return np.clip(_blur(a * b, spread) / (size + 1e-3), 0.0, 1.0)


def _blur(array: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(array, sigma, mode="constant", truncate=3.0)


def view(grey: np.ndarray, longest: int, grow: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The film at a longer side of ``longest`` pixels, in [0, 1], and its valid pixels."""
    picture = window(shrink(grey, longest), 1.0, 99.0)
    return picture, valid_pixels(picture, grow=grow)


def starts(current: np.ndarray, prior: np.ndarray) -> list[Start]:
    """The best shift for each rotation and polarity, best first, by correlation of two structures (FFT)."""
    height, width = current.shape
    shape = (height + round(REACH * height) + 1, width + round(REACH * width) + 1)
    reach_y, reach_x = shape[0] - height - 1, shape[1] - width - 1
    spectrum = np.conj(np.fft.rfft2(current, shape))
    norm = float(np.linalg.norm(current))
    best_starts = []
    for degrees in ROTATIONS:
        turned = affine.warp_unit(prior, rotation(degrees), current.shape)
        fits = np.fft.irfft2(spectrum * np.fft.rfft2(turned, shape), shape)
        fits = np.roll(fits, (reach_y, reach_x), (0, 1))[: 2 * reach_y + 1, : 2 * reach_x + 1]
        fits = fits / (norm * float(np.linalg.norm(turned)) + 1e-9)
        for polarity in (1, -1):
            y, x = divmod(int(np.argmax(polarity * fits)), fits.shape[1])
            shift = np.array([x - reach_x, y - reach_y]) * 2.0 / max(current.shape)
            matrix = rotation(degrees)
            matrix[:, 2] = matrix[:, :2] @ shift
            best_starts.append(Start(float(polarity * fits[y, x]), polarity, matrix))
    return sorted(best_starts, key=lambda start: -start.fit)


def fit(current: np.ndarray, prior: np.ndarray, matrix: np.ndarray) -> float:
    """Correlation, from -1 to 1, of a structure and another one seen through a matrix between unit frames."""
    warped = affine.warp_unit(prior, matrix, current.shape)
    return float((current * warped).sum()) / (float(np.linalg.norm(current) * np.linalg.norm(warped)) + 1e-9)


def distinct(starts: list[Start]) -> list[Start]:
    """The starts, best first, without those close to a better one, from which the optimiser would end at one place."""
    distinct_starts: list[Start] = []
    for start in starts:
        if all(_is_apart(start, better) for better in distinct_starts):
            distinct_starts.append(start)
    return distinct_starts


def _is_apart(start: Start, other: Start) -> bool:
    return start.polarity != other.polarity or bool(np.abs(start.matrix - other.matrix).max() > APART)


def rotation(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0]])


class Optimiser:
    """Squared correlation of two structures, maximised by L-BFGS-B (SimpleITK).

    The moving picture has a frame of zeros, the neutral value, so that a transform gains nothing by moving detail
    out of the picture. ITK's regular-step descent is no alternative: on an affine transform with this metric it
    leaves the optimum again in a third of the cases.
    """

    def __init__(self, current: np.ndarray, prior: np.ndarray, share: float = 1.0) -> None:
        import SimpleITK as sitk

        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        sitk.ProcessObject.SetGlobalWarningDisplay(False)  # a start without overlap is foreseen, see `run`
        self._sitk = sitk
        self._share = share
        self._current = self._image(current)
        self._prior = self._image(np.pad(prior, round(REACH * max(prior.shape))), max(prior.shape))

    def _image(self, array: np.ndarray, longest: int | None = None) -> Any:
        image = self._sitk.GetImageFromArray(np.ascontiguousarray(array, dtype=np.float32))
        step = 2.0 / (longest or max(array.shape))
        image.SetSpacing((step, step))
        image.SetOrigin(tuple(-(side - 1) / 2.0 * step for side in array.shape[::-1]))
        return image

    def refine(self, matrix: np.ndarray, kind: str) -> np.ndarray:
        """The matrix after optimisation, from a matrix between unit frames; unchanged where the optimiser fails."""
        transform = self._transform(matrix, kind)
        if not self.run(transform, ITERATIONS):
            return matrix
        linear = np.array(transform.GetMatrix()).reshape(2, 2)
        return np.column_stack([linear, transform.GetTranslation()])

    def run(self, transform: Any, iterations: int, **bounds: float) -> bool:
        """Optimises a SimpleITK transform in place, within bounds; false where ITK finds no overlap of the pictures."""
        method = self._sitk.ImageRegistrationMethod()
        method.SetMetricAsCorrelation()
        method.SetInterpolator(self._sitk.sitkLinear)
        if self._share < 1.0:
            method.SetMetricSamplingStrategy(method.REGULAR)
            method.SetMetricSamplingPercentage(self._share, seed=1)
        method.SetOptimizerAsLBFGSB(
            gradientConvergenceTolerance=1e-5,
            numberOfIterations=iterations,
            maximumNumberOfCorrections=8,
            maximumNumberOfFunctionEvaluations=2 * iterations,
            costFunctionConvergenceFactor=1e11,
            **bounds,
        )
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(self._current, self._prior)
        except RuntimeError:
            return False
        return True

    def _transform(self, matrix: np.ndarray, kind: str) -> Any:
        sitk, linear = self._sitk, matrix[:, :2]
        if kind == "affine":
            transform = sitk.AffineTransform(2)
            transform.SetMatrix([float(value) for value in linear.ravel()])
        else:
            transform = sitk.Similarity2DTransform() if kind == "similarity" else sitk.Euler2DTransform()
            transform.SetAngle(float(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])))
            if kind == "similarity":
                transform.SetScale(float(np.sqrt(np.linalg.det(linear))))
        transform.SetTranslation([float(value) for value in matrix[:, 2]])
        return transform
