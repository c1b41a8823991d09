"""Raw tables and a report zip of MIMIC-CXR's true size, without pixels, drawn by a seed.

python bench/full_size.py FOLDER [--share 0.25]

377,110 images and 227,835 studies and reports of 65,379 patients; hosp tables of 364,627 patients and 546,028
admissions; every file with all its columns. Report texts are Open-i's, from the installed torchxrayvision, each
section of a report from another patient so that a file has about MIMIC-CXR's thousand bytes, in MIMIC's layout.
"""

import argparse
import csv
import gzip
import random
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from biomedjourney.phantom.demographics import ADMISSIONS, PATIENTS, RACE_STRINGS
from tests.helpers.raw_files import LABELS, METADATA
from tests.helpers.report_layout import ORDER, TRAPS, openi_reports

IMAGES, STUDIES, SUBJECTS = 377_110, 227_835, 65_379
LABELLED, HOSP_PATIENTS, HOSP_ADMISSIONS = 227_827, 364_627, 546_028
FIRST_VIEW = {"PA": 0.40, "AP": 0.56, "": 0.04}
MORE_VIEWS = {"LATERAL": 0.55, "LL": 0.23, "AP": 0.12, "": 0.06, "PA": 0.03, "AP AXIAL": 0.01}
LABEL_VALUES = (("", "1.0", "0.0", "-1.0"), (0.72, 0.15, 0.08, 0.05))
RACES = (
    *(name for names in RACE_STRINGS.values() for name in names),
    *("HISPANIC/LATINO - PUERTO RICAN", "HISPANIC OR LATINO", "OTHER", "UNKNOWN", "UNABLE TO OBTAIN"),
    *("PATIENT DECLINED TO ANSWER", "AMERICAN INDIAN/ALASKA NATIVE", "PORTUGUESE", "SOUTH AMERICAN"),
)
TRAPPED = 0.15  # reports whose headers have one of the traps
TEXTS = 20_000  # distinct report texts


def partition(rng: np.random.Generator, parts: int, total: int, spread: float) -> np.ndarray:
    """Sizes of at least 1 that add up to the total, unequal by the spread."""
    weights = rng.lognormal(0, spread, parts)
    return 1 + rng.multinomial(total - parts, weights / weights.sum())


def texts(seed: int, count: int) -> list[bytes]:
    """Reports in MIMIC's layout, about a thousand bytes each."""
    rng = random.Random(seed)
    reports = openi_reports()
    traps = [write for write, _ in TRAPS.values()]
    written = []
    for _ in range(count):
        drawn = [rng.choice(reports) for _ in range(6)]
        report = {name: " ".join(r[name] for r in drawn[:2] if name in r) for name in ORDER}
        report |= {"FINDINGS": " ".join(r.get("FINDINGS", "") for r in drawn[2:5])} if rng.random() < 0.7 else {}
        if rng.random() < 0.18:
            report.pop("IMPRESSION")
        write = rng.choice(traps[1:]) if rng.random() < TRAPPED else traps[0]
        text = write({name: text for name, text in report.items() if text}, rng)
        written.append(text.replace("XXXX", "___").encode())
    return written


def write_gzip(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", compresslevel=4, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def choices(rng: np.random.Generator, shares: dict[str, float], size: int) -> np.ndarray:
    return rng.choice(np.array(list(shares), dtype=object), size, p=np.array(list(shares.values())))


def write(folder: Path, share: float = 1.0, seed: int = 0) -> None:
    """Writes mimic-cxr-jpg/, mimic-cxr/ and mimic-iv/hosp/ below the folder; ``share`` of the true numbers."""
    rng = np.random.default_rng(seed)
    images, studies, subjects = (round(n * share) for n in (IMAGES, STUDIES, SUBJECTS))
    people = np.sort(10_000_000 + rng.choice(9_999_999, round(HOSP_PATIENTS * share), replace=False))
    seen = np.sort(rng.choice(people, subjects, replace=False))
    subject = np.repeat(seen, partition(rng, subjects, studies, 1.2))
    study = 50_000_000 + rng.choice(9_999_999, studies, replace=False)
    start = np.datetime64("2110-01-01", "D") + rng.integers(0, 36_500, subjects)
    day = np.repeat(start, np.unique(subject, return_counts=True)[1]) + rng.integers(0, 1_800, studies)
    clock = rng.integers(0, 86_400, studies)
    _write_images(folder / "mimic-cxr-jpg", rng, images, subject, study, day, clock, share)
    _write_reports(folder / "mimic-cxr" / "mimic-cxr-reports.zip", seed, subject, study, share)
    _write_hosp(folder / "mimic-iv" / "hosp", rng, people, round(HOSP_ADMISSIONS * share))


def _write_images(
    folder: Path,
    rng: np.random.Generator,
    images: int,
    subject: np.ndarray,
    study: np.ndarray,
    day: np.ndarray,
    clock: np.ndarray,
    share: float,
) -> None:
    counts = partition(rng, len(study), images, 0.5)
    of = np.repeat(np.arange(len(study)), counts)
    first = np.concatenate([[True], of[1:] != of[:-1]])
    view = np.where(first, choices(rng, FIRST_VIEW, images), choices(rng, MORE_VIEWS, images))
    digits = rng.bytes(20 * images).hex()
    names = ["-".join(digits[i + j : i + j + 8] for j in range(0, 40, 8)) for i in range(0, 40 * images, 40)]
    split = rng.choice(["train", "validate", "test"], int(subject.max()) - 9_999_999, p=[0.978, 0.008, 0.014])
    dates = np.char.replace(day.astype(str), "-", "")
    milliseconds = rng.integers(0, 1000, images)
    sizes = rng.choice([2544, 3056, 2022, 1760, 2991], (images, 2))

    def metadata() -> Iterator[Sequence[object]]:
        for i, (k, name) in enumerate(zip(of.tolist(), names, strict=True)):
            seconds = int(clock[k])
            time = seconds // 3600 * 10_000 + seconds // 60 % 60 * 100 + seconds % 60
            procedure = "CHEST (PORTABLE AP)" if view[i] == "AP" else "CHEST (PA AND LAT)"
            code = {"PA": "postero-anterior", "AP": "antero-posterior"}.get(view[i], "lateral")
            yield (
                *(name, subject[k], study[k], procedure, view[i], sizes[i, 0], sizes[i, 1], dates[k]),
                *(f"{time}.{milliseconds[i]:03d}", procedure, code, "Erect"),
            )

    def labels() -> Iterator[Sequence[object]]:
        drawn = rng.choice(LABEL_VALUES[0], (len(study), len(LABELS)), p=LABEL_VALUES[1])
        for k in range(round(LABELLED * share)):
            yield (subject[k], study[k], *drawn[k])

    rows = zip(names, study[of], subject[of], split[subject[of] - 10_000_000], strict=True)
    write_gzip(folder / "mimic-cxr-2.0.0-split.csv.gz", ("dicom_id", "study_id", "subject_id", "split"), rows)
    write_gzip(folder / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, metadata())
    write_gzip(folder / "mimic-cxr-2.0.0-chexpert.csv.gz", ("subject_id", "study_id", *LABELS), labels())


def _write_reports(path: Path, seed: int, subject: np.ndarray, study: np.ndarray, share: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pool = texts(seed, round(TEXTS * share))
    chosen = np.random.default_rng(seed).integers(len(pool), size=len(study))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for person, key, text in zip(subject.tolist(), study.tolist(), chosen.tolist(), strict=True):
            archive.writestr(f"files/p{person // 1_000_000}/p{person}/s{key}.txt", pool[text])


def _write_hosp(folder: Path, rng: np.random.Generator, people: np.ndarray, admissions: int) -> None:
    ages, years = rng.integers(18, 92, len(people)), rng.integers(2110, 2210, len(people))
    genders = rng.choice(["F", "M"], len(people))
    rows = ((s, g, a, y, "2014 - 2016", "") for s, g, a, y in zip(people, genders, ages, years, strict=True))
    write_gzip(folder / "patients.csv.gz", PATIENTS, rows)
    admitted = np.sort(rng.choice(people, round(0.61 * len(people)), replace=False))
    often = partition(rng, len(admitted), admissions, 1.0)
    usual = np.repeat(rng.integers(len(RACES), size=len(admitted)), often)
    race = np.where(rng.random(admissions) < 0.05, rng.integers(len(RACES), size=admissions), usual)
    times = ("2180-05-06 22:23:00", "2180-05-07 17:15:00")
    rest = ("URGENT", "P49AFC", "TRANSFER FROM HOSPITAL", "HOME", "Medicaid", "English", "WIDOWED")
    visits = zip(np.repeat(admitted, often).tolist(), race.tolist(), strict=True)
    write_gzip(
        folder / "admissions.csv.gz",
        ADMISSIONS,
        ((s, 20_000_000 + i, *times, "", *rest, RACES[r], *times, 0) for i, (s, r) in enumerate(visits)),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=1.0)
    arguments = parser.parse_args()
    write(arguments.folder, arguments.share)
