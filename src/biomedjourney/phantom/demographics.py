"""The phantom patients in MIMIC-IV: their rows in hosp/patients and hosp/admissions."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from biomedjourney.phantom.cohort import Patient
from biomedjourney.tables import RACES

PATIENTS = ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod")
ADMISSIONS = (
    "subject_id",
    "hadm_id",
    "admittime",
    "dischtime",
    "deathtime",
    "admission_type",
    "admit_provider_id",
    "admission_location",
    "discharge_location",
    "insurance",
    "language",
    "marital_status",
    "race",
    "edregtime",
    "edouttime",
    "hospital_expire_flag",
)
RACE_STRINGS: dict[str, tuple[str, ...]] = {
    "Asian": ("ASIAN", "ASIAN - CHINESE", "ASIAN - SOUTH EAST ASIAN", "ASIAN - ASIAN INDIAN", "ASIAN - KOREAN"),
    "Black": ("BLACK/AFRICAN AMERICAN", "BLACK/AFRICAN", "BLACK/CAPE VERDEAN", "BLACK/CARIBBEAN ISLAND"),
    "White": ("WHITE", "WHITE - OTHER EUROPEAN", "WHITE - RUSSIAN", "WHITE - EASTERN EUROPEAN", "WHITE - BRAZILIAN"),
}
NO_RACE = ("UNKNOWN", "PATIENT DECLINED TO ANSWER", "UNABLE TO OBTAIN", "OTHER")
# Shares of the patients whose race is hard to read from their admissions.
NEVER_ADMITTED = 0.04
RACE_UNKNOWN = 0.02
RACE_CONTRADICTS = 0.02
RACE_LAPSES = 0.03  # one of three admissions lacks the race that the other two have
TYPES = ("EW EMER.", "OBSERVATION ADMIT", "URGENT", "ELECTIVE", "EU OBSERVATION", "SURGICAL SAME DAY ADMISSION")
FROM = ("EMERGENCY ROOM", "PHYSICIAN REFERRAL", "TRANSFER FROM HOSPITAL", "WALK-IN/SELF REFERRAL")
TO = ("HOME", "HOME HEALTH CARE", "SKILLED NURSING FACILITY", "REHAB", "")
INSURANCE = ("Medicare", "Private", "Medicaid", "Other", "")
LANGUAGES = ("English", "English", "English", "Spanish", "Chinese", "Russian")
MARITAL = ("MARRIED", "SINGLE", "WIDOWED", "DIVORCED", "")
GROUPS = ("2008 - 2010", "2011 - 2013", "2014 - 2016", "2017 - 2019", "2020 - 2022")
LARGEST_AGE = 89
ABOVE_LARGEST = 91  # the value that MIMIC-IV gives for every age above LARGEST_AGE


def patient_row(person: Patient, rng: np.random.Generator) -> list[Any]:
    """The row of the patient in hosp/patients; an age above 89 becomes 91."""
    year = person.studies[0].time.year
    age = year - person.born.year
    died = ""
    if rng.random() < 0.12:
        died = (person.studies[-1].time + timedelta(days=float(rng.uniform(30, 700)))).strftime("%Y-%m-%d")
    group = GROUPS[rng.integers(len(GROUPS))]
    anchor_age = age if age <= LARGEST_AGE else ABOVE_LARGEST
    return [person.subject_id, person.sex, anchor_age, year, group, died]


def _races(person: Patient, rng: np.random.Generator) -> list[str]:
    """The race string of each admission; empty for a patient who was never admitted."""
    race_strings = RACE_STRINGS[person.race]
    draw = rng.random()
    if draw < NEVER_ADMITTED:
        return []
    usual_string = race_strings[0] if rng.random() < 0.6 else race_strings[rng.integers(len(race_strings))]
    if draw < NEVER_ADMITTED + RACE_UNKNOWN:
        return [NO_RACE[rng.integers(len(NO_RACE))] for _ in range(int(rng.integers(1, 3)))]
    if draw < NEVER_ADMITTED + RACE_UNKNOWN + RACE_CONTRADICTS:
        others = [race for race in RACES if race != person.race]
        return [usual_string, RACE_STRINGS[others[rng.integers(len(others))]][0]]
    if draw < NEVER_ADMITTED + RACE_UNKNOWN + RACE_CONTRADICTS + RACE_LAPSES:
        return [usual_string, NO_RACE[rng.integers(len(NO_RACE))], usual_string]
    return [usual_string] * int(rng.integers(1, 4))


def _stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def admission_rows(person: Patient, rng: np.random.Generator) -> list[list[Any]]:
    """The rows of the patient in hosp/admissions; a few patients have none."""

    def one_of(options: tuple[str, ...]) -> str:
        return options[rng.integers(len(options))]

    rows = []
    insurance, language, marital = one_of(INSURANCE), one_of(LANGUAGES), one_of(MARITAL)
    races = _races(person, rng)
    # Each patient has ten possible ids. They are taken in random order, so they say nothing about time.
    last_digits = rng.permutation(10)[: len(races)]
    for i, race in enumerate(races):
        study = person.studies[min(i, len(person.studies) - 1)]
        admitted = study.time - timedelta(hours=float(rng.uniform(1, 40)) + 60 * i)
        admitted = admitted.replace(second=0, microsecond=0)
        discharged = admitted + timedelta(minutes=int(rng.integers(600, 20000)))
        emergency = rng.random() < 0.6
        rows.append(
            [
                person.subject_id,
                20_000_000 + (person.subject_id - 10_000_000) % 1_000_000 * 10 + int(last_digits[i]),
                _stamp(admitted),
                _stamp(discharged),
                "",
                one_of(TYPES),
                f"P{rng.integers(36**3):05X}"[:6],
                "EMERGENCY ROOM" if emergency else one_of(FROM),
                one_of(TO),
                insurance,
                language,
                marital,
                race,
                _stamp(admitted - timedelta(hours=5)) if emergency else "",
                _stamp(admitted + timedelta(hours=1)) if emergency else "",
                0,
            ]
        )
    return rows
