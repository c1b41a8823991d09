"""How many patients, images, singles and pairs a configuration has, before or after its tables are there."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from biomedjourney import tables
from biomedjourney.ingest import csvs
from biomedjourney.ingest import images as raw_images
from biomedjourney.pair.command import IMAGE_COLUMNS, STUDY_COLUMNS
from biomedjourney.pair.pair import pair
from biomedjourney.phantom import cohort

TABLES = Path("results/tables")
OFFICIAL, OFFICIAL_SHARES = ("train", "validation", "test"), (0.97, 0.01, 0.02)  # as phantom/files.py draws it
MOST_DRAWN = 2000  # patients of the phantom that are drawn to count their visits; of more the rest is in proportion


@dataclass(frozen=True)
class Counts:
    """``pairs``: by split. ``source``: where patients, studies and images were counted; ``paired_by``: the others."""

    patients: int
    studies: int
    images: int
    singles: int
    test_singles: int
    pairs: dict[str, int]
    source: str
    paired_by: str

    @property
    def all_pairs(self) -> int:
        return sum(self.pairs.values())

    @property
    def lines(self) -> list[str]:
        """All counts, and where each is from."""
        pairs = ", ".join(f"{count:,} {split}" for split, count in self.pairs.items())
        return [
            f"{self.patients:,} patients, {self.studies:,} studies, {self.images:,} images: {self.source}",
            f"{self.singles:,} singles, {self.all_pairs:,} pairs ({pairs}): {self.paired_by}",
        ]

    def in_direction(self, direction: str | None) -> int:
        """The pairs that are read in a direction."""
        return self.pairs["train"] if direction == "backward" else self.all_pairs


@dataclass(frozen=True)
class _Cohort:
    """Studies and images as `pair` reads them, where they are from, and how many times as many there are."""

    studies: pd.DataFrame
    images: pd.DataFrame
    source: str
    times: float = 1.0


# What the cohort rule of paper.yaml leaves of MIMIC-CXR, of which the metadata are not at hand. The first three are
# published; the others are counted on the tables that bench/full_size.py draws.
MIMIC = Counts(
    patients=65_379,
    studies=227_835,
    images=377_110,
    singles=93_771,
    test_singles=9_400,
    pairs={"train": 40_100, "validation": 4_485, "test": 5_000},
    source="the published numbers of MIMIC-CXR",
    paired_by="drawn tables of that size, paired by the rule of paper.yaml: another rule has other numbers",
)


def count(settings: dict[str, Any]) -> Counts:
    """The counts from the best source that is there: the run's tables, the raw metadata, the phantom, MIMIC's size."""
    has_cohort, has_pairs = _are_there("patients", "studies", "images"), _are_there("singles", "pairs")
    cohort_rows = None if has_cohort and has_pairs else _cohort(settings)
    if has_cohort:
        patients, studies, images = (tables.row_count(_path(name), name) for name in ("patients", "studies", "images"))
        found = str(TABLES)
    elif cohort_rows is not None:
        people = cohort_rows.images["subject_id"].nunique()
        whole = (people, len(cohort_rows.studies), len(cohort_rows.images))
        patients, studies, images = (round(number * cohort_rows.times) for number in whole)
        found = cohort_rows.source
    else:
        return MIMIC
    if has_pairs:
        singles, pairs = (_by_split(tables.read(_path(name), name, ["split"])) for name in ("singles", "pairs"))
        paired_by = str(TABLES)
    else:
        assert cohort_rows is not None, "read above where there are no pairs, and else MIMIC's size is returned"
        files = cohort_rows.images[["dicom_id"]].assign(problem="")
        paired = pair(cohort_rows.studies, cohort_rows.images, files, settings)
        singles, pairs = (_by_split(paired[name], cohort_rows.times) for name in ("singles", "pairs"))
        paired_by = f"{cohort_rows.source}, paired by the configured rule"
    return Counts(patients, studies, images, sum(singles.values()), singles["test"], pairs, found, paired_by)


def _path(name: str) -> Path:
    return TABLES / f"{name}.parquet"


def _are_there(*names: str) -> bool:
    return all(_path(name).is_file() for name in names)


def _by_split(rows: pd.DataFrame, times: float = 1.0) -> dict[str, int]:
    found = rows["split"].value_counts()
    return {split: round(int(found.get(split, 0)) * times) for split in tables.SPLITS}


def _cohort(settings: dict[str, Any]) -> _Cohort | None:
    """The studies and images that can be had; None where there is neither a table nor the raw metadata."""
    if _are_there("studies", "images"):
        studies = tables.read(_path("studies"), "studies", STUDY_COLUMNS)
        return _Cohort(studies, tables.read(_path("images"), "images", IMAGE_COLUMNS), str(TABLES))
    if settings["phantom"]:
        return _phantom(settings)
    folder = Path(settings["data"]["tables"] or settings["data"]["images"])
    name = f"{raw_images.PREFIX}-metadata"
    has_metadata = any((folder / f"{name}{ending}").is_file() for ending in (".csv.gz", ".csv"))
    return _raw(folder, settings) if has_metadata else None


def _phantom(settings: dict[str, Any]) -> _Cohort:
    """The phantom's visits and films, without their pictures."""
    identities = cohort.identities(settings["seed"], settings["phantom"]["patients"])
    drawn = identities[:: -(-len(identities) // MOST_DRAWN)]
    patients = [cohort.patient(settings["seed"], identity) for identity in drawn]
    visits = [(patient.subject_id, study) for patient in patients for study in patient.studies]
    studies = pd.DataFrame(
        [(study.study_id, subject, study.time) for subject, study in visits],
        columns=["study_id", "subject_id", "study_time"],
    )
    images = pd.DataFrame(
        [
            (film.dicom_id, study.study_id, subject, film.view or None)
            for subject, study in visits
            for film in study.films
        ],
        columns=["dicom_id", "study_id", "subject_id", "view"],
    )
    split = {
        subject: str(cohort.stream(settings["seed"], subject, 2).choice(OFFICIAL, p=OFFICIAL_SHARES))
        for subject in images["subject_id"].unique()
    }
    images = images.assign(rows=1, columns=1, official_split=images["subject_id"].map(split))
    share = "" if len(drawn) == len(identities) else f", of which {len(drawn):,} were drawn"
    source = f"the phantom's {len(identities):,} patients, by its seed{share}"
    return _Cohort(_with_text(studies), images, source, len(identities) / len(drawn))


def _raw(folder: Path, settings: dict[str, Any]) -> _Cohort:
    """The raw metadata; each study counts as one with a report. Raises UserError as `ingest tables` does."""
    share = settings["ingest"]["largest_refused_share"]
    rows = raw_images.metadata(folder, share)
    images = rows[(rows["reason"] == "") & (rows["study_reason"] == "")]
    images = images.assign(official_split=None)
    if settings["pair"]["split"] == "official":
        splits, _ = raw_images.official_split(folder, share)
        images["official_split"] = splits.reindex(images["dicom_id"]).to_numpy(dtype=object)
    studies = images.groupby("study_id", as_index=False).agg({"subject_id": "first", "study_time": "min"})
    path = csvs.find(folder, f"{raw_images.PREFIX}-metadata", "data.images")
    return _Cohort(_with_text(studies), images, f"{path}, reports not read")


def _with_text(studies: pd.DataFrame, sections: Iterable[str] = ("findings", "impression")) -> pd.DataFrame:
    return studies.assign(**dict.fromkeys(sections, "some text"))
