"""How findings come, change and go from visit to visit, and how one visit differs from the one before."""

from dataclasses import dataclass, replace

import numpy as np

from biomedjourney.phantom.state import DEVICES, SIDES, ZONES, Findings

# Each finding is a Markov chain over the visits. With these two rates a finding is present in 38 % of the studies.
# Its presence at one visit predicts its presence at the next with an AUC of 0.5 + (PERSISTENCE - ONSET) / 2 = 0.69.
PERSISTENCE = 0.62
ONSET = 0.235
PREVALENCE = ONSET / (1.0 - PERSISTENCE + ONSET)
CHANGE = 0.65  # share of the persisting findings that clearly grow, shrink or spread
SPREAD = 0.3  # share of these that spread to a new place or leave one, if the finding has several places

LEAST_SEVERITY = 0.35
STEP = (0.25, 0.45)  # least and largest change of severity that is meant to be seen
VISIBLE = 0.15  # a smaller difference of severities counts as unchanged
DEGREES = (0.55, 0.8)  # severities at which small ends and large begins

PACEMAKER = DEVICES.index("pacemaker")

# The places of each finding, and the patterns of places in which it appears, with their probabilities.
PLACES: dict[str, tuple[str, ...]] = {
    "pleural_effusion": SIDES,
    "cardiomegaly": ("",),
    "consolidation": tuple(f"{side} {zone}" for side in SIDES for zone in ZONES),
    "edema": ("",),
    "pneumothorax": SIDES,
}
PATTERNS: dict[str, tuple[tuple[tuple[int, ...], float], ...]] = {
    "pleural_effusion": (((0,), 0.38), ((1,), 0.37), ((0, 1), 0.25)),
    "cardiomegaly": (((0,), 1.0),),
    "consolidation": (((0,), 0.15), ((1,), 0.3), ((2,), 0.15), ((3,), 0.26), ((1, 3), 0.14)),
    "edema": (((0,), 1.0),),
    "pneumothorax": (((0,), 0.5), ((1,), 0.5)),
}
CAN_SPREAD = ("pleural_effusion", "consolidation")
# Two places that are reported as one if they look the same, and the name of both together.
JOINT = {
    "pleural_effusion": ("right", "left", "bilateral"),
    "consolidation": ("right lower", "left lower", "bibasilar"),
}
FINDINGS = tuple(PLACES)


def severities(findings: Findings, finding: str) -> tuple[float, ...]:
    """The severity at each of the finding's PLACES, 0 (absent) to 1."""
    if finding == "consolidation":
        return tuple(value for side in findings.consolidation for value in side)
    value = getattr(findings, finding)
    return value if isinstance(value, tuple) else (value,)


def _build(states: dict[str, np.ndarray], device: str | None) -> Findings:
    effusion, pneumothorax = states["pleural_effusion"].tolist(), states["pneumothorax"].tolist()
    consolidation = states["consolidation"].reshape(2, 2).tolist()
    return Findings(
        pleural_effusion=(effusion[0], effusion[1]),
        cardiomegaly=float(states["cardiomegaly"][0]),
        consolidation=((consolidation[0][0], consolidation[0][1]), (consolidation[1][0], consolidation[1][1])),
        edema=float(states["edema"][0]),
        pneumothorax=(pneumothorax[0], pneumothorax[1]),
        device=device,
    )


def _onset(rng: np.random.Generator, finding: str) -> np.ndarray:
    """The severities at each place of a finding that appears."""
    patterns = PATTERNS[finding]
    places = list(patterns[rng.choice(len(patterns), p=[weight for _, weight in patterns])][0])
    state = np.zeros(len(PLACES[finding]))
    severity = rng.uniform(LEAST_SEVERITY, 1.0)
    state[places] = np.clip(severity + rng.uniform(-0.08, 0.08, len(places)), LEAST_SEVERITY, 1.0)
    return state


def _grow_or_shrink(rng: np.random.Generator, state: np.ndarray) -> np.ndarray:
    """The same places with a visibly larger or smaller severity."""
    present = state > 0
    mean = state[present].mean()
    step = rng.uniform(*STEP)
    grows = rng.random() < 0.5
    if mean - step < LEAST_SEVERITY - 0.1:
        grows = True
    elif mean + step > 1.05:
        grows = False
    changed = np.clip(state + (step if grows else -step), 0.25, 1.0)
    return np.where(present, changed, 0.0)


def _spread(rng: np.random.Generator, finding: str, state: np.ndarray) -> np.ndarray:
    """Leaves one place if the finding is at several, otherwise takes a new one."""
    present = np.flatnonzero(state > 0)
    result = state.copy()
    if len(present) > 1:
        result[rng.choice(present)] = 0.0
    else:
        result[rng.choice(np.flatnonzero(state == 0))] = rng.uniform(LEAST_SEVERITY, 0.9)
    return result


def _next_state(rng: np.random.Generator, finding: str, state: np.ndarray) -> np.ndarray:
    if not state.any():
        return _onset(rng, finding) if rng.random() < ONSET else state
    if rng.random() >= PERSISTENCE:
        return np.zeros_like(state)
    if rng.random() >= CHANGE:
        slightly_changed = np.clip(state + rng.uniform(-0.03, 0.03, len(state)), 0.25, 1.0)
        return np.where(state > 0, slightly_changed, 0.0)
    if finding in CAN_SPREAD and rng.random() < SPREAD:
        return _spread(rng, finding, state)
    return _grow_or_shrink(rng, state)


def _next_device(rng: np.random.Generator, device: str | None) -> str | None:
    if device is None:
        if rng.random() >= 0.25:
            return None
        return DEVICES[rng.choice(len(DEVICES), p=[0.35, 0.3, 0.3, 0.05])]
    if device == DEVICES[PACEMAKER] or rng.random() < 0.55:
        return device
    others = [other for i, other in enumerate(DEVICES) if other != device and i != PACEMAKER]
    return str(rng.choice(others)) if rng.random() < 0.25 else None


def _first_device(rng: np.random.Generator) -> str | None:
    if rng.random() >= 0.36:
        return None
    return DEVICES[rng.choice(len(DEVICES), p=[0.3, 0.28, 0.27, 0.15])]


def course(rng: np.random.Generator, visits: int) -> list[Findings]:
    """The findings of one patient at each visit. The first visit is drawn from the chain's stationary distribution."""
    states = {
        finding: _onset(rng, finding) if rng.random() < PREVALENCE else np.zeros(len(PLACES[finding]))
        for finding in FINDINGS
    }
    device = _first_device(rng)
    result = [_build(states, device)]
    for _ in range(visits - 1):
        states = {finding: _next_state(rng, finding, state) for finding, state in states.items()}
        device = _next_device(rng, device)
        result.append(_build(states, device))
    return result


@dataclass(frozen=True)
class Observation:
    """What a radiologist sees of one finding at one place.

    ``status`` is present (there is no earlier study), new, larger, unchanged, smaller, resolved or denied (absent now
    and before); `reports` adds uncertain. ``place`` is one of the finding's PLACES, bilateral or bibasilar. Severities
    are 0 to 1.
    """

    finding: str
    status: str
    place: str = ""
    severity: float = 0.0
    before: float = 0.0


def degree(severity: float) -> str:
    """The degree of a severity: small, moderate or large."""
    return "small" if severity < DEGREES[0] else "moderate" if severity < DEGREES[1] else "large"


def _status(before: float, now: float) -> str:
    if not before:
        return "new"
    if not now:
        return "resolved"
    if abs(now - before) < VISIBLE:
        return "unchanged"
    return "larger" if now > before else "smaller"


def _both_sides(finding: str, observations: list[Observation]) -> list[Observation]:
    """Joins the observations of two sides that have the same status and degree."""
    if finding not in JOINT:
        return observations
    right, left, both = JOINT[finding]
    pair = [o for o in observations if o.place in (right, left)]
    if len(pair) < 2 or pair[0].status != pair[1].status or degree(pair[0].severity) != degree(pair[1].severity):
        return observations
    joined = replace(
        pair[0],
        place=both,
        severity=(pair[0].severity + pair[1].severity) / 2,
        before=(pair[0].before + pair[1].before) / 2,
    )
    return [joined] + [o for o in observations if o.place not in (right, left)]


def observe(prior: Findings | None, current: Findings) -> list[Observation]:
    """One observation per place where a finding is or was present; one denial per finding that has no such place.

    A device has the finding ``support_devices`` and its own name as the place. ``prior`` None: no earlier study.
    """
    result = []
    for finding, places in PLACES.items():
        now = severities(current, finding)
        before = severities(prior, finding) if prior else (0.0,) * len(places)
        observations = [
            Observation(finding, _status(b, n) if prior else "present", place, n, b)
            for place, b, n in zip(places, before, now, strict=True)
            if b or n
        ]
        result += _both_sides(finding, observations) or [Observation(finding, "denied")]
    prior_device = prior.device if prior else None
    if prior_device and prior_device != current.device:
        result.append(Observation("support_devices", "resolved", prior_device, 0.0, 1.0))
    if current.device:
        status = "present" if not prior else "unchanged" if current.device == prior_device else "new"
        result.append(Observation("support_devices", status, current.device, 1.0, float(status == "unchanged")))
    return result
