"""The patients of the phantom: who they are, when they come, how each film is taken."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from biomedjourney.phantom.findings import course
from biomedjourney.phantom.state import Acquisition, Findings
from biomedjourney.tables import RACES

# How far two visits of a patient differ in position: standard deviations, fitted on 93 real pairs of Winther et al.,
# COVID-19 Image Repository. For a single visit they are divided by sqrt(2), since a difference adds two variances.
PAIR_ROTATION = 3.47  # degrees
PAIR_LOG_SCALE = 0.0395
PAIR_SHIFT = (0.062, 0.055)  # fractions of the side, horizontal and vertical
REPEATED = 0.3  # a second film of the same visit moves by this fraction of the spread of a single visit

# Probability of each number of visits.
VISITS = {1: 0.05, 2: 0.28, 3: 0.35, 4: 0.21, 5: 0.11}
TEST_FOLDER = 19
TEST_SHARE = 0.14  # share of the patients in the folder p19
FOLDERS = range(10, 19)  # p10 to p18, for all other patients

AP_SHARE = 0.08  # share of the studies
LATERAL_SHARE = 0.2  # share of the studies that have a lateral film
SECOND_SHARE = 0.05  # share of the studies that have a second frontal film
UNNAMED_SECOND = 0.2  # share of the second films whose ViewPosition is blank
INVERTED_SHARE = 0.02  # share of the films
LARGEST_DEVIATION = 2.5  # standard deviations: normal draws are clipped here


@dataclass(frozen=True)
class Identity:
    """The ids of a patient. They depend on the seed and the number of patients only."""

    subject_id: int
    study_ids: tuple[int, ...]


@dataclass(frozen=True)
class Film:
    dicom_id: str
    view: str  # PA, AP, LATERAL or blank
    acquisition: Acquisition


@dataclass(frozen=True)
class Study:
    study_id: int
    time: datetime
    age: float  # years
    findings: Findings
    view: str  # of the frontal films: PA or AP
    films: tuple[Film, ...]  # the frontal film first


@dataclass(frozen=True)
class Patient:
    subject_id: int
    sex: str
    race: str
    born: datetime
    studies: tuple[Study, ...]


def stream(seed: int, subject_id: int, *purpose: int) -> np.random.Generator:
    """A random generator for one purpose of one patient. What else is drawn does not change its numbers.

    ``purpose``: 0 visits, 1 anatomy, 2 published split, 3 and a number one film, 4 reports, 5 errors of the labellers,
    6 demographics.
    """
    return np.random.default_rng([seed, subject_id, *purpose])


def identities(seed: int, patients: int) -> list[Identity]:
    """The ids of all patients, sorted by subject_id. A share TEST_SHARE of the patients is in the folder p19.

    With 10 or more patients every folder from p10 to p19 is used. Study ids are random: their order means nothing.
    """
    rng = np.random.default_rng([seed, patients])
    test_count = max(1, round(TEST_SHARE * patients))
    folders = [TEST_FOLDER] * test_count + [FOLDERS[i % len(FOLDERS)] for i in range(patients - test_count)]
    tails = rng.choice(1_000_000, size=patients, replace=False)
    subjects = sorted(folder * 1_000_000 + int(tail) for folder, tail in zip(folders, tails, strict=True))
    counts = rng.choice(list(VISITS), p=list(VISITS.values()), size=patients)
    ids = iter((50_000_000 + rng.choice(10_000_000, size=int(counts.sum()), replace=False)).tolist())
    return [
        Identity(subject, tuple(next(ids) for _ in range(count)))
        for subject, count in zip(subjects, counts.tolist(), strict=True)
    ]


def _normal(rng: np.random.Generator, spread: float) -> float:
    """A normal draw of mean 0 and standard deviation ``spread``, clipped at LARGEST_DEVIATION."""
    return float(np.clip(rng.normal(), -LARGEST_DEVIATION, LARGEST_DEVIATION) * spread)


def _position(rng: np.random.Generator, share: float) -> tuple[float, float, float, float]:
    """Rotation, horizontal and vertical shift, log scale; ``share`` is a fraction of the spread of a single visit."""
    share /= np.sqrt(2.0)
    shift_x, shift_y = PAIR_SHIFT
    return (
        _normal(rng, PAIR_ROTATION * share),
        _normal(rng, shift_x * share),
        _normal(rng, shift_y * share),
        _normal(rng, PAIR_LOG_SCALE * share),
    )


def _collimation(rng: np.random.Generator) -> tuple[float, float, float, float]:
    edges = np.where(rng.random(4) < 0.25, rng.uniform(0.0, 0.05, 4), 0.0).tolist()
    return (edges[0], edges[1], edges[2], edges[3])


def _acquisition(
    rng: np.random.Generator, position: tuple[float, float, float, float], breath: float, *, lateral: bool = False
) -> Acquisition:
    rotation, shift_x, shift_y, log_scale = position
    return Acquisition(
        rotation=rotation,
        shift_x=shift_x,
        shift_y=shift_y,
        scale=float(np.exp(log_scale)),
        exposure=float(np.exp(_normal(rng, 0.12))),
        inspiration=breath,
        noise=float(rng.uniform(0.005, 0.02)),
        collimation=_collimation(rng),
        inverted=bool(rng.random() < INVERTED_SHARE),
        lateral=lateral,
    )


def _dicom_id(rng: np.random.Generator) -> str:
    return "-".join(rng.bytes(4).hex() for _ in range(5))


def _films(rng: np.random.Generator, view: str) -> tuple[Film, ...]:
    position = _position(rng, 1.0)
    breath = float(np.clip((1.0 if view == "PA" else 0.93) + _normal(rng, 0.06), 0.8, 1.1))
    films = [Film(_dicom_id(rng), view, _acquisition(rng, position, breath))]
    if rng.random() < SECOND_SHARE:
        second = tuple(a + b for a, b in zip(position, _position(rng, REPEATED), strict=True))
        second_view = "" if rng.random() < UNNAMED_SECOND else view
        second_position = (second[0], second[1], second[2], second[3])
        films.append(Film(_dicom_id(rng), second_view, _acquisition(rng, second_position, breath)))
    if view == "PA" and rng.random() < LATERAL_SHARE / (1 - AP_SHARE):
        films.append(Film(_dicom_id(rng), "LATERAL", _acquisition(rng, _position(rng, 1.0), breath, lateral=True)))
    return tuple(films)


def _times(rng: np.random.Generator, visits: int) -> list[datetime]:
    """The times of the visits: hours to years apart, at any hour of the day, in the years of MIMIC's shifted dates."""
    first = datetime(2110, 1, 1) + timedelta(days=int(rng.integers(0, 80 * 365)), seconds=float(rng.uniform(0, 86400)))
    gaps = np.exp(rng.uniform(np.log(0.3), np.log(900.0), visits - 1))
    return [first + timedelta(days=float(days)) for days in np.concatenate([[0.0], np.cumsum(gaps)])]


def patient(seed: int, identity: Identity) -> Patient:
    """One patient with all studies in order of time."""
    rng = stream(seed, identity.subject_id, 0)
    sex = str(rng.choice(["F", "M"]))
    race = str(rng.choice(RACES))
    visits = len(identity.study_ids)
    times = _times(rng, visits)
    born = times[0] - timedelta(days=float(rng.uniform(20.0, 90.0)) * 365.25)
    findings = course(rng, visits)
    studies = []
    for study_id, time, present in zip(identity.study_ids, times, findings, strict=True):
        view = "AP" if rng.random() < AP_SHARE else "PA"
        age = (time - born).total_seconds() / (365.25 * 86400)
        studies.append(Study(study_id, time, age, present, view, _films(rng, view)))
    return Patient(identity.subject_id, sex, race, born, tuple(studies))
