"""`register`: finds the transform that brings one film onto another, and scores the fit."""

from dataclasses import dataclass

import numpy as np

from biomedjourney.preprocess.files import to_grey
from biomedjourney.preprocess.film import shrink
from biomedjourney.register import affine, search, spline

LEAST_SIDE = 16  # pixels
COARSE = 32  # pixels, the longer side for the search
LEVELS = (64, 160)  # pixels, the longer sides of the refinements that follow; the first one is always done
SCORED = 128  # pixels, the longer side (at most) for the score
SPREAD = 20.0  # the longer side over this number is the neighbourhood of a refinement
AGREEMENT = 1.5  # times that neighbourhood: where the two films disagree over it, a finding is new or gone
FINE = 0.7  # pixels
SAMPLES = 2500  # pixels that a refinement uses at most
CENTRE = 0.75  # the share of the square's side that the score is taken over
THRESHOLD = 0.4
CERTAIN = 1.2  # the merit (see `_Pair.find_transform`) from which no further start is tried
TOLERANCE = 0.03  # how much of the score a refinement may lose, since it sees finer detail than the score
STARTS = 4
LIMITS = affine.Limits()
# The kinds of transform that the search tries, in this order, until one is better than doing nothing.
KINDS = {
    "rigid": ("rigid",),
    "similarity": ("similarity",),
    "affine": ("similarity", "affine"),
    "bspline": ("similarity", "affine"),
}


@dataclass(frozen=True)
class Registration:
    """How the prior film lies on the current one.

    ``matrix``: 2×3 float64, maps a pixel centre (x, y) of the current array to one of the prior array, as given;
    None for a B-spline. ``displacement``: for a B-spline, float64 (7, 7, 2), how far each control point moves, in
    pixels (x, y), from the current array to the prior array, as given (see `spline`); None otherwise.
    ``score_before``, ``score_after``: Pearson correlation, from -1 to 1, of the current film and the prior, without
    and with the transform. It is taken over the middle 75 % (in each direction) of the square that the current film
    is centred in, at a longer side of at most 128 pixels, on the films as given, with 0 outside the prior. Films of
    opposite grey scale correlate negatively: for these the sign is turned.
    ``accepted``: score_after reaches the threshold. ``reason``: what was done, or why it is not accepted.
    ``inverted``: the two films have opposite grey scales.
    """

    matrix: np.ndarray | None
    displacement: np.ndarray | None
    score_before: float
    score_after: float
    accepted: bool
    reason: str
    inverted: bool
    shape: tuple[int, int]

    def points(self) -> np.ndarray:
        """(rows, columns, 2): where in the prior array each pixel of the current film lies, as (x, y)."""
        here = affine.grid(self.shape)
        if self.displacement is not None:
            return here + spline.at_pixels(self.displacement, self.shape)
        assert self.matrix is not None
        return affine.applied(self.matrix, here)

    def warp(self, prior: np.ndarray) -> np.ndarray:
        """The prior array (as given to `register`) on the current film's pixels.

        Linear interpolation; 0 outside the prior array; the type and the grey scale are those of the prior.
        """
        prior = np.asarray(prior)
        if self.displacement is not None:
            warped = spline.warp(prior, self.displacement, self.shape, mode="nearest")
        else:
            assert self.matrix is not None
            warped = affine.warp(prior, self.matrix, self.shape, mode="nearest")
        if prior.dtype.kind in "ui":
            limits = np.iinfo(prior.dtype)
            warped = np.clip(np.rint(warped), limits.min, limits.max)
        warped[~self.coverage((prior.shape[0], prior.shape[1]))] = 0
        return warped.astype(prior.dtype)

    def coverage(self, prior_shape: tuple[int, int]) -> np.ndarray:
        """True for the pixels of the current film that a prior array of this shape covers."""
        return affine.inside(self.points(), prior_shape)


def register(
    prior: np.ndarray, current: np.ndarray, *, transform: str = "affine", threshold: float = THRESHOLD
) -> Registration:
    """The transform that brings the prior film onto the current one.

    Both are 2-D grey arrays of any size and numeric type, of one grey scale or of opposite ones. It is assumed that
    their longer sides show about the same width of the patient. ``transform``: rigid, similarity, affine, or bspline
    (an affine map, and then a smooth warp where that fits even better).

    Method. The search sees both films at 32 pixels. Each pixel is normalised by the mean and standard deviation of
    its neighbourhood, so that exposure and wide opacities do not matter. All shifts are tried by FFT, for five
    rotations and both grey scales. From the best one, SimpleITK's L-BFGS-B optimises the correlation, for a similarity
    and then for an affine map; further starts are tried where the fit stays low. Refinements at 64 and at 160 pixels
    follow. They normalise both films over the pixels that both have, and weight each pixel by how far the films agree
    around it. A transform outside `affine.Limits` is discarded. Where no transform has a better score than doing
    nothing, the result is the identity, and ``reason`` says so: no result is worse than doing nothing.

    The default threshold is 0.4. On real consecutive films the scores after registration form one hill around 0.7;
    three of 98 lie below 0.4, and two of these do not fit by eye. The score measures the fit. It does not recognise
    the person: frontal films of different patients reach 0.54 in the median. Nor does it recognise the order of two
    films, or a mirrored one (docs/films.md). It does not recognise the view either: `preprocess` refuses films that are
    lateral, upside down or on their side.

    A film that is tiny or blank gives the identity, not accepted, with the reason and with scores of nan.
    Raises ValueError for an unknown transform and UserError for an array that is no grey image.
    """
    if transform not in KINDS:
        raise ValueError(f"transform is one of {', '.join(KINDS)}, not {transform!r}")
    prior, current = to_grey(prior), to_grey(current)
    for name, film in (("prior", prior), ("current", current)):
        fault = _fault(film)
        if fault:
            return _identity(f"the {name} film is {fault}", prior, current)
    return _Pair(prior, current).register(transform, threshold)


def _fault(film: np.ndarray) -> str:
    if min(film.shape) < LEAST_SIDE:
        return f"tiny ({film.shape[1]} x {film.shape[0]} pixels)"
    step = max(1, min(film.shape) // SCORED)
    low, high = np.percentile(film[::step, ::step], [1, 99])
    spread = float(high - low)
    if spread <= 1e-6 * max(1.0, abs(float(high))):
        return "blank"
    return ""


def _identity(reason: str, prior: np.ndarray, current: np.ndarray) -> Registration:
    matrix = affine.between(affine.IDENTITY, current.shape, prior.shape)
    return Registration(matrix, None, np.nan, np.nan, False, reason, False, current.shape)


class _Pair:
    """Two films at the size of the score; matrices are between their unit frames."""

    def __init__(self, prior: np.ndarray, current: np.ndarray) -> None:
        self.prior, self.current = prior, current
        self.small = shrink(current, SCORED), shrink(prior, SCORED)
        height, width = self.small[0].shape
        inner = CENTRE * max(height, width)
        top, left = (max(0, round((side - inner) / 2.0)) for side in (height, width))
        self.middle = np.s_[top : height - top, left : width - left]

    def correlation(self, matrix: np.ndarray, control: np.ndarray | None = None) -> float:
        current, prior = self.small
        a = current[self.middle].ravel()
        b = _warped(prior, matrix, control, current.shape)[self.middle].ravel()
        a, b = a - a.mean(), b - b.mean()
        norm = float(np.linalg.norm(a) * np.linalg.norm(b))
        return float(a @ b) / norm if norm > 0.0 else 0.0

    def register(self, transform: str, threshold: float) -> Registration:
        before = self.correlation(affine.IDENTITY)
        matrix, polarity, objection = self.find_transform(transform, abs(before))
        control = None
        if matrix is None:
            matrix, polarity, after = affine.IDENTITY, 1 if before >= 0 else -1, abs(before)
            reason = f"implausible transform ({objection})" if objection else "no transform has a better score"
            reason = f"identity: {reason}"
        else:
            after = polarity * self.correlation(matrix)
            for level in LEVELS:
                if level == LEVELS[0] or level <= max(*self.current.shape, *self.prior.shape):
                    matrix, after = self.polish(matrix, polarity, (abs(before), after), transform, level)
            reason = f"registered ({transform})"
            if transform == "bspline":
                control, after = self.bend(matrix, polarity, after)
                reason = reason if control is not None else "registered (affine: no B-spline fits better)"
        if polarity < 0:
            reason += ", opposite grey scales"
        accepted = after >= threshold
        if not accepted:
            reason += f"; not accepted: score {after:.2f} below {threshold:g}"
        shapes = self.current.shape, self.prior.shape
        pixels = affine.between(matrix, *shapes) if control is None else None
        displacement = None if control is None else spline.in_pixels(spline.after(matrix, control), *shapes)
        return Registration(
            pixels, displacement, polarity * before, after, accepted, reason, polarity < 0, self.current.shape
        )

    def find_transform(self, transform: str, before: float) -> tuple[np.ndarray | None, int, str]:
        """The transform with the highest merit among those that score better than before; the polarity; an objection.

        The merit is the sum of the score and of the correlation of the structures. The score alone would prefer a
        transform that hides a new opacity. The structures alone would prefer one that brings ribs onto other ribs.
        """
        coarse_films = [search.view(film, COARSE) for film in self.small]
        current, prior = (search.structure(picture, valid, COARSE / 8, FINE) for picture, valid in coarse_films)
        starts = search.starts(current, prior)
        polarity = starts[0].polarity
        best_starts = search.distinct([start for start in starts if start.polarity == polarity])[:STARTS]
        optimiser = search.Optimiser(current, prior)
        best_matrix, best_merit, objection = None, 0.0, ""
        for first_matrix in [*(start.matrix for start in best_starts), affine.IDENTITY]:
            for kind in KINDS[transform]:
                matrix = optimiser.refine(first_matrix, kind)
                fault = LIMITS.objection(matrix, self.current.shape, self.prior.shape)
                objection = objection or fault
                score = polarity * self.correlation(matrix)
                if fault or score <= before:
                    continue
                merit = score + polarity * search.fit(current, prior, matrix)
                if merit > best_merit:
                    best_matrix, best_merit = matrix, merit
                break
            if best_merit >= CERTAIN:
                break
        return best_matrix, polarity, objection

    def polish(
        self, matrix: np.ndarray, polarity: int, scores: tuple[float, float], transform: str, level: int
    ) -> tuple[np.ndarray, float]:
        """The matrix refined by what is left between the current film and the warped prior, and its score."""
        fixed, moving, share = self.weighted_structures(matrix, polarity, level)
        kind = "affine" if transform == "bspline" else transform
        polished = affine.compose(matrix, search.Optimiser(fixed, moving, share).refine(affine.IDENTITY, kind))
        after = polarity * self.correlation(polished)
        is_worse = after < max(scores[0], scores[1] - TOLERANCE)
        if is_worse or LIMITS.objection(polished, self.current.shape, self.prior.shape):
            return matrix, scores[1]
        return polished, after

    def bend(self, matrix: np.ndarray, polarity: int, score: float) -> tuple[np.ndarray | None, float]:
        """A B-spline for what the matrix leaves, and its score; None where the score does not improve."""
        level = min(LEVELS[-1], max(*self.current.shape, *self.prior.shape))
        control = spline.refine(*self.weighted_structures(matrix, polarity, level))
        after = score if control is None else polarity * self.correlation(matrix, control)
        return (control, after) if after > score else (None, score)

    def weighted_structures(
        self, matrix: np.ndarray, polarity: int, level: int
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """The structures of the current film and of the warped prior, and the share of the pixels to use.

        Both have one mask and are weighted by how far they agree already, so that what only one film shows does not
        pull.
        """
        current, valid = search.view(self.current, level, grow=1)
        prior, prior_valid = search.view(self.prior, level, grow=1)
        warped = affine.warp_unit(prior, matrix, current.shape)
        valid = valid & (affine.warp_unit(prior_valid, matrix, current.shape) > 0.99)
        spread = max(current.shape) / SPREAD
        fixed, moving = (search.structure(picture, valid, spread, FINE) for picture in (current, warped))
        weights = search.agreement(fixed, polarity * moving, AGREEMENT * spread)
        return weights * fixed, weights * moving, min(1.0, SAMPLES / fixed.size)


def _warped(array: np.ndarray, matrix: np.ndarray, control: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
    if control is None:
        return affine.warp_unit(array, matrix, shape)
    return spline.warp(array, spline.in_pixels(spline.after(matrix, control), shape, array.shape), shape)
