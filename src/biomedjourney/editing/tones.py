"""The values that a film stores and the tones in which the model sees them, there and back."""

from dataclasses import dataclass

import numpy as np

CLIPPED = 0.02  # of the tones between a window's ends: what all the values that it clips at one end are spread over


@dataclass(frozen=True)
class Tones:
    """Which tone each stored value has, 0 being the model's black and 1 its white.

    ``stored``: float64 (n,), increasing. ``tones``: float64 (n,), strictly increasing, or strictly decreasing where
    higher values are darker for the model (MONOCHROME1, or a negative). ``ends``: the tones of the film's darkest and
    brightest pixels, in this order.
    """

    stored: np.ndarray
    tones: np.ndarray
    ends: tuple[float, float]

    def moved(self, values: np.ndarray, change: np.ndarray) -> np.ndarray:
        """The values whose tones differ from those of ``values`` by ``change``; both of one shape, result float64.

        No value becomes darker than the film's darkest or brighter than its brightest. Where the change is 0 the value
        comes back but for float64's rounding.
        """
        sign = 1.0 if self.tones[-1] > self.tones[0] else -1.0
        tones = np.interp(values, self.stored, sign * self.tones)
        low, high = sorted(sign * end for end in self.ends)
        wanted = np.clip(tones + sign * change, np.minimum(tones, low), np.maximum(tones, high))
        moved: np.ndarray = np.interp(wanted, sign * self.tones, self.stored)
        return moved


def straight(values: np.ndarray, levels: tuple[float, float], inverted: bool) -> Tones:
    """The tones of a film whose stored values are its grey values. ``levels``, ``inverted``: as in `Canonical`."""
    stored = np.array([values.min(), values.max()], dtype=np.float64)
    tones = _tones(stored, levels, inverted)
    return Tones(stored, tones, (float(tones.min()), float(tones.max())))


def curved(stored: np.ndarray, grey: np.ndarray, levels: tuple[float, float], inverted: bool) -> Tones:
    """The tones of a film that is seen through a window or a table: ``stored`` are its values, ``grey`` what is seen.

    ``stored``: increasing, each of the film's values once; ``grey``: of the same length. The curve is made monotone
    and invertible:

    - A table of few steps has runs of values that are seen alike. Its curve goes through the middles of the runs.
    - All values that a window clips at one end are seen alike as well, and there may be many. They are spread over
      `CLIPPED` of the tones beyond that end, or over less where the slope of the rest of the curve gives less. So a
      change that leads out of the clipped range is seen nearly as the model drew it, and the film's own differences in
      there, which nobody saw, hardly count.
    """
    seen = _tones(np.asarray(grey, dtype=np.float64), levels, inverted)
    stored = np.asarray(stored, dtype=np.float64)
    sign = 1.0 if seen[-1] >= seen[0] else -1.0
    rising = np.maximum.accumulate(sign * seen)
    tones, first = np.unique(rising, return_index=True)
    last = np.append(first[1:], len(stored)) - 1
    if len(tones) == 1:  # seen as one grey: nothing to go by but the values
        return straight(stored, levels, inverted)
    places = (stored[first] + stored[last]) / 2
    places[0], places[-1] = stored[last[0]], stored[first[-1]]
    slope = (tones[-1] - tones[0]) / (places[-1] - places[0])
    ends = tones[0], tones[-1]
    margin = CLIPPED * (ends[1] - ends[0])
    if places[0] > stored[0]:
        tones = np.insert(tones, 0, ends[0] - min(margin, slope * (places[0] - stored[0])))
        places = np.insert(places, 0, stored[0])
    if places[-1] < stored[-1]:
        tones = np.append(tones, ends[1] + min(margin, slope * (stored[-1] - places[-1])))
        places = np.append(places, stored[-1])
    darkest, brightest = sorted(sign * end for end in ends)
    return Tones(places, sign * tones, (darkest, brightest))


def _tones(grey: np.ndarray, levels: tuple[float, float], inverted: bool) -> np.ndarray:
    black, white = levels
    tones = (grey - black) / max(white - black, 1e-12)
    return 1.0 - tones if inverted else tones
